//! The course of a replay: read, fold, load, catch up, swap.

use std::time::Instant;

use futures::stream::{self, StreamExt};

use super::workers::Workers;
use super::{Progressed, Replay, Replayed};
use crate::engine::past::AsOf;
use crate::engine::rewound::Skips;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Rebuild, RebuildMode, ResourceStore};
use crate::types::{Event, EventQuery, Position};

/// So near to the head, the rest is caught up under the log's lock.
const NEAR: u64 = 1_000;
/// So many rounds of catching up are made before the lock is taken whatever is left.
const ROUNDS: usize = 8;
/// Events are read in pages of this many, or of what the store gives at the most.
const PAGE: usize = 5_000;
/// So many pages are read at a time.
const READ_AHEAD: usize = 2;

pub(super) async fn run(replay: Replay<'_>) -> Result<Replayed> {
    let records = replay.log.engine.records()?.clone();
    if replay.mode == RebuildMode::Shadow && replay.clear.is_some() {
        return Err(Error::invalid(
            "clear_records() is for a replay in place: beside the records in use, nothing is cleared",
        ));
    }
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
    let skips = Skips::of(replay.log, point).await?;
    let rebuild = records.begin_rebuild(&replay.log.id, replay.log.lock, replay.mode).await?;
    let mut course = Course {
        workers: Workers::new(replay.workers, replay.memory),
        point,
        skips,
        cursor: Position::ZERO,
        skipped: None,
        done: Replayed { events: 0, records: 0, through: Position::ZERO, redacted: 0 },
        started: Instant::now(),
        replay: &replay,
        records: &*records,
    };
    match course.build(&rebuild, head).await {
        Ok(fence) => {
            let through = course.through();
            let done = Replayed { through, redacted: course.workers.redacted, ..course.done };
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
    /// What has no effect since a rewound log was taken as it is.
    skips: Skips,
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

    /// Applies the events up to the target. The next pages are read while one is folded.
    async fn advance(&mut self, rebuild: &Rebuild, target: Position) -> Result<()> {
        let replay = self.replay;
        let rows = replay.log.engine.events.info().limits.page_rows.clamp(1, PAGE) as u64;
        let starts = (self.cursor.get()..target.get()).step_by(usize::try_from(rows).unwrap_or(PAGE));
        let reads = starts.map(|after| read_page(replay, after, target.get().min(after + rows)));
        let mut pages = stream::iter(reads).buffered(READ_AHEAD);
        let mut page = pages.next().await;
        while let Some(events) = page.transpose()? {
            let read = events.len() as u64;
            self.cursor = Position::new(self.cursor.get() + read);
            let events = self.due(events)?;
            let folded = self.workers.apply(&replay.log.engine.registry, self.records, rebuild, events);
            let (folded, next) = futures::join!(folded, pages.next());
            self.done.records += folded?;
            self.done.events += read;
            self.report(target.get());
            page = next;
        }
        Ok(())
    }

    /// The events that have an effect, and that the point in time takes in.
    fn due(&mut self, mut events: Vec<Event>) -> Result<Vec<Event>> {
        let time = if let Some(AsOf::Time(time)) = self.point { Some(time) } else { None };
        let left_out = |event: &Event| time.is_some_and(|time| event.occurred_at > time);
        if let Some(event) = events.iter().find(|event| self.skips.outdated_by(event) && !left_out(event)) {
            let message = format!(
                "{} was taken as it is, by the event at position {}, while it was replayed: replay it again",
                self.replay.log.id, event.position
            );
            return Err(Error::new(ErrorKind::Conflict { actual: None }, message));
        }
        events.retain(|event| !self.skips.has(event));
        if let (None, Some(first)) = (self.skipped, events.iter().find(|event| left_out(event))) {
            self.skipped = Some(first.position);
        }
        events.retain(|event| !left_out(event));
        Ok(events)
    }

    fn report(&self, total: u64) {
        if let Some(progress) = &self.replay.progress {
            progress.progressed(&Progressed { events: self.done.events, total, elapsed: self.started.elapsed() });
        }
    }
}

/// The events above one position and up to another. Positions are dense, so that their number is known.
async fn read_page(replay: &Replay<'_>, after: u64, up_to: u64) -> Result<Vec<Event>> {
    let rows = usize::try_from(up_to - after).unwrap_or(PAGE);
    let query = EventQuery::new().with_after(Position::new(after)).with_up_to(Position::new(up_to)).with_limit(rows);
    let page = replay.log.engine.replayed.read(&replay.log.id, &query).await?;
    if page.items.len() == rows {
        return Ok(page.items);
    }
    let read = page.items.len();
    Err(Error::corrupt(format!("{} has {read} of the {rows} events after position {after}", replay.log.id)))
}
