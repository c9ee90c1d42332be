//! The one error type of every backend and of the engine.

use std::error::Error as StdError;
use std::fmt;

use crate::types::{Position, Redacted, Revision};

/// The result of everything in Rekindle that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by kind: what a caller branches on.
///
/// Each kind says whether the change happened: with every kind but [`Indeterminate`](Self::Indeterminate) it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A record is not at the revision that was expected of it.
    Conflict {
        /// The revision that it is at; `None` if there is no such record now.
        actual: Option<Revision>,
    },
    /// A record was to be created, and is there.
    AlreadyExists {
        /// The revision that it is at.
        actual: Revision,
    },
    /// A record that was to be changed or destroyed is not there.
    NotFound,
    /// A unique identity belongs to another record.
    IdentityTaken {
        /// The name of the identity.
        identity: String,
        /// The id of the record that owns it.
        owner: String,
    },
    /// An event id was used before, for an event with other content.
    IdReused,
    /// An action's own code refused its input.
    Rejected,
    /// A policy did not allow it.
    Forbidden,
    /// An action or a hook panicked; its commit was not made.
    Panicked,
    /// The request itself is wrong, whatever is stored.
    Invalid,
    /// Something is over a limit of [`Limits`](crate::types::Limits).
    TooLarge,
    /// The store cannot do this, and says so in its [`StoreInfo`](crate::store::StoreInfo).
    Unsupported,
    /// The store cannot be reached, or cannot write at the moment. Retrying later can succeed.
    Unavailable,
    /// The acknowledgement was lost: the change may or may not have happened. Committing again with the same event ids
    /// is safe, and tells which.
    Indeterminate,
    /// The log is being rebuilt in place, or is being rebuilt by somebody else.
    Rebuilding,
    /// The log's records were replayed to an earlier position, so commits are refused.
    Rewound {
        /// The position that the records are at.
        at: Position,
    },
    /// Something stored cannot be decoded, or breaks an invariant of the store.
    Corrupt,
    /// A replay met an event that it cannot apply.
    Replay {
        /// The position of that event.
        position: Position,
    },
    /// Sealed data could not be opened or made: the fault says why.
    Vault(VaultFault),
    /// The log was shut down.
    Closed,
}

/// Why sealed data could not be opened or made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VaultFault {
    /// The key-encryption key of this name is not the one that was used: other bytes have the name.
    WrongKey,
    /// It was changed, cut, or moved from where it belongs: it does not authenticate.
    Tampered,
    /// It was sealed by a key that is not in the store, and never was.
    UnknownKey,
    /// It was sealed for a subject that was forgotten; and so is what is to be sealed for it.
    Redacted(Box<Redacted>),
    /// The keys of a subject have changed since it was sealed. Nothing was changed; it can be sealed anew.
    KeyChanged,
    /// There is clear text where only sealed data may be.
    Plaintext,
    /// It is sealed, and there is no vault to open it.
    Sealed,
    /// A key-encryption key is asked for that the provider does not have.
    NoKek,
    /// A key-encryption key still wraps keys, so that it cannot be retired.
    KekInUse,
}

impl ErrorKind {
    /// Whether the same call can succeed later without anything being changed about it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. }
                | Self::Unavailable
                | Self::Indeterminate
                | Self::Rebuilding
                | Self::Vault(VaultFault::KeyChanged)
        )
    }
}

/// An error with its [kind](ErrorKind), a message that says what and where, and the error below it.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<std::sync::Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The request is wrong: [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Something stored is damaged: [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The store cannot do this: [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// The vault refuses: [`ErrorKind::Vault`] with this fault.
    pub fn vault(fault: VaultFault, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Vault(fault), message)
    }

    /// The subject was forgotten: [`VaultFault::Redacted`].
    #[must_use]
    pub fn redacted(redacted: Redacted) -> Self {
        let message = redacted.to_string();
        Self::vault(VaultFault::Redacted(Box::new(redacted)), message)
    }

    /// The same error, with the one that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(std::sync::Arc::new(source));
        self
    }

    /// The same error, its message led by where it happened.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// What went wrong, by kind.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call can succeed later; it follows from the kind.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
