//! Policies: who may run what, and who may read the log. Replay asks none of them.

use super::action::Rejection;
use super::hook::Call;
use crate::error::{Error, ErrorKind};
use crate::types::{Actor, Json, LogId};

/// Decides who may do what. Every policy of a log must allow it. Each method allows everything unless it is implemented.
///
/// A handle that is [`unguarded`](super::Log::unguarded) asks none: that is for tools and tests.
pub trait Policy: Send + Sync + 'static {
    /// Whether an action may be run; `record` is its record as it is, `None` if it is to be created. It is asked for the
    /// actions that hooks run, too ([`Call::by_hook`]).
    ///
    /// # Errors
    ///
    /// The reason why not: the action fails with it as a `Forbidden` error, and nothing is written.
    fn may_run(&self, call: &Call, record: Option<&Json>) -> Result<(), Rejection> {
        let _ = (call, record);
        Ok(())
    }

    /// Whether events may be read, by [`Log::events`](super::Log::events), `stream`, `tail`, `as_of` and `history`.
    /// `reader` is whom the handle was made for by [`Session::log`](super::Session::log); `None` for any other.
    ///
    /// # Errors
    ///
    /// The reason why not: reading fails with it as a `Forbidden` error.
    fn may_read(&self, log: &LogId, reader: Option<&Actor>) -> Result<(), Rejection> {
        let _ = (log, reader);
        Ok(())
    }
}

/// A policy's refusal, as an error.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(crate) fn forbidden(rejection: Rejection) -> Error {
    Error::new(ErrorKind::Forbidden, rejection.to_string())
}
