//! Opening what was read.

use super::members::{Members, open_event};
use super::{LARGE, Sealer, off_the_async_threads};
use crate::error::{Error, Result, VaultFault};
use crate::types::{Event, Json, LogId, Payload, Record, RecordKey};
use crate::vault::{Place, Sealed, key_of};

impl Sealer {
    /// Opens the sections of events; with or without the metadata.
    pub(crate) async fn open_events(&self, log: &LogId, events: Vec<Event>, metadata: bool) -> Result<Vec<Event>> {
        let mut ids = Vec::new();
        let mut bytes = 0;
        for event in &events {
            let about = metadata.then_some(&event.metadata);
            for section in [&event.data, &event.changed_attributes].into_iter().chain(about) {
                let found = match section {
                    Payload::Sealed(envelope) => key_of(envelope).map(|id| ids.push(id)),
                    Payload::Json(json) => {
                        self.expect_sealed(event).and_then(|()| Self::keys_in(json)).map(|found| ids.extend(found))
                    }
                    Payload::Redacted { .. } => Ok(()),
                };
                found.map_err(|error| in_event(event, error))?;
                bytes += section.size();
            }
        }
        if ids.is_empty() {
            return Ok(events);
        }
        let keys = self.vault.keys_to_open(log, ids).await?;
        let open = move |mut events: Vec<Event>| {
            let mut opener = keys.opener();
            for event in &mut events {
                open_event(&mut opener, event, metadata).map_err(|error| in_event(event, error))?;
            }
            Ok(events)
        };
        if bytes < LARGE {
            return open(events);
        }
        off_the_async_threads(move || open(events)).await
    }

    /// That clear text may be where this event is.
    fn expect_sealed(&self, event: &Event) -> Result<()> {
        match self.mode {
            Sealed::Everything { plaintext_until } if event.position > plaintext_until => {
                Err(Error::vault(VaultFault::Plaintext, "it has a section in clear text, and the log is sealed"))
            }
            _ => Ok(()),
        }
    }

    /// Opens the attributes of records.
    pub(crate) async fn open_records(&self, log: &LogId, mut records: Vec<&mut (RecordKey, Json)>) -> Result<()> {
        let at = |key: &RecordKey, error: Error| error.at(format!("the record {key}"));
        let (mut sealed, mut ids) = (Vec::new(), Vec::new());
        for (place, record) in records.iter().enumerate() {
            let (key, attributes) = &**record;
            if let Some(members) = Members::of(attributes).map_err(|error| at(key, error))? {
                ids.extend(members.ids().map_err(|error| at(key, error))?);
                sealed.push((place, members));
            }
        }
        if sealed.is_empty() {
            return Ok(());
        }
        let keys = self.vault.keys_to_open(log, ids).await?;
        let mut opener = keys.opener();
        for (place, members) in sealed {
            let Some((key, attributes)) = records.get_mut(place).map(|record| &mut **record) else { continue };
            let opened = members.open(&mut opener, |member| Place::in_record(key, member));
            let (object, _) = opened.map_err(|error| at(key, error))?;
            *attributes = object.to_json()?;
        }
        Ok(())
    }

    /// Opens one record.
    pub(crate) async fn open_record(&self, log: &LogId, record: &mut Record) -> Result<()> {
        let mut one = (record.key.clone(), record.attributes.clone());
        self.open_records(log, vec![&mut one]).await?;
        record.attributes = one.1;
        Ok(())
    }
}

fn in_event(event: &Event, error: Error) -> Error {
    error.at(format!("the event at position {}", event.position))
}
