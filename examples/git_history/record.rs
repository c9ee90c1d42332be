//! Recording: one commit of the log for one commit of git.

use std::collections::HashMap;
use std::time::Instant;

use futures::TryStreamExt;
use rekindle::store::LogState;
use rekindle::{EventQuery, Log, Order, Position, Timestamp, types::Actor};
use uuid::Uuid;

use crate::file::{Add, Delete, File, Modify, Rename};
use crate::git::{Change, Commit, Repository, Result};
use crate::progress;

/// The last commit of git that is in the log, and where its events end.
pub(crate) async fn last_recorded(log: &Log) -> Result<Option<(String, Position)>> {
    let last = log.events(&EventQuery::new().with_order(Order::Backward).with_limit(1)).await?;
    last.items.first().map(|event| Ok((commit_of(event)?, event.position))).transpose()
}

/// The commit of git that an event tells of.
pub(crate) fn commit_of(event: &rekindle::Event) -> Result<String> {
    let metadata: serde_json::Value = event.metadata.json()?.to_value()?;
    Ok(metadata["commit"].as_str().ok_or("an event names no commit")?.to_owned())
}

/// Records what the log does not have yet.
pub(crate) async fn record(log: &Log, repository: &Repository) -> Result<()> {
    if log.head().await?.state != LogState::Live {
        println!("the last run was broken off while it replayed: replaying to the head");
        log.replay().await?;
    }
    let history = repository.first_parents()?;
    let last = last_recorded(log).await?.map(|(commit, _)| commit);
    let done = match &last {
        Some(last) => {
            let at = history.iter().position(|commit| commit == last);
            at.ok_or_else(|| {
                format!("the data tells of commit {last}, which is not in this history: give another --data folder")
            })? + 1
        }
        None => 0,
    };
    if let Some(last) = &last {
        println!("going on behind commit {last}");
    }
    let mut ids: HashMap<String, Uuid> = HashMap::new();
    let mut files = log.list::<File>()?;
    while let Some(file) = files.try_next().await? {
        ids.insert(file.path, file.id);
    }
    let bar = progress::bar((history.len() - done) as u64, "recording", "commits");
    let (mut commits, mut sizes) = (repository.history(last.as_deref())?, repository.sizes()?);
    let (started, mut events, mut made) = (Instant::now(), 0, 0);
    while let Some(mut commit) = commits.next()? {
        sizes.fill(&mut commit)?;
        let recorded =
            record_commit(log, &commit, &mut ids).await.map_err(|error| format!("commit {}: {error}", commit.id))?;
        events += recorded;
        made += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    println!("recorded {made} commits, {events} events in {seconds:.1} s: {:.0} events/s", events as f64 / seconds);
    Ok(())
}

async fn record_commit(log: &Log, commit: &Commit, ids: &mut HashMap<String, Uuid>) -> Result<usize> {
    if commit.changes.is_empty() {
        return Ok(0);
    }
    let session = log
        .as_actor(Actor::new("git_author", &commit.author)?)
        .with("commit", &commit.id)
        .with("message", &commit.message)
        .at(Timestamp::from_seconds(commit.time)?);
    let mut unit = session.begin()?;
    // The paths of a commit's changes are those before it: so the map is changed once all are known.
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let id_of = |path: &str| ids.get(path).copied().ok_or_else(|| format!("{path:?} is changed, and was never added"));
    for change in &commit.changes {
        match change {
            Change::Add { path, entry } => {
                let entry = entry.clone();
                let add = Add { path: path.clone(), mode: entry.mode, blob: entry.blob, size: entry.size };
                come.push((path.clone(), unit.create(add).await?.id));
            }
            Change::Modify { path, entry } => {
                let entry = entry.clone();
                let modify = Modify { mode: entry.mode, blob: entry.blob, size: entry.size };
                unit.update(&id_of(path)?, modify).await?;
            }
            Change::Rename { from, path, entry } => {
                let (entry, id) = (entry.clone(), id_of(from)?);
                let rename = Rename { path: path.clone(), mode: entry.mode, blob: entry.blob, size: entry.size };
                unit.update(&id, rename).await?;
                gone.push(from.clone());
                come.push((path.clone(), id));
            }
            Change::Delete { path } => {
                unit.destroy(&id_of(path)?, Delete {}).await?;
                gone.push(path.clone());
            }
        }
    }
    let committed = unit.commit().await?;
    for path in &gone {
        ids.remove(path);
    }
    ids.extend(come);
    Ok(committed.events.len())
}
