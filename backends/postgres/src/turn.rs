//! Which batches of this process are under way at the same time.

use std::time::{Duration, Instant};

use rekindle_core::store::{Locks, LocksHeld};
use rekindle_core::types::{Commit, LockKey};
use sqlx::{Connection, PgConnection};

use crate::config::{LockMode, PostgresConfig};
use crate::store::Store;

/// A server is near if a round trip takes less.
///
/// One that is near is better off with one connection: two that wait for the same lock cost it more than is lost between an
/// answer and the next call, which is ready by then. With 128 callers one was faster by a tenth without any delay, two were by
/// a twentieth at 250 microseconds, and by four tenths at a millisecond.
const NEAR: Duration = Duration::from_micros(300);

/// A batch's turn, until this is dropped.
pub(crate) struct Turn {
    held: Option<LocksHeld>,
    /// The lock key, if another batch of it may be under way.
    pub(crate) beside: Option<LockKey>,
}

impl Store {
    /// Waits for the turn of a batch. One of a single lock key may be under way beside another one.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is nobody's turn.
    pub(crate) async fn turn(&self, batch: &[Commit]) -> Turn {
        let key = batch.first().map(|commit| commit.lock);
        match key.filter(|key| self.batches_at_once() > 1 && batch.iter().all(|commit| commit.lock == *key)) {
            Some(key) => Turn { held: Some(self.locks.of_batch_beside(batch).await), beside: Some(key) },
            None => Turn { held: Some(self.locks.of_batch(batch).await), beside: None },
        }
    }

    /// Waits until the batch of this key that was sent before is answered; for nothing where two are sent at once.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it is nobody's turn.
    pub(crate) async fn turn_to_send(&self, key: LockKey) -> Option<LocksHeld> {
        if self.sends_one { Some(self.sending.of_key(key).await) } else { None }
    }

    /// How many batches of one lock key may be under way. Where two are sent, each takes a connection. With row locks nothing
    /// but their turn serializes the commits of a key to several logs.
    pub(crate) fn batches_at_once(&self) -> usize {
        if self.config.max_connections > 1 && self.config.lock_mode == LockMode::Advisory { 2 } else { 1 }
    }
}

impl Turn {
    /// Waits until no other batch of the key is under way, and lets none begin.
    pub(crate) async fn alone(&mut self, locks: &Locks) {
        if let Some(key) = self.beside.take() {
            // Two that wait for each other to end would wait for ever.
            self.held = None;
            self.held = Some(locks.of_key(key).await);
        }
    }
}

/// Whether one batch of a lock key is sent at a time: if the settings say so, or else if the server is near.
pub(crate) async fn sends_one(connection: &mut PgConnection, config: &PostgresConfig) -> Result<bool, sqlx::Error> {
    if let Some(batches) = config.sends_at_once {
        return Ok(batches <= 1);
    }
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let sent = Instant::now();
        connection.ping().await?;
        fastest = fastest.min(sent.elapsed());
    }
    Ok(fastest < NEAR)
}

#[cfg(test)]
mod tests {
    use rekindle_test_servers::{Fsync, Postgres};
    use sqlx::PgConnection;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    /// Hands on what is read, each time after this delay.
    async fn hand_on(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, delay: Duration) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            tokio::time::sleep(delay).await;
            if to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }

    /// The URL of a way to the server that takes so long in each direction.
    fn by_a_way_of(delay: Duration, server: &Postgres) -> String {
        // A socket is named after its port.
        let (near, far) = (server.path(".s.PGSQL.5432"), server.path(".s.PGSQL.5433"));
        let listener = UnixListener::bind(far).unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = UnixStream::connect(&near).await.unwrap().into_split();
                tokio::spawn(hand_on(from_client, to_server, delay));
                tokio::spawn(hand_on(from_server, to_client, delay));
            }
        });
        format!("{}:5433/postgres", server.url().trim_end_matches("/postgres"))
    }

    #[tokio::test]
    async fn one_batch_is_sent_at_a_time_to_a_server_that_is_near_and_two_to_one_that_is_far_unless_the_settings_say() {
        if rekindle_test_servers::postgres().is_none() {
            return;
        }
        let server = Postgres::start(Fsync::Off);
        let config = PostgresConfig::new();
        let mut far = PgConnection::connect(&by_a_way_of(NEAR, &server)).await.unwrap();
        assert!(
            !sends_one(&mut far, &config).await.unwrap(),
            "a round trip takes twice as long as to one that is near"
        );
        assert!(sends_one(&mut far, &config.clone().with_sends_at_once(1)).await.unwrap());

        let mut near = PgConnection::connect(server.url()).await.unwrap();
        assert!(!sends_one(&mut near, &config.clone().with_sends_at_once(2)).await.unwrap());
        // On a machine with much else to do, a round trip may take long.
        let found_near = async { while !sends_one(&mut near, &config).await.unwrap() {} };
        tokio::time::timeout(Duration::from_secs(60), found_near)
            .await
            .expect("a server of this machine is never near");
    }
}
