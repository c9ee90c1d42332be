//! Waking readers: in this process at once, in others by NOTIFY.
//!
//! A notification is a hint: whoever waits also looks by himself from time to time. It is sent in a transaction of its own:
//! one that is part of a commit takes a lock of the whole server when it commits. Hints of commits that follow each other
//! closely are sent together.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rekindle_core::store::Watchers;
use rekindle_core::types::{LogId, Position};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::config::PostgresConfig;
use crate::error::ends_connection;
use crate::store::{Store, tenant};

/// At most one notification in this time.
const APART: Duration = Duration::from_millis(20);
/// A listener that lost its server tries again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// The hints that are not sent yet.
#[derive(Debug)]
pub(crate) struct Hints {
    enabled: bool,
    pending: Mutex<HashMap<LogId, Position>>,
    sending: Arc<AtomicBool>,
}

impl Hints {
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        Self { enabled: config.notify, pending: Mutex::default(), sending: Arc::default() }
    }

    fn take(&self) -> HashMap<LogId, Position> {
        mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The right to send hints: one task has it, until this is dropped, however the task ends.
struct Sending(Arc<AtomicBool>);

impl Sending {
    fn take(hints: &Hints) -> Option<Self> {
        (!hints.sending.swap(true, Ordering::SeqCst)).then(|| Self(Arc::clone(&hints.sending)))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Store {
    /// Tells whoever waits for a log that it has grown.
    pub(crate) fn announce(self: &Arc<Self>, log: &LogId, position: Position) {
        self.watchers.notify(log, position);
        if !self.hints.enabled {
            return;
        }
        {
            let mut pending = self.hints.pending.lock().unwrap_or_else(PoisonError::into_inner);
            match pending.get_mut(log) {
                Some(known) => *known = position.max(*known),
                None => drop(pending.insert(log.clone(), position)),
            }
        }
        if let (Ok(runtime), Some(sending)) = (Handle::try_current(), Sending::take(&self.hints)) {
            drop(runtime.spawn(send_hints(Arc::downgrade(self), sending)));
        }
    }

    async fn notify(&self, hints: HashMap<LogId, Position>) {
        let hints: Vec<String> = hints.iter().map(|(log, position)| hint(log, *position)).collect();
        let Ok(mut connection) = self.connection().await else { return };
        let sent =
            sqlx::query(self.sql.notify()).bind(self.schema().as_str()).bind(hints).execute(&mut *connection).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "other processes were not told of a commit; they see it when they look");
            if ends_connection(&error) {
                connection.close_on_drop();
            }
        }
    }
}

async fn send_hints(store: Weak<Store>, mut sending: Sending) {
    loop {
        {
            let Some(store) = store.upgrade() else { return };
            let hints = store.hints.take();
            if hints.is_empty() {
                drop(sending);
                // One that came in between, and saw that somebody was sending, is not left behind.
                let left = !store.hints.pending.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
                match Sending::take(&store.hints) {
                    Some(again) if left => sending = again,
                    _ => return,
                }
                continue;
            }
            store.notify(hints).await;
        }
        tokio::time::sleep(APART).await;
    }
}

fn hint(log: &LogId, position: Position) -> String {
    format!("{position} {} {}", log.name, tenant(log))
}

fn parse(hint: &str) -> Option<(LogId, Position)> {
    let mut parts = hint.splitn(3, ' ');
    let position = Position::new(parts.next()?.parse().ok()?);
    let log = LogId::new(parts.next()?).ok()?;
    match parts.next()? {
        "" => Some((log, position)),
        tenant => Some((log.with_tenant(tenant).ok()?, position)),
    }
}

/// Listens for the hints of other processes, on a connection of its own, once somebody waits.
pub(crate) struct Listener {
    options: PgConnectOptions,
    channel: String,
    watchers: Arc<Watchers>,
    task: Mutex<Option<AbortHandle>>,
}

impl Listener {
    pub(crate) fn new(options: PgConnectOptions, config: &PostgresConfig, watchers: Arc<Watchers>) -> Self {
        Self { options, channel: config.schema.as_str().to_owned(), watchers, task: Mutex::default() }
    }

    /// Begins to listen, unless it does already.
    pub(crate) fn listen(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let listening = listen(self.options.clone(), self.channel.clone(), Arc::clone(&self.watchers));
            *task = Some(runtime.spawn(listening).abort_handle());
        }
    }

    pub(crate) fn close(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.channel)
    }
}

/// Ends when it is aborted.
async fn listen(options: PgConnectOptions, channel: String, watchers: Arc<Watchers>) {
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(options);
    loop {
        if let Err(error) = hear(&pool, &channel, &watchers).await {
            tracing::debug!(%error, "hints of other processes are not heard at the moment");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear(pool: &sqlx::PgPool, channel: &str, watchers: &Watchers) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    while let Some(hint) = listener.try_recv().await? {
        if let Some((log, position)) = parse(hint.payload()) {
            watchers.notify(&log, position);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_read_as_it_was_written() {
        let log = LogId::new("main").unwrap();
        for log in [log.with_tenant("a b  c").unwrap(), log] {
            assert_eq!(parse(&hint(&log, Position::new(7))), Some((log, Position::new(7))));
        }
        assert_eq!(parse("something else"), None);
    }
}
