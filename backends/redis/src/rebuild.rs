//! Generations: beginning one, loading it, putting it in use, and removing those that are not in use.

use std::collections::BTreeMap;
use std::sync::Arc;

use redis::{Cmd, Value};
use rekindle_core::store::{Fence, LoadedRecord, Rebuild, RebuildMode};
use rekindle_core::types::{Generation, LockKey, LogId, Position, RecordId, RecordKey, ResourceName};
use rekindle_core::{Error, ErrorKind, Result};

use crate::error::unexpected;
use crate::functions::{self, Function};
use crate::keys::{self, Tag};
use crate::lease::{Lease, take_dropped};
use crate::lock::InTheWay;
use crate::resource_store::ByResource;
use crate::rows;
use crate::store::{Effect, Patience, Store, text, worded};

/// What a [`Rebuild`] holds: dropping it ends the rebuild.
struct Running(Lease);

/// What a [`Fence`] holds: dropping it lets commits pass.
struct Fenced {
    log: LogId,
    lease: Lease,
}

/// Records beyond so many, or so many bytes, are loaded by another call.
const MANY: usize = 2_000;
const MANY_BYTES: usize = 4 << 20;

impl Store {
    pub(crate) async fn begin_rebuild(
        self: &Arc<Self>,
        log: &LogId,
        lock: LockKey,
        mode: RebuildMode,
    ) -> Result<Rebuild> {
        let tag = self.tag(log);
        let lease = Lease::new(self);
        lease.covers(tag.rebuild());
        let place = if mode == RebuildMode::InPlace { "place" } else { "shadow" };
        let mut begun = self
            .under(log, &tag, functions::BEGIN, lock, Effect::Idempotent, |call| {
                call.arg(lease.token()).arg(self.config.lease.as_millis().to_string()).arg(place);
            })
            .await?;
        let generation = begun.next().ok_or_else(|| unexpected("begin_rebuild"))?;
        let generation = Generation::new(rows::number(text(generation, "begin_rebuild")?.as_bytes())?);
        self.sweep(&tag).await;
        Ok(Rebuild::new(log.clone(), lock, generation, mode, Running(lease)))
    }

    /// Calls a function that takes a lock key, waiting for fences. `Rebuilding` if a rebuild runs.
    async fn under(
        self: &Arc<Self>,
        log: &LogId,
        tag: &Tag,
        function: Function,
        lock: LockKey,
        effect: Effect,
        fill: impl Fn(&mut Cmd),
    ) -> Result<std::vec::IntoIter<Value>> {
        let mut patience = Patience::new(self.config.patience);
        loop {
            let answer = self
                .function(function, &[tag.head()], effect, |call| {
                    call.arg(tag.as_str()).arg(self.mode()).arg(1).arg(keys::lock(lock));
                    fill(call);
                })
                .await?;
            if let Some(in_the_way) = InTheWay::of(&answer) {
                self.clear_the_way(tag, in_the_way, &mut patience).await?;
                continue;
            }
            let (word, mut rest) = worded(answer, "a change of a log's state")?;
            match word.as_str() {
                "DONE" | "BEGUN" => return Ok(rest),
                "RUNNING" => {
                    let token = rest.next().ok_or_else(|| unexpected("a change of a log's state"))?;
                    if !take_dropped(self, &tag.rebuild(), &text(token, "a token")?).await? {
                        let which = if function == functions::BEGIN { "another" } else { "a" };
                        let message = format!("{which} rebuild of {log} is running");
                        return Err(Error::new(ErrorKind::Rebuilding, message));
                    }
                }
                _ => return Err(unexpected("a change of a log's state")),
            }
        }
    }

    pub(crate) async fn loaded(&self, rebuild: &Rebuild, keys: &[RecordKey]) -> Result<Vec<Option<LoadedRecord>>> {
        let running = running(rebuild)?;
        let tag = self.tag(rebuild.log());
        let by_resource = ByResource::new(keys);
        let answer = self
            .function(functions::LOADED, &[tag.head()], Effect::None, |call| {
                call.arg(tag.as_str()).arg(rebuild.generation().get()).arg(running.0.token());
                by_resource.write(call);
            })
            .await?;
        match worded(answer, "loaded")? {
            (word, rows) if word == "ROWS" => {
                by_resource.rows(rows, |row, key| rows::decode_record(row, key).map(Some))
            }
            _ => Err(rebuild.is_over()),
        }
    }

    pub(crate) async fn load(&self, rebuild: &Rebuild, records: Vec<LoadedRecord>) -> Result<()> {
        let running = running(rebuild)?;
        let tag = self.tag(rebuild.log());
        // A function takes each record once: of two states the later one stays.
        let mut chunk: BTreeMap<ResourceName, BTreeMap<RecordId, Vec<u8>>> = BTreeMap::new();
        let (mut many, mut bytes) = (0, 0);
        for record in records {
            let row = rows::encode_record(record.revision, record.state.as_ref());
            let again = chunk.get(&record.key.resource).is_some_and(|of| of.contains_key(&record.key.id));
            if again || many == MANY || bytes + row.len() > MANY_BYTES {
                self.load_chunk(rebuild, &tag, running, std::mem::take(&mut chunk)).await?;
                (many, bytes) = (0, 0);
            }
            many += 1;
            bytes += row.len();
            chunk.entry(record.key.resource).or_default().insert(record.key.id, row);
        }
        self.load_chunk(rebuild, &tag, running, chunk).await
    }

    async fn load_chunk(
        &self,
        rebuild: &Rebuild,
        tag: &Tag,
        running: &Running,
        chunk: BTreeMap<ResourceName, BTreeMap<RecordId, Vec<u8>>>,
    ) -> Result<()> {
        for (resource, records) in chunk {
            let answer = self
                .function(functions::LOAD, &[tag.head()], Effect::Idempotent, |call| {
                    call.arg(tag.as_str()).arg(self.mode()).arg(rebuild.generation().get()).arg(running.0.token());
                    call.arg(resource.as_str()).arg(records.len());
                    for id in records.keys() {
                        call.arg(id.as_str());
                    }
                    for row in records.values() {
                        call.arg(&row[..]);
                    }
                })
                .await;
            let answer = answer.map_err(|error| match error.kind() {
                // Nobody sees what is loaded; it can be loaded again.
                ErrorKind::Indeterminate => {
                    Error::new(ErrorKind::Unavailable, error.message().to_owned()).with_source(error)
                }
                _ => error,
            })?;
            if worded(answer, "load")?.0 != "LOADED" {
                return Err(rebuild.is_over());
            }
        }
        Ok(())
    }

    pub(crate) async fn fence_rebuild(self: &Arc<Self>, rebuild: &Rebuild) -> Result<Fence> {
        running(rebuild)?;
        self.loaded(rebuild, &[]).await?;
        let tag = self.tag(rebuild.log());
        let lease = self.fence(&tag, &keys::lock(rebuild.lock())).await?;
        // It may have waited for long.
        self.loaded(rebuild, &[]).await?;
        Ok(Fence::new(Fenced { log: rebuild.log().clone(), lease }))
    }

    pub(crate) async fn finish_rebuild(&self, rebuild: Rebuild, fence: Fence, through: Position) -> Result<()> {
        let running = running(&rebuild)?;
        let fenced = fence.guard::<Fenced>().filter(|fenced| fenced.log == *rebuild.log());
        let fenced = fenced.ok_or_else(|| rebuild.is_over())?;
        let tag = self.tag(rebuild.log());
        let answer = self
            .function(functions::FINISH, &[tag.head()], Effect::Idempotent, |call| {
                call.arg(tag.as_str()).arg(self.mode()).arg(rebuild.generation().get()).arg(running.0.token());
                call.arg(keys::lock(rebuild.lock())).arg(fenced.lease.token()).arg(through.get());
            })
            .await?;
        match worded(answer, "finish_rebuild")? {
            (word, _) if word == "DONE" => {
                fenced.lease.end().await;
                self.sweep(&tag).await;
                Ok(())
            }
            (word, mut rest) if word == "ABOVE" => {
                let at = text(rest.next().unwrap_or_default(), "finish_rebuild")?;
                Err(Error::invalid(format!("the log {} is at position {at}, not yet at {through}", rebuild.log())))
            }
            _ => Err(rebuild.is_over()),
        }
    }

    pub(crate) async fn abandon_rebuild(&self, rebuild: Rebuild) -> Result<()> {
        let Some(running) = rebuild.guard::<Running>() else { return Ok(()) };
        let tag = self.tag(rebuild.log());
        self.function(functions::ABANDON, &[tag.head()], Effect::Idempotent, |call| {
            call.arg(tag.as_str()).arg(self.mode()).arg(rebuild.generation().get()).arg(running.0.token());
        })
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, error.message().to_owned()).with_source(error))?;
        self.sweep(&tag).await;
        Ok(())
    }

    pub(crate) async fn clear(self: &Arc<Self>, log: &LogId, lock: LockKey) -> Result<u64> {
        let tag = self.tag(log);
        let mut done = self.under(log, &tag, functions::CLEAR, lock, Effect::Once, |_| ()).await?;
        let count = done.next().ok_or_else(|| unexpected("clear"))?;
        let count = rows::number(text(count, "clear")?.as_bytes())?;
        self.sweep(&tag).await;
        Ok(count)
    }

    /// Removes what is not in use, as far as it can: the next rebuild goes on with it.
    async fn sweep(&self, tag: &Tag) {
        loop {
            let swept = self
                .function(functions::SWEEP, &[tag.head()], Effect::Idempotent, |call| {
                    call.arg(tag.as_str()).arg(self.mode());
                })
                .await;
            match swept {
                Ok(Value::Int(1)) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(log = tag.as_str(), %error, "records that are not in use could not be removed");
                    return;
                }
            }
        }
    }
}

/// The guard of a rebuild of this backend.
fn running(rebuild: &Rebuild) -> Result<&Running> {
    rebuild.guard::<Running>().ok_or_else(|| rebuild.is_over())
}
