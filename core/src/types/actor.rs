//! Who did it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{ActorKind, check_text};
use super::text::Text;
use crate::error::{Error, Result};

/// Who ran an action: a kind and an id, such as `user/42`, `system/nightly-job` or `api_client/mobile`. Any number of
/// kinds. The id is any text of 1 to 1024 bytes without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "ActorParts")]
pub struct Actor {
    kind: ActorKind,
    id: Text,
}

#[derive(Deserialize)]
struct ActorParts {
    kind: ActorKind,
    id: Text,
}

impl Actor {
    /// An actor of this kind with this id.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the kind is no [`ActorKind`] or the id breaks the rules above.
    pub fn new(kind: impl AsRef<str>, id: impl fmt::Display) -> Result<Self> {
        Self::of_kind(ActorKind::new(kind)?, id)
    }

    /// A part of the system itself, such as a job: the kind is `system`.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the name breaks the rules of an id.
    pub fn system(name: impl fmt::Display) -> Result<Self> {
        Self::of_kind(ActorKind::from_static("system")?, name)
    }

    fn of_kind(kind: ActorKind, id: impl fmt::Display) -> Result<Self> {
        let id = id.to_string();
        check_text(&id, "actor id")?;
        Ok(Self { kind, id: id.as_str().into() })
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &ActorKind {
        &self.kind
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id())
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:?}", self.kind, self.id())
    }
}

impl TryFrom<ActorParts> for Actor {
    type Error = Error;
    fn try_from(parts: ActorParts) -> Result<Self> {
        check_text(&parts.id, "actor id")?;
        Ok(Self { kind: parts.kind, id: parts.id })
    }
}
