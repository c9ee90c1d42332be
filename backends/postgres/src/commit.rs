//! Committing a batch.
//!
//! One round trip, if the commits say what they expect: they are decided on that, and one call writes if it is so. Else two:
//! what the batch depends on is read without a lock, and is decided on; then one call writes if none of the logs has changed
//! in between. If one has, because another process commits to it as well, the batch is made again under the lock.

use std::sync::Arc;

use rekindle_core::store::decide::{Decided, decide};
use rekindle_core::types::{Commit, Committed, LogId};
use rekindle_core::{Error, ErrorKind, Result};
use sqlx::{Connection, Executor, PgConnection};

use crate::batch::{self, Asked, BatchLocks, Checked};
use crate::config::LockMode;
use crate::error::{classify, ends_connection, in_commit, is_lock_timeout, is_rolled_back, is_stale};
use crate::foresight::Foresight;
use crate::heads::At;
use crate::kept::Own;
use crate::open::POOL_PATIENCE;
use crate::store::{Store, tenant};
use crate::turn::Turn;
use crate::view::{self, Failed, LogSeen, Seen};
use crate::write::write;

/// How often a batch is made again under the lock when the server rolled it back in favour of others.
const ROLLBACKS: usize = 5;

pub(crate) type Answers = Vec<Result<Committed>>;

impl Store {
    /// Commits a batch. It must be carried through: run it in a task of its own.
    pub(crate) async fn commit(self: &Arc<Self>, mut turn: Turn, batch: &[Commit]) -> Answers {
        let checked = Checked::new(batch, &self.config.limits);
        let mut left = Vec::with_capacity(batch.len());
        let mut connection = None;
        for step in batch::steps(&checked.commits) {
            left.extend(self.step(&mut turn, &mut connection, step).await);
        }
        connection.into_iter().for_each(|connection| self.keep(connection));
        checked.answered(left)
    }

    async fn step(self: &Arc<Self>, turn: &mut Turn, connection: &mut Option<Own>, step: &[&Commit]) -> Answers {
        let Some(foreseen) = self.foresee(step) else {
            self.alone(turn, connection).await;
            return self.by_reading(connection, step).await;
        };
        match self.by_foresight(connection, foreseen).await {
            Foresight::Answers(answers) => answers,
            Foresight::Wrong => {
                self.alone(turn, connection).await;
                self.by_reading(connection, step).await
            }
            Foresight::Busy(decided, error) if self.is_impatient() => decided.failed(&error),
            Foresight::Busy(..) => {
                let (locks, asked) = (self.locks_of(step), Asked::of(step));
                self.outside_pool(&locks, &asked, step).await
            }
            // What became of it is told by the event ids. If it is still under way, only one of the two can be made: both
            // are bound to the version that the log was at.
            Foresight::Lost(_, error) if step.iter().all(|commit| commit.events().next().is_some()) => {
                let answers = self.by_reading(connection, step).await;
                answers.into_iter().map(|answer| answer.map_err(|later| still_lost(&error, later))).collect()
            }
            Foresight::Lost(decided, error) => decided.failed(&error),
        }
    }

    /// Waits until the batches that came before are made: what is read for is to find them.
    async fn alone(&self, turn: &mut Turn, connection: &mut Option<Own>) {
        if turn.beside.is_some() {
            // Another batch may wait for it, and this one for that.
            *connection = None;
            turn.alone(&self.locks).await;
        }
    }

    fn locks_of(&self, step: &[&Commit]) -> BatchLocks {
        BatchLocks::of(step.iter().map(|commit| commit.lock), self.config.lock_mode)
    }

    /// Whether a lock is waited for no longer than a connection of the pool may be kept for it.
    fn is_impatient(&self) -> bool {
        self.config.lock_timeout.is_some_and(|timeout| timeout <= POOL_PATIENCE)
    }

    /// Makes a batch that is read for first.
    async fn by_reading(self: &Arc<Self>, connection: &mut Option<Own>, step: &[&Commit]) -> Answers {
        let commits = step.len();
        let (locks, asked) = (self.locks_of(step), Asked::of(step));
        let mut attempt = 1;
        let (mut open, seen) = loop {
            let mut open = match connection.take() {
                Some(open) => open,
                None => match self.own_connection().await {
                    Ok(open) => open,
                    Err(error) => return vec![Err(error); commits],
                },
            };
            match view::fetch(&mut open, &self.sql, &asked).await {
                Ok(seen) => break (open, seen),
                Err(Failed::Sql(error)) if ends_connection(&error) && attempt < self.attempts() => {
                    // Nothing was changed, so it can be tried again.
                    open.close_on_drop();
                    attempt += 1;
                }
                Err(error) => return vec![Err(error.classify()); commits],
            }
        };
        let decided = decide(&seen, &self.config.limits, step.iter().copied());
        if decided.logs.is_empty() {
            *connection = Some(open);
            return decided.answers;
        }
        let made = match write(&mut open, &self.sql, &locks, &seen, &decided.logs).await {
            Ok(()) => {
                self.saw(&seen, &decided);
                Made::Answers(self.tell(decided))
            }
            Err(Failed::Sql(error)) if is_stale(&error) || is_rolled_back(&error) => {
                self.under_lock(&mut open, &locks, &asked, step).await
            }
            Err(Failed::Sql(error)) if is_lock_timeout(&error) => Made::Busy(decided.failed(&classify(error))),
            Err(Failed::Sql(error)) if ends_connection(&error) => Made::Lost(decided.failed(&in_commit(error))),
            Err(Failed::Sql(error)) => Made::Answers(decided.failed(&in_commit(error))),
            Err(Failed::Rows(error)) => Made::Answers(decided.failed(&error)),
        };
        match made {
            Made::Answers(answers) => {
                *connection = Some(open);
                answers
            }
            Made::Lost(answers) => {
                open.close_on_drop();
                answers
            }
            Made::Busy(answers) if self.is_impatient() => answers,
            Made::Busy(_) => {
                // Others may need the connection more than who waits for a lock.
                drop(open);
                self.outside_pool(&locks, &asked, step).await
            }
        }
    }

    /// Makes a batch for which the lock was not free, on a connection of its own: there it waits as long as it is to.
    async fn outside_pool(self: &Arc<Self>, locks: &BatchLocks, asked: &Asked, batch: &[&Commit]) -> Answers {
        let mut own = match self.connect(self.config.lock_timeout).await {
            Ok(own) => own,
            Err(error) => return vec![Err(error); batch.len()],
        };
        match self.under_lock(&mut own, locks, asked, batch).await {
            Made::Answers(answers) | Made::Busy(answers) => {
                // That the server is told is a courtesy: it notices by itself.
                let _ = own.close().await;
                answers
            }
            Made::Lost(answers) => answers,
        }
    }

    /// Makes a batch in a transaction that holds the locks from before it reads.
    async fn under_lock(
        self: &Arc<Self>,
        open: &mut PgConnection,
        locks: &BatchLocks,
        asked: &Asked,
        batch: &[&Commit],
    ) -> Made {
        let mut rollbacks = 0;
        loop {
            let Broken { error, open_transaction, decided } = match self.transaction(open, locks, asked, batch).await {
                Ok(decided) => return Made::Answers(self.tell(decided)),
                Err(broken) => broken,
            };
            let lost = error.ends_connection() || (open_transaction && open.execute("ROLLBACK").await.is_err());
            if !lost && error.is_rolled_back() && rollbacks < ROLLBACKS {
                rollbacks += 1;
                continue;
            }
            let busy = error.sql().is_some_and(is_lock_timeout);
            let answers = failed(decided, batch.len(), error.answer());
            return match (lost, busy) {
                (true, _) => Made::Lost(answers),
                (false, true) => Made::Busy(answers),
                (false, false) => Made::Answers(answers),
            };
        }
    }

    async fn transaction<'a>(
        &self,
        open: &mut PgConnection,
        locks: &BatchLocks,
        asked: &Asked,
        batch: &[&'a Commit],
    ) -> Result<Decided<'a>, Broken<'a>> {
        let before = |error: Failed| Broken { error: Cause::Before(error), open_transaction: true, decided: None };
        open.execute("BEGIN").await.map_err(|error| before(error.into()))?;
        let (seen, decided) = self.locked(open, locks, asked, batch).await.map_err(|(error, decided)| Broken {
            error: Cause::Before(error),
            open_transaction: true,
            decided,
        })?;
        match open.execute("COMMIT").await {
            Ok(_) => {
                self.saw(&seen, &decided);
                Ok(decided)
            }
            Err(error) => Err(Broken { error: Cause::Commit(error), open_transaction: false, decided: Some(decided) }),
        }
    }

    /// Takes the locks, reads, decides and writes, in a transaction that is open.
    pub(crate) async fn locked<'a>(
        &self,
        open: &mut PgConnection,
        locks: &BatchLocks,
        asked: &Asked,
        batch: &[&'a Commit],
    ) -> Result<(Seen, Decided<'a>), (Failed, Option<Decided<'a>>)> {
        self.take_locks(open, locks, &asked.logs).await.map_err(|error| (error.into(), None))?;
        let seen = view::fetch(open, &self.sql, asked).await.map_err(|error| (error, None))?;
        let decided = decide(&seen, &self.config.limits, batch.iter().copied());
        if decided.logs.is_empty() {
            return Ok((seen, decided));
        }
        match write(open, &self.sql, &BatchLocks::default(), &seen, &decided.logs).await {
            Ok(()) => Ok((seen, decided)),
            Err(error) => Err((error, Some(decided))),
        }
    }

    /// Takes the locks of a batch, and those on the heads of its logs.
    pub(crate) async fn take_locks(
        &self,
        open: &mut PgConnection,
        locks: &BatchLocks,
        logs: &[LogId],
    ) -> Result<(), sqlx::Error> {
        if self.config.lock_mode == LockMode::Advisory {
            sqlx::query(self.sql.lock())
                .bind(&locks.ones)
                .bind(&locks.firsts)
                .bind(&locks.seconds)
                .execute(&mut *open)
                .await?;
        }
        let names: Vec<&str> = logs.iter().map(|log| log.name.as_str()).collect();
        let tenants: Vec<&str> = logs.iter().map(tenant).collect();
        sqlx::query(self.sql.lock_heads()).bind(names).bind(tenants).execute(open).await?;
        Ok(())
    }

    /// Keeps in mind how a batch that was read for left its logs.
    fn saw(&self, seen: &Seen, decided: &Decided<'_>) {
        for (log, changes) in &decided.logs {
            // A log that is new got an id that was not told.
            if let Some(LogSeen { id, version, .. }) = seen.log(log) {
                self.heads.saw(log, At { id: *id, version: version + 1, head: changes.head });
            }
        }
    }

    /// Tells whoever waits, and gives the answers.
    pub(crate) fn tell(self: &Arc<Self>, decided: Decided<'_>) -> Answers {
        for (log, changes) in &decided.logs {
            self.announce(log, changes.head.position);
        }
        decided.answers
    }
}

/// What came of a batch on a connection.
enum Made {
    /// These answers.
    Answers(Answers),
    /// These answers, and the connection is of no more use.
    Lost(Answers),
    /// Nothing was changed, as a lock was not free in time; the answers say so.
    Busy(Answers),
}

/// A transaction that failed.
struct Broken<'a> {
    error: Cause,
    open_transaction: bool,
    decided: Option<Decided<'a>>,
}

enum Cause {
    /// Before it was to be committed: nothing was changed.
    Before(Failed),
    /// When it was to be committed.
    Commit(sqlx::Error),
}

impl Cause {
    fn sql(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Before(Failed::Sql(error)) | Self::Commit(error) => Some(error),
            Self::Before(Failed::Rows(_)) => None,
        }
    }

    fn is_rolled_back(&self) -> bool {
        self.sql().is_some_and(|error| is_rolled_back(error) || is_stale(error))
    }

    fn ends_connection(&self) -> bool {
        self.sql().is_some_and(ends_connection)
    }

    fn answer(self) -> Error {
        match self {
            Self::Before(Failed::Sql(error)) => classify(error),
            Self::Before(Failed::Rows(error)) => error,
            Self::Commit(error) => in_commit(error),
        }
    }
}

/// Every commit that was to succeed gets the error; all of them if it came before they were decided on.
fn failed(decided: Option<Decided<'_>>, commits: usize, error: Error) -> Answers {
    match decided {
        Some(decided) => decided.failed(&error),
        None => vec![Err(error); commits],
    }
}

/// The error of a batch that was lost once and then met this error: what the server did not answer to is as open as before.
fn still_lost(lost: &Error, later: Error) -> Error {
    if *later.kind() == ErrorKind::Unavailable { lost.clone() } else { later }
}
