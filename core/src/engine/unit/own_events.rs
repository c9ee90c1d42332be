//! Events of Rekindle's own.

use super::Unit;
use crate::engine::hook::Call;
use crate::engine::log::Log;
use crate::engine::past::AsOf;
use crate::engine::rewound::{self, Accepted, rewound_to};
use crate::engine::sealer::log_subject;
use crate::error::Result;
use crate::types::{ActionName, ActionType, Change, Json, NewEvent, Payload, Position, RecordKey};

impl Unit {
    /// Commits that a log is taken as it is, rewound to this point.
    pub(crate) async fn accept_rewound(mut self, log: &Log, point: AsOf) -> Result<Position> {
        self.engine.records()?;
        let at = rewound_to(log, point).await?;
        let accepted = Accepted { at, until: if let AsOf::Time(until) = point { Some(until) } else { None } };
        let (key, data) = (rewound::key()?, Json::from_value(&accepted)?);
        self.allow(&self.own_call(rewound::ACTION, data.clone())).await?;
        let event = self.own_event(key, rewound::ACTION, data)?;
        self.push(Change { event: Some(event), write: None }, Some(log_subject()?));
        self.accepts = Some(at);
        let committed = self.commit().await?;
        Ok(committed.events.first().map_or(Position::ZERO, |event| event.position))
    }

    /// An event of Rekindle's own, in the name of the unit's actor.
    pub(crate) fn own_event(&self, key: RecordKey, action: &str, data: Json) -> Result<NewEvent> {
        Ok(NewEvent {
            id: self.cx.new_event_id(),
            resource: key.resource,
            record_id: key.id,
            action: ActionName::new(action)?,
            action_type: ActionType::Update,
            version: 1,
            actor: self.cx.actor.clone(),
            data: Payload::Json(data),
            changed_attributes: Payload::empty(),
            removed_attributes: Vec::new(),
            metadata: Payload::Json(self.metadata.clone()),
            occurred_at: self.cx.now,
        })
    }

    /// A call of Rekindle's own, for the policies.
    pub(crate) fn own_call(&self, action: &'static str, data: Json) -> Call {
        Call {
            resource: rewound::RESOURCE,
            action,
            action_type: ActionType::Update,
            by_hook: false,
            key: None,
            actor: self.cx.actor.clone(),
            data,
            occurred_at: self.cx.now,
        }
    }
}
