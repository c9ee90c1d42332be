//! The course of a replay: read, fold, load, catch up, swap.

use std::time::Instant;

use super::workers::Workers;
use super::{Progressed, Replay, Replayed};
use crate::engine::past::AsOf;
use crate::error::{Error, Result};
use crate::store::{Rebuild, RebuildMode, ResourceStore};
use crate::types::{Event, EventQuery, Page, Position};

/// So near to the head, the rest is caught up under the log's lock.
const NEAR: u64 = 1_000;
/// So many rounds of catching up are made before the lock is taken whatever is left.
const ROUNDS: usize = 8;

pub(super) async fn run(replay: Replay<'_>) -> Result<Replayed> {
    let records = replay.log.engine.records()?.clone();
    let point = replay.point().await?;
    let head = replay.log.head().await?.position;
    if let Some(AsOf::Position(position)) = point
        && position > head
    {
        return Err(Error::invalid(format!("{} is at position {head}, not yet at {position}", replay.log.id)));
    }
    if let (RebuildMode::InPlace, Some(clear)) = (replay.mode, &replay.clear) {
        clear.clear(&replay.log.id).await?;
    }
    let rebuild = records.begin_rebuild(&replay.log.id, replay.log.lock, replay.mode).await?;
    let mut course = Course {
        workers: Workers::new(replay.workers, replay.memory),
        point,
        cursor: Position::ZERO,
        skipped: None,
        done: Replayed { events: 0, records: 0, through: Position::ZERO },
        started: Instant::now(),
        replay: &replay,
        records: &*records,
    };
    match course.build(&rebuild, head).await {
        Ok(fence) => {
            let through = course.through();
            let done = Replayed { through, ..course.done };
            records.finish_rebuild(rebuild, fence, through).await?;
            course.report(course.done.events);
            Ok(done)
        }
        Err(error) => {
            // The first error tells more; what is left behind is removed by the next rebuild.
            let _ = records.abandon_rebuild(rebuild).await;
            Err(error)
        }
    }
}

struct Course<'a> {
    replay: &'a Replay<'a>,
    records: &'a dyn ResourceStore,
    workers: Workers,
    point: Option<AsOf>,
    cursor: Position,
    /// The first event that the point in time leaves out.
    skipped: Option<Position>,
    done: Replayed,
    started: Instant,
}

impl Course<'_> {
    /// Loads everything, and ends with the log's lock held.
    async fn build(&mut self, rebuild: &Rebuild, head: Position) -> Result<crate::store::Fence> {
        let mut target = self.target(head);
        for _ in 0..ROUNDS {
            self.advance(rebuild, target).await?;
            target = self.target(self.replay.log.head().await?.position);
            if target.get() - self.cursor.get() <= NEAR {
                break;
            }
        }
        // What was folded is loaded before the lock is taken, so that little is left to do under it.
        self.done.records += self.workers.flush(&self.replay.log.engine.registry, self.records, rebuild).await?;
        let fence = self.records.fence(rebuild).await?;
        target = self.target(self.replay.log.head().await?.position);
        self.advance(rebuild, target).await?;
        self.done.records += self.workers.flush(&self.replay.log.engine.registry, self.records, rebuild).await?;
        Ok(fence)
    }

    fn target(&self, head: Position) -> Position {
        match self.point {
            Some(AsOf::Position(position)) => position,
            Some(AsOf::Time(_)) | None => head,
        }
    }

    fn through(&self) -> Position {
        match self.skipped {
            Some(skipped) => Position::new(skipped.get() - 1),
            None => self.cursor,
        }
    }

    /// Applies the events up to the target. The next page is read while one is folded.
    async fn advance(&mut self, rebuild: &Rebuild, target: Position) -> Result<()> {
        let mut page = self.read(self.cursor, target).await?;
        while let Some(last) = page.items.last().map(|event| event.position) {
            self.cursor = last;
            let read = page.items.len() as u64;
            let registry = &self.replay.log.engine.registry;
            let events = self.due(page.items);
            let folded = self.workers.apply(registry, self.records, rebuild, events);
            let next = read_page(self.replay, last, target);
            let (folded, next) = futures::join!(folded, next);
            self.done.records += folded?;
            self.done.events += read;
            self.report(target.get());
            page = next?;
        }
        Ok(())
    }

    async fn read(&self, after: Position, target: Position) -> Result<Page<Event, Position>> {
        read_page(self.replay, after, target).await
    }

    /// The events that the point in time takes in.
    fn due(&mut self, mut events: Vec<Event>) -> Vec<Event> {
        if let Some(AsOf::Time(time)) = self.point {
            if let (None, Some(first)) = (self.skipped, events.iter().find(|event| event.occurred_at > time)) {
                self.skipped = Some(first.position);
            }
            events.retain(|event| event.occurred_at <= time);
        }
        events
    }

    fn report(&self, total: u64) {
        if let Some(progress) = &self.replay.progress {
            progress.progressed(&Progressed { events: self.done.events, total, elapsed: self.started.elapsed() });
        }
    }
}

async fn read_page(replay: &Replay<'_>, after: Position, target: Position) -> Result<Page<Event, Position>> {
    if after >= target {
        return Ok(Page::empty());
    }
    let query = EventQuery::new().with_after(after).with_up_to(target).with_limit(5_000);
    replay.log.events(&query).await
}
