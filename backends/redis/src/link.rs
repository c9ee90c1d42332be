//! The connection to a server or a cluster, made again when it is gone.
//!
//! **Invariant**: nothing here sends a call twice. Whether a call may be made again depends on what it does, and on whether it
//! may have been sent; so that is told with each error, and decided by whoever calls. (The client's connection manager does
//! not tell it, and its cluster connection would repeat whatever got no answer: it is given no retries.)

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};

use crate::config::{RedisConfig, Replicas};
use crate::waiting::{MOST, Waiting};

/// A call that failed, and whether it may have left this process.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RedisError,
    pub(crate) sent: bool,
}

/// What is connected to.
#[derive(Debug)]
pub(crate) struct Link {
    main: Way,
    /// The replicas that commits wait for, and what they wait on.
    waiting: Option<(Replicas, Waiting)>,
}

#[derive(Debug)]
pub(crate) enum Way {
    Server(Server),
    Cluster(Cluster),
}

impl Way {
    /// Gives up the connection that there is, if there is one: the next call makes another.
    pub(crate) fn disconnect(&self) {
        match self {
            Way::Server(server) => drop(server.current.lock().unwrap_or_else(PoisonError::into_inner).take()),
            // Whoever holds the lock is making a connection anew.
            Way::Cluster(cluster) => drop(cluster.current.try_lock().ok().and_then(|mut current| current.take())),
        }
    }
}

impl Link {
    /// A link to the server or the cluster at this URL; the first call connects.
    pub(crate) fn new(url: &str, config: &RedisConfig) -> RedisResult<Self> {
        let way = |response_timeout| match cluster_nodes(url) {
            Some(nodes) => Cluster::new(nodes, config, response_timeout).map(Way::Cluster),
            None => Server::new(url, config, response_timeout).map(Way::Server),
        };
        let waiting = config.replicas.map(|replicas| {
            let response_timeout = config.response_timeout.saturating_add(replicas.timeout);
            let ways = (0..MOST).map(|_| way(response_timeout)).collect::<RedisResult<_>>()?;
            RedisResult::Ok((replicas, Waiting::new(ways)))
        });
        Ok(Self { main: way(config.response_timeout)?, waiting: waiting.transpose()? })
    }

    pub(crate) fn way(&self) -> &Way {
        &self.main
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.main, Way::Cluster(_))
    }

    /// Makes one call, once.
    pub(crate) async fn send(&self, call: &Cmd) -> Result<Value, Failure> {
        match &self.main {
            Way::Server(server) => server.send(call).await,
            Way::Cluster(cluster) => cluster.send(call).await,
        }
    }

    /// Makes one call, once, and then waits until replicas have what it wrote, if that is asked for. Gives whether they do.
    pub(crate) async fn send_durably(&self, call: &Cmd) -> Result<(Value, bool), Failure> {
        let Some((Replicas { count, timeout }, waiting)) = &self.waiting else {
            return self.send(call).await.map(|answer| (answer, true));
        };
        let mut both = redis::pipe();
        // A timeout of 0 would be none.
        both.add_command(call.clone()).cmd("WAIT").arg(count).arg(timeout.as_millis().max(1).to_string());
        let none = || RedisError::from((redis::ErrorKind::Client, "there is no connection to wait on"));
        let mut taken = waiting.take().await.ok_or_else(|| Failure { error: none(), sent: false })?;
        let answers = match taken.way {
            Way::Server(server) => server.send_pipeline(&both).await,
            Way::Cluster(cluster) => cluster.send_pipeline(&both).await,
        };
        taken.answered = answers.as_ref().err().is_none_or(|failure| !failure.error.is_timeout());
        let mut answers = answers?.into_iter();
        let lost = || RedisError::from((redis::ErrorKind::Parse, "a pipeline has too few answers"));
        let answer = answers.next().ok_or_else(lost).and_then(Value::extract_error);
        let answer = answer.map_err(|error| Failure { error, sent: true })?;
        let replicated = matches!(answers.next(), Some(Value::Int(had)) if had >= i64::from(*count));
        Ok((answer, replicated))
    }

    /// Makes one call on a server, or on each primary of a cluster.
    pub(crate) async fn send_to_all(&self, call: &Cmd) -> Result<Vec<Value>, Failure> {
        match &self.main {
            Way::Server(server) => server.send(call).await.map(|answer| vec![answer]),
            Way::Cluster(cluster) => cluster.send_to_all(call).await,
        }
    }
}

/// The nodes of a URL of a cluster: `redis+cluster://user:password@host:port,host:port`.
fn cluster_nodes(url: &str) -> Option<Vec<String>> {
    let (scheme, rest) = url.split_once("+cluster://")?;
    let (who, hosts) = rest.rsplit_once('@').map_or(("", rest), |(who, hosts)| (who, hosts));
    let (hosts, tail) = hosts.split_once('/').map_or((hosts, ""), |(hosts, tail)| (hosts, tail));
    let at = if who.is_empty() { "" } else { "@" };
    Some(hosts.split(',').map(|host| format!("{scheme}://{who}{at}{host}/{tail}")).collect())
}

/// One server. Calls share a connection, and do not wait for each other's answers.
#[derive(Debug)]
pub(crate) struct Server {
    client: Client,
    settings: AsyncConnectionConfig,
    current: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// Held while a connection is made, so that only one is.
    connecting: tokio::sync::Mutex<u64>,
}

impl Server {
    fn new(url: &str, config: &RedisConfig, response_timeout: Duration) -> RedisResult<Self> {
        let settings = AsyncConnectionConfig::new()
            .set_response_timeout(Some(response_timeout))
            .set_connection_timeout(Some(config.connection_timeout));
        Ok(Self { client: Client::open(url)?, settings, current: Mutex::default(), connecting: Default::default() })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn current(&self) -> Option<(u64, MultiplexedConnection)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut made = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let connection = self.client.get_multiplexed_async_connection_with_config(&self.settings).await?;
        *made += 1;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((*made, connection.clone()));
        Ok((*made, connection))
    }

    async fn send(&self, call: &Cmd) -> Result<Value, Failure> {
        let (number, mut connection) = self.connection().await.map_err(|error| Failure { error, sent: false })?;
        let answer = connection.send_packed_command(call).await;
        self.checked(number, answer.and_then(Value::extract_error))
    }

    async fn send_pipeline(&self, calls: &Pipeline) -> Result<Vec<Value>, Failure> {
        let (number, mut connection) = self.connection().await.map_err(|error| Failure { error, sent: false })?;
        let answers = connection.send_packed_commands(calls, 0, calls.len()).await;
        self.checked(number, answers)
    }

    /// Gives a connection up that is of no more use.
    fn checked<T>(&self, number: u64, answer: RedisResult<T>) -> Result<T, Failure> {
        answer.map_err(|error| {
            if error.is_unrecoverable_error() {
                self.current.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(of, _)| *of == number);
            }
            Failure { error, sent: true }
        })
    }
}

/// A cluster: the client finds the node of each call by its first key.
pub(crate) struct Cluster {
    nodes: Vec<String>,
    client: ClusterClient,
    current: tokio::sync::Mutex<Option<ClusterConnection>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    fn new(nodes: Vec<String>, config: &RedisConfig, response_timeout: Duration) -> RedisResult<Self> {
        let client = ClusterClient::builder(nodes.clone())
            .retries(0)
            .response_timeout(response_timeout)
            .connection_timeout(config.connection_timeout)
            .build()?;
        Ok(Self { nodes, client, current: tokio::sync::Mutex::default() })
    }

    pub(crate) fn nodes(&self) -> &[String] {
        &self.nodes
    }

    async fn connection(&self) -> RedisResult<ClusterConnection> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let connection = self.client.get_async_connection().await?;
        *current = Some(connection.clone());
        Ok(connection)
    }

    async fn send(&self, call: &Cmd) -> Result<Value, Failure> {
        use redis::aio::ConnectionLike;
        let mut connection = self.connection().await.map_err(|error| Failure { error, sent: false })?;
        let answer = connection.req_packed_command(call).await;
        answer.and_then(Value::extract_error).map_err(|error| Failure { error, sent: true })
    }

    /// Sends a pipeline to the node of its first call.
    async fn send_pipeline(&self, calls: &Pipeline) -> Result<Vec<Value>, Failure> {
        use redis::aio::ConnectionLike;
        let mut connection = self.connection().await.map_err(|error| Failure { error, sent: false })?;
        let answers = connection.req_packed_commands(calls, 0, calls.len()).await;
        answers.map_err(|error| Failure { error, sent: true })
    }

    async fn send_to_all(&self, call: &Cmd) -> Result<Vec<Value>, Failure> {
        let mut connection = self.connection().await.map_err(|error| Failure { error, sent: false })?;
        let routing = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answer = connection.route_command(call.clone(), routing).await;
        match answer.and_then(Value::extract_error).map_err(|error| Failure { error, sent: true })? {
            Value::Map(by_node) => Ok(by_node.into_iter().map(|(_, answer)| answer).collect()),
            Value::Array(by_node) => Ok(by_node.into_iter().map(of_node).collect()),
            other => Ok(vec![other]),
        }
    }
}

/// The answer of a pair of a node's address and its answer.
fn of_node(answer: Value) -> Value {
    match answer {
        Value::Array(mut pair) if pair.len() == 2 => pair.pop().unwrap_or_default(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_of_a_cluster_are_in_its_url() {
        assert_eq!(cluster_nodes("redis://a:1"), None);
        assert_eq!(cluster_nodes("redis+cluster://a:1,b:2").unwrap(), ["redis://a:1/", "redis://b:2/"]);
        assert_eq!(
            cluster_nodes("rediss+cluster://me:p%40ss@[::1]:1,b:2/?x=y").unwrap(),
            ["rediss://me:p%40ss@[::1]:1/?x=y", "rediss://me:p%40ss@b:2/?x=y"]
        );
    }
}
