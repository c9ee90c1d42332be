//! Making a batch in one round trip: decided on what its commits expect, and written if it is so.

use std::sync::{Arc, PoisonError};

use rekindle_core::store::decide::{Decided, decide};
use rekindle_core::types::{Commit, LockKey, LogId};
use rekindle_core::{Error, Result};
use sqlx::PgConnection;

use crate::append::append;
use crate::commit::Answers;
use crate::composite::RowTypes;
use crate::error::{classify, ends_connection, in_commit, is_lock_timeout, is_made_anew, is_stale, is_taken};
use crate::expected::Expectations;
use crate::heads::At;
use crate::kept::Own;
use crate::store::Store;

/// A batch of one log that was decided on what its commits expect.
pub(crate) struct Foreseen<'a> {
    log: &'a LogId,
    pub(crate) lock: LockKey,
    pub(crate) at: At,
    pub(crate) expectations: Expectations<'a>,
    decided: Decided<'a>,
}

/// What came of it.
pub(crate) enum Foresight<'a> {
    /// It is made, or nothing could be sent.
    Answers(Answers),
    /// Nothing was changed: something is not as it was expected, or went wrong that reading meets, too.
    Wrong,
    /// Nothing was changed, as a lock was not free in time.
    Busy(Decided<'a>, Error),
    /// The connection was lost while it was made.
    Lost(Decided<'a>, Error),
}

impl Store {
    /// Decides a batch on what was seen last of its log, or on what another batch makes of it that is under way, and on what
    /// its commits expect. `None` where that cannot be: the commits do not say all, or one of them fails, and is to be told
    /// what is really there.
    pub(crate) fn foresee<'a>(&self, batch: &[&'a Commit]) -> Option<Foreseen<'a>> {
        let Commit { log, lock, .. } = *batch.first()?;
        loop {
            let at = self.heads.guess(log)?;
            let expectations = Expectations::of(at.head, batch)?;
            let decided = decide(&expectations, &self.config.limits, batch.iter().copied());
            let changes = decided.logs.get(log)?;
            if !expectations.cover(changes) || decided.answers.iter().any(Result::is_err) {
                return None;
            }
            let leads_to = At { version: at.version + 1, head: changes.head, ..at };
            if self.heads.claim(log, at, leads_to) {
                return Some(Foreseen { log, lock: *lock, at, expectations, decided });
            }
        }
    }

    async fn read_row_types(&self, connection: &mut PgConnection) {
        // If there are none, the batch is made without them.
        if let Ok(Some(types)) = RowTypes::read(connection, &self.sql, self.schema()).await {
            *self.row_types.lock().unwrap_or_else(PoisonError::into_inner) = types;
        }
    }

    pub(crate) async fn by_foresight<'a>(
        self: &Arc<Self>,
        connection: &mut Option<Own>,
        foreseen: Foreseen<'a>,
    ) -> Foresight<'a> {
        let Some(changes) = foreseen.decided.logs.get(foreseen.log) else { return Foresight::Wrong };
        let types = *self.row_types.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(call) = append(&self.sql, self.config.lock_mode, types, &foreseen, changes) else {
            self.heads.is_unknown(foreseen.log);
            return Foresight::Wrong;
        };
        // Who waits to send keeps no connection from who sends.
        connection.take().into_iter().for_each(|connection| self.keep(connection));
        let sending = self.turn_to_send(foreseen.lock).await;
        let mut open = match self.own_connection().await {
            Ok(open) => open,
            Err(error) => {
                self.heads.is_unknown(foreseen.log);
                return Foresight::Answers(foreseen.decided.failed(&error));
            }
        };
        let error = match call.execute(&mut **open).await {
            Ok(_) => {
                self.heads.was_right(foreseen.log);
                if let Some(sending) = sending {
                    // The next one goes by the same connection, and first: the server waits for it.
                    self.keep(open);
                    drop(sending);
                    tokio::task::yield_now().await;
                } else {
                    *connection = Some(open);
                }
                return Foresight::Answers(self.tell(foreseen.decided));
            }
            Err(error) if ends_connection(&error) => {
                self.heads.is_unknown(foreseen.log);
                open.close_on_drop();
                return Foresight::Lost(foreseen.decided, in_commit(error));
            }
            // Others may need the connection more than who waits for a lock.
            Err(error) if is_lock_timeout(&error) => {
                self.heads.is_unknown(foreseen.log);
                return Foresight::Busy(foreseen.decided, classify(error));
            }
            Err(error) => error,
        };
        let is_made_anew = is_made_anew(&error);
        if is_stale(&error) || is_taken(&error) || is_made_anew {
            self.heads.was_wrong(foreseen.log);
        } else {
            self.heads.is_unknown(foreseen.log);
        }
        if is_made_anew {
            // What was prepared on the connection is of the schema before.
            self.read_row_types(&mut open).await;
            open.close_on_drop();
        } else {
            *connection = Some(open);
        }
        Foresight::Wrong
    }
}
