//! Servers, and an interpreter, that the tests of Rekindle start for themselves.
//!
//! A server is a child process with its data in a temporary folder, run as an ordinary user. A small shell process watches
//! over it: when the test process ends, however it ends, the shell stops the server and removes the folder.
//!
//! A crate of others was looked for (`pgtemp`, `pgdb`, `tmp-postgrust`, `postgresql_embedded`): none of them cleans up
//! after a test process that is killed, and none will serve Redis, too.

#![allow(clippy::panic, clippy::expect_used, reason = "it is for tests, which fail by panicking")]

mod account;
mod postgres;
mod python;
mod redis;

pub use postgres::{Fsync, Postgres, postgres};
pub use python::{Python, python};
pub use redis::{Aof, Redis, RedisCluster, fresh_prefix, redis, redis_cluster};
