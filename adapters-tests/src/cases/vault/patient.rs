//! The resource of these cases: what is sensitive in it, and the actions that put it there.

use rekindle_core::engine::{
    Action, ActionKind, ActionSpec, Attribute, Context, IdentitySpec, Rejection, Resource, Session,
};
use rekindle_core::types::Timestamp;
use serde::{Deserialize, Serialize};

/// All that is sensitive has this in it, and nothing else has.
pub(super) const SECRET: &str = "s3cr3t";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Patient {
    pub(super) id: u64,
    pub(super) ward: String,
    pub(super) insurance: Option<String>,
    pub(super) diagnosis: Option<String>,
    pub(super) visits: u64,
}

const fn attribute(name: &'static str) -> Attribute {
    Attribute { name, id: false, sensitive: false, stored: false }
}

impl Resource for Patient {
    type Id = u64;
    const NAME: &'static str = "suite.patient";
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute { id: true, ..attribute("id") },
        attribute("ward"),
        Attribute { sensitive: true, ..attribute("insurance") },
        Attribute { sensitive: true, ..attribute("diagnosis") },
        attribute("visits"),
    ];
    const IDENTITIES: &'static [IdentitySpec] = &[IdentitySpec { name: "insurance", attributes: &["insurance"] }];

    fn actions() -> Vec<ActionSpec> {
        vec![ActionSpec::of::<Admit>(), ActionSpec::of::<Treat>()]
    }
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn identities(&self) -> Vec<(&'static str, String)> {
        self.insurance.iter().map(|value| ("insurance", value.clone())).collect()
    }
    fn stamp(&mut self, _: bool, _: Timestamp) {}
}

#[derive(Serialize, Deserialize)]
pub(super) struct Admit {
    id: u64,
    pub(super) insurance: String,
}

impl Action for Admit {
    type Resource = Patient;
    const NAME: &'static str = "admit";
    const KIND: ActionKind = ActionKind::Create;
    const VERSION: u32 = 1;

    fn apply(self, _: Option<Patient>, _: &Context) -> Result<Option<Patient>, Rejection> {
        let diagnosis = Some(format!("{SECRET} unknown"));
        let (insurance, ward) = (Some(self.insurance), "west".to_owned());
        Ok(Some(Patient { id: self.id, ward, insurance, diagnosis, visits: 0 }))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Treat {
    diagnosis: String,
}

impl Action for Treat {
    type Resource = Patient;
    const NAME: &'static str = "treat";
    const KIND: ActionKind = ActionKind::Update;
    const VERSION: u32 = 1;

    fn apply(self, before: Option<Patient>, _: &Context) -> Result<Option<Patient>, Rejection> {
        let treated =
            |patient: Patient| Patient { diagnosis: Some(self.diagnosis), visits: patient.visits + 1, ..patient };
        Ok(before.map(treated))
    }
}

/// The value of a patient's identity.
pub(super) fn insurance(id: u64) -> String {
    format!("{SECRET} number {id}")
}

pub(super) fn admit(id: u64) -> Admit {
    Admit { id, insurance: insurance(id) }
}

pub(super) fn treat(text: &str) -> Treat {
    Treat { diagnosis: format!("{SECRET} {text}") }
}

/// Admits these patients, and treats each twice; the events of each stand together.
pub(super) async fn lived_in(session: &Session, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        session.create(admit(id)).await.expect("a patient is not admitted");
        for text in ["cold", "fever"] {
            session.update(&id, treat(text)).await.expect("a patient is not treated");
        }
    }
}
