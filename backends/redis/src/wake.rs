//! Waking readers when another process has committed: a message on a channel of the log. It is a hint, and can be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use redis::cluster::ClusterClient;
use redis::{Client, ProtocolVersion, PushInfo, PushKind, Value};
use rekindle_core::types::{LogId, Position};
use tokio::sync::mpsc;

use crate::config::RedisConfig;
use crate::link::{Link, Way};
use crate::store::Store;

/// The channels that this process listens on.
#[derive(Debug)]
pub(crate) struct Hints {
    from: Option<From>,
    wanted: Mutex<Option<mpsc::UnboundedSender<(String, LogId)>>>,
}

/// Where messages come from.
#[derive(Clone)]
enum From {
    Server(Box<Client>),
    Cluster(ClusterClientOf),
}

impl std::fmt::Debug for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("From")
    }
}

/// The nodes of a cluster, for a connection of its own.
#[derive(Clone)]
struct ClusterClientOf {
    nodes: Vec<String>,
}

/// How long to wait before listening again after a connection was lost.
const PAUSE: Duration = Duration::from_millis(500);

impl Hints {
    pub(crate) fn new(config: &RedisConfig, link: &Link) -> Self {
        let from = match link.way() {
            _ if !config.publish => None,
            Way::Server(server) => Some(From::Server(Box::new(server.client().clone()))),
            Way::Cluster(cluster) => Some(From::Cluster(ClusterClientOf { nodes: cluster.nodes().to_vec() })),
        };
        Self { from, wanted: Mutex::default() }
    }
}

impl Store {
    /// Listens for commits to a log by other processes, from soon on.
    pub(crate) fn listen(self: &Arc<Self>, log: &LogId) {
        let Some(from) = &self.hints.from else { return };
        let mut wanted = self.hints.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (self.tag(log).channel(), log.clone());
        let entry = match &*wanted {
            Some(sender) => match sender.send(entry) {
                Ok(()) => return,
                Err(mpsc::error::SendError(entry)) => entry,
            },
            None => entry,
        };
        // The first one, or the task ended with the runtime that it was on.
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver is here, so it takes it.
        let _ = sender.send(entry);
        *wanted = Some(sender);
        let listener = Listener { store: Arc::downgrade(self), receiver, logs: HashMap::new() };
        tokio::spawn(listener.run(from.clone()));
    }
}

/// The task that listens. It ends with the store.
struct Listener {
    store: Weak<Store>,
    receiver: mpsc::UnboundedReceiver<(String, LogId)>,
    logs: HashMap<String, LogId>,
}

impl Listener {
    async fn run(mut self, from: From) {
        loop {
            let ended = match &from {
                From::Server(client) => self.server(client).await,
                From::Cluster(client) => self.cluster(client).await,
            };
            match ended {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "listening for commits was interrupted"),
            }
            if self.store.upgrade().is_none() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Wakes those who wait for a log, so that they look.
    fn wake(&self, channel: &str) {
        if let (Some(store), Some(log)) = (self.store.upgrade(), self.logs.get(channel)) {
            store.watchers.notify(log, Position::ZERO);
        }
    }

    async fn server(&mut self, client: &Client) -> redis::RedisResult<()> {
        let (mut sink, mut messages) = client.get_async_pubsub().await?.split();
        for channel in self.logs.keys().cloned().collect::<Vec<_>>() {
            sink.subscribe(&channel).await?;
            self.wake(&channel);
        }
        loop {
            tokio::select! {
                wanted = self.receiver.recv() => {
                    let Some((channel, log)) = wanted else { return Ok(()) };
                    if !self.logs.contains_key(&channel) {
                        sink.subscribe(&channel).await?;
                        self.logs.insert(channel.clone(), log);
                        // What was committed before this was not told.
                        self.wake(&channel);
                    }
                }
                message = messages.next() => match message {
                    Some(message) => self.wake(message.get_channel_name()),
                    None => return Err(closed()),
                },
            }
        }
    }

    async fn cluster(&mut self, client: &ClusterClientOf) -> redis::RedisResult<()> {
        let (sender, mut messages) = mpsc::unbounded_channel::<PushInfo>();
        let client = ClusterClient::builder(client.nodes.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .push_sender(sender)
            .build()?;
        let mut connection = client.get_async_connection().await?;
        for channel in self.logs.keys().cloned().collect::<Vec<_>>() {
            connection.ssubscribe(&channel).await?;
            self.wake(&channel);
        }
        loop {
            tokio::select! {
                wanted = self.receiver.recv() => {
                    let Some((channel, log)) = wanted else { return Ok(()) };
                    if !self.logs.contains_key(&channel) {
                        connection.ssubscribe(&channel).await?;
                        self.logs.insert(channel.clone(), log);
                        self.wake(&channel);
                    }
                }
                message = messages.recv() => match message {
                    Some(PushInfo { kind: PushKind::SMessage, data }) => {
                        if let Some(Value::BulkString(channel)) = data.first() {
                            self.wake(&String::from_utf8_lossy(channel));
                        }
                    }
                    // The client subscribes again by itself, on the node that has the slot by then.
                    Some(_) => {}
                    None => return Err(closed()),
                },
            }
        }
    }
}

fn closed() -> redis::RedisError {
    redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}
