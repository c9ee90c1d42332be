//! Verifying: what the log says against what git lists.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::TryStreamExt;
use rekindle::{ActionType, EventQuery, Log, Position};
use uuid::Uuid;

use crate::file::File;
use crate::git::{Entry, Repository, Result};
use crate::progress;
use crate::record::commit_of;

/// The commits in between that are verified, too.
const SAMPLES: usize = 20;

type Tree = BTreeMap<String, Entry>;

/// Drops all records, replays the log, and compares: at the head, and at commits in between.
pub(crate) async fn verify(log: &Log, repository: &Repository) -> Result<()> {
    println!("dropped {} records", log.clear_records().await?);
    let bar = progress::bar(log.head().await?.position.get(), "replaying", "events");
    let started = Instant::now();
    let shown = bar.clone();
    let replayed = log.replay().progress(move |done: &rekindle::Progressed| shown.set_position(done.events)).await?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    println!("replayed {} events in {seconds:.2} s: {:.0} events/s", replayed.events, replayed.events as f64 / seconds);

    // The last position of each commit of git, in order.
    let mut ends: Vec<(String, Position)> = Vec::new();
    let mut ids: Vec<(Position, Uuid)> = Vec::new();
    let mut events = log.stream(EventQuery::new());
    while let Some(event) = events.try_next().await? {
        let commit = commit_of(&event)?;
        match ends.last_mut() {
            Some((last, end)) if *last == commit => *end = event.position,
            _ => ends.push((commit, event.position)),
        }
        if event.action_type == ActionType::Create {
            ids.push((event.position, event.record_id.as_str().parse()?));
        }
    }
    let Some((last, head)) = ends.last().cloned() else { return Err("the log is empty".into()) };
    compare("the records", &last, &live(log).await?, &repository.tree(&last)?)?;
    println!("the rebuilt records are what git lists at {last} (event {head})");

    let count = SAMPLES.min(ends.len());
    let bar = progress::bar(count as u64, "verifying", "commits in between");
    for sample in 0..count {
        let (commit, position) = &ends[sample * ends.len() / count];
        let expected = repository.tree(commit)?;
        compare("as_of", commit, &as_of(log, *position, &ids).await?, &expected)?;
        log.replay().until_position(*position).await?;
        compare("replay until", commit, &live(log).await?, &expected)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    log.replay().await?;
    compare("the last replay", &last, &live(log).await?, &repository.tree(&last)?)?;
    println!("so they are at {count} commits in between, by as_of and by replaying until there");
    Ok(())
}

async fn live(log: &Log) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut files = log.list::<File>()?;
    while let Some(file) = files.try_next().await? {
        insert(&mut tree, file)?;
    }
    Ok(tree)
}

async fn as_of(log: &Log, position: Position, ids: &[(Position, Uuid)]) -> Result<Tree> {
    let mut tree = Tree::new();
    let past = log.as_of(position);
    for (_, id) in ids.iter().take_while(|(created, _)| *created <= position) {
        if let Some(file) = past.get::<File>(id).await? {
            insert(&mut tree, file)?;
        }
    }
    Ok(tree)
}

fn insert(tree: &mut Tree, file: File) -> Result<()> {
    let File { path, mode, blob, size, .. } = file;
    match tree.insert(path.clone(), Entry { mode, blob, size }) {
        None => Ok(()),
        Some(_) => Err(format!("two records have the path {path:?}").into()),
    }
}

fn compare(what: &str, commit: &str, actual: &Tree, expected: &Tree) -> Result<()> {
    for (path, entry) in expected {
        match actual.get(path) {
            Some(found) if found == entry => {}
            Some(found) => {
                return Err(format!("{what} at {commit}: {path:?} is {found:?}, and git lists {entry:?}").into());
            }
            None => return Err(format!("{what} at {commit}: {path:?} is missing").into()),
        }
    }
    match actual.keys().find(|path| !expected.contains_key(*path)) {
        Some(path) => Err(format!("{what} at {commit}: {path:?} is there, and git lists no such file").into()),
        None => Ok(()),
    }
}
