//! Group commit as one writes it by hand, for the raw baselines.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::report::Result;

/// What writes commits, which are known by their numbers.
pub(super) trait Writer: Send + 'static {
    /// Writes these in one go, behind so many others.
    fn write(&mut self, behind: usize, group: &[usize])
    -> impl Future<Output = std::result::Result<(), String>> + Send;
}

/// Makes so many commits: each caller hands one at a time to one task and waits for its position; the task takes what is there,
/// has it written, and answers each. The first ones are a warm-up. Gives the time of the others.
pub(super) async fn commit(commits: usize, warm_up: usize, callers: usize, writer: impl Writer) -> Result<Duration> {
    let (_, writer) = make(0..warm_up, callers, writer).await?;
    make(warm_up..commits, callers, writer).await.map(|(took, _)| took)
}

async fn make<W: Writer>(commits: Range<usize>, callers: usize, mut writer: W) -> Result<(Duration, W)> {
    let (sender, mut receiver) = mpsc::channel::<(usize, oneshot::Sender<usize>)>(callers);
    let next = Arc::new(AtomicUsize::new(commits.start));
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (next, sender) = (Arc::clone(&next), sender.clone());
            tokio::spawn(async move {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= commits.end {
                        return Some(());
                    }
                    let (answer, answered) = oneshot::channel();
                    sender.send((at, answer)).await.ok()?;
                    answered.await.ok()?;
                }
            })
        })
        .collect();
    drop(sender);
    let gathering = tokio::spawn(async move {
        let (mut position, mut group, mut answers) = (commits.start, Vec::new(), Vec::new());
        while let Some((first, answer)) = receiver.recv().await {
            group.push(first);
            answers.push(answer);
            // Callers that are ready to run add theirs, as long as more come.
            loop {
                let before = group.len();
                while let Ok((next, answer)) = receiver.try_recv() {
                    group.push(next);
                    answers.push(answer);
                }
                if group.len() == callers {
                    break;
                }
                tokio::task::yield_now().await;
                if group.len() == before && receiver.is_empty() {
                    break;
                }
            }
            writer.write(position, &group).await?;
            group.clear();
            for answer in answers.drain(..) {
                position += 1;
                // A caller that is gone does not want to know.
                let _ = answer.send(position);
            }
        }
        Ok::<_, String>(writer)
    });
    let mut gone = false;
    for task in tasks {
        gone |= task.await?.is_none();
    }
    let writer = gathering.await??;
    if gone { Err("the task that writes is gone".into()) } else { Ok((started.elapsed(), writer)) }
}
