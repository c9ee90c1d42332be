//! Callers that come at the same time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use futures::future::{JoinAll, join_all};
use rekindle::types::Committed;
use rekindle::{Log, Rekindle, Result, Session};
use tokio::task::{Unconstrained, unconstrained};

use super::held::Held;
use super::{Label, print};

/// A log of labels, with so many places for callers that wait.
pub async fn start(store: &Arc<Held>, queue: usize) -> Log {
    Rekindle::on(Arc::clone(store)).resource::<Label>().queue(queue).start().await.unwrap()
}

/// Prints two labels in one commit.
pub async fn pair(session: &Session, id: u64) -> Result<Committed> {
    let mut unit = session.begin()?;
    unit.create(print(id)).await?;
    unit.create(print(id + 1)).await?;
    unit.commit().await
}

pub type Callers<F> = Pin<Box<Unconstrained<JoinAll<F>>>>;

/// Callers that have come so far as they get: each is in the queue, or waits for a place in it.
pub fn waiting<F: Future>(callers: impl IntoIterator<Item = F>) -> Callers<F> {
    let mut callers = Box::pin(unconstrained(join_all(callers)));
    let polled = callers.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    callers
}
