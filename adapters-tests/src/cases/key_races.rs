//! Keys in races: of writers with each other, with appends and with readers; and in futures that are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rekindle_core::Result;
use rekindle_core::store::{EventStoreExt, RebuildMode};
use rekindle_core::types::{Commit, KeyWrite, LockKey};

use super::asynchronous::{POLLS, drop_after, settled};
use super::concurrency::{race, two_handles};
use super::key_commits::{key_changed, sealed};
use crate::fixture::Backend;
use crate::look::{all_keys, assert_error, assert_waits, events, key_store, keys_by_id, keys_of, put, refused};
use crate::sample::{commit, guarded, key_id, keyed, keys, lock_of, log, note, of_keys, subject, tenant, with_id};

/// The destruction of a subject's keys.
fn shred(text: &str, expected: u64, epoch: u64) -> KeyWrite {
    let mut write = keys(text, expected, epoch);
    write.row.body = b"destroyed".to_vec();
    write
}

pub(crate) async fn no_reader_sees_half_a_commit_of_keys(backend: Backend) {
    let opened = backend.open().await;
    let (store, reader) = (Arc::clone(&opened.store), opened.other_handle().await);
    // The first and the last of the list are always at one version.
    let step = |version: u64| {
        let write = |of: &str, id: u8| match version {
            0 => with_id(keys(of, 0, 1), key_id(id)),
            _ => keys(of, version, 1),
        };
        of_keys(&log(), vec![write("a", 1), write("z", 2)])
    };
    put(&*store, of_keys(&log(), (0..300).map(|n| keys(&format!("between {n}"), 0, 1)).collect())).await;
    put(&*store, step(0)).await;
    let (done, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (over, changes) = (Arc::clone(&done), Arc::clone(&seen));
    let reading = tokio::spawn(async move {
        let mut last = 0;
        while !over.load(Ordering::SeqCst) {
            let keys = key_store(&*reader);
            let asked = keys.keys(&log(), &["a", "z"].map(subject)).await.unwrap();
            let found = keys.keys_by_id(&log(), &[key_id(1), key_id(2)]).await.unwrap();
            let all = keys.list_keys(&log(), None, 1_000).await.unwrap().items;
            let listed = vec![all.first().cloned(), all.last().cloned()];
            for (how, rows) in [("keys", asked), ("keys_by_id", found), ("list_keys", listed)] {
                let versions: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row.version)).collect();
                assert!(versions[0].is_some() && versions[0] == versions[1], "{how} saw half a commit: {versions:?}");
            }
            changes.fetch_add(u64::from(all[0].version != last), Ordering::SeqCst);
            last = all[0].version;
            tokio::task::yield_now().await;
        }
    });
    let mut versions = 1..;
    // Else it could be read before anything is written, or after.
    while seen.load(Ordering::SeqCst) < 20 && !reading.is_finished() {
        put(&*store, step(versions.next().unwrap())).await;
    }
    done.store(true, Ordering::SeqCst);
    reading.await.unwrap();
}

pub(crate) async fn of_racing_creators_one_wins(backend: Backend) {
    let handles = two_handles(backend).await;
    for round in 0..3 {
        let log = tenant(&round.to_string());
        let of = log.clone();
        let created = |racer: usize| {
            let mut write = with_id(keys("s", 0, 1), key_id(u8::try_from(racer).unwrap()));
            write.row.body = vec![u8::try_from(racer).unwrap(); 40];
            write
        };
        let answers = race(backend, Some(handles.clone()), 64, move |store, racer| {
            let commit = keyed(commit(&of, vec![note(&racer.to_string(), 1)]), created(racer));
            async move { store.commit_one(commit).await }
        })
        .await;
        let winners: Vec<usize> = (0..64).filter(|racer| answers[*racer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "of 64 creators of a subject's keys {} won", winners.len());
        let row = created(winners[0]).row;
        assert_eq!(keys_of(&*handles.1, &log, "s").await, Some(row.clone()), "the keys are not the winner's");
        let ids: Vec<_> = (0..64).map(key_id).collect();
        let found = key_store(&*handles.0).keys_by_id(&log, &ids).await.unwrap();
        for (racer, (found, answer)) in found.into_iter().zip(answers).enumerate() {
            assert_eq!(found, Some(row.clone()).filter(|_| racer == winners[0]), "by the id of racer {racer}");
            if let Err(lost) = answer {
                assert_error(&lost, &key_changed(), "s");
            }
        }
        let stored = events(&*handles.0, &log).await;
        assert_eq!(stored.len(), 1, "the event of a creator that lost is there");
        assert_eq!(stored[0].record_id.as_str(), winners[0].to_string());
    }
}

/// The shred has an event, whose position marks the moment.
pub(crate) async fn an_append_that_races_a_shred_lands_before_it_or_not_at_all(backend: Backend) {
    const SHRED: usize = 32;
    let handles = two_handles(backend).await;
    for round in 0..4 {
        let log = tenant(&round.to_string());
        put(&*handles.0, of_keys(&log, vec![keys("s", 0, 1)])).await;
        let of = log.clone();
        let answers = race(backend, Some(handles.clone()), 65, move |store, racer| {
            let commit = match racer {
                SHRED => keyed(commit(&of, vec![note("shred", 1)]), shred("s", 1, 2)),
                _ => sealed(&of, "s", 1),
            };
            async move { store.commit_one(commit).await }
        })
        .await;
        let at = answers[SHRED].as_ref().unwrap().events[0].position;
        let appends = || answers.iter().enumerate().filter(|(racer, _)| *racer != SHRED).map(|(_, answer)| answer);
        for append in appends() {
            match append {
                Ok(committed) => assert!(committed.events[0].position < at, "an append landed after the shred at {at}"),
                Err(error) => assert_error(error, &key_changed(), "s"),
            }
        }
        let stored = events(&*handles.1, &log).await;
        let landed = appends().filter(|append| append.is_ok()).count();
        assert_eq!(stored.iter().filter(|event| event.record_id.as_str() == "sealed").count(), landed);
        assert_eq!(stored.last().unwrap().position, at, "an event landed after the shred");
        assert_eq!(refused(&*handles.0, sealed(&log, "s", 1)).await.kind(), &key_changed());
    }
}

pub(crate) async fn a_rewrap_does_not_disturb_appends(backend: Backend) {
    let handles = two_handles(backend).await;
    put(&*handles.0, of_keys(&log(), vec![with_id(keys("s", 0, 1), key_id(1))])).await;
    let answers: Vec<Result<()>> = race(backend, Some(handles.clone()), 24, |store, racer| async move {
        for n in 0..6 {
            let rewrap = of_keys(&log(), vec![keys("s", n + 1, 1)]);
            store.commit_one(if racer == 0 { rewrap } else { sealed(&log(), "s", 1) }).await?;
        }
        Ok(())
    })
    .await;
    for answer in answers {
        answer.expect("a rewrap and an append disturbed each other");
    }
    assert_eq!(events(&*handles.1, &log()).await.len(), 23 * 6);
    assert_eq!(keys_by_id(&*handles.1, &log(), key_id(1)).await, Some(keys("s", 6, 1).row));
}

/// Each tries again on what it has read since, as the vault does.
pub(crate) async fn a_rewrap_that_races_a_shred_brings_nothing_back(backend: Backend) {
    const SHRED: usize = 6;
    let handles = two_handles(backend).await;
    for round in 0..3 {
        let log = tenant(&round.to_string());
        put(&*handles.0, of_keys(&log, vec![keys("s", 0, 1)])).await;
        let of = log.clone();
        race(backend, Some(handles.clone()), 12, move |store, racer| {
            let log = of.clone();
            async move {
                for tries in 0.. {
                    let row = keys_of(&*store, &log, "s").await.unwrap();
                    let write = match racer {
                        SHRED => shred("s", row.version, 2),
                        _ if row.epoch == 2 || tries == 8 => return,
                        _ => keys("s", row.version, 1),
                    };
                    tokio::task::yield_now().await;
                    match store.commit_one(of_keys(&log, vec![write])).await {
                        Ok(_) if racer == SHRED => return,
                        Ok(_) => {}
                        Err(error) => assert_error(&error, &key_changed(), "s"),
                    }
                }
            }
        })
        .await;
        let now = keys_of(&*handles.1, &log, "s").await.unwrap();
        assert_eq!((now.epoch, &now.body[..]), (2, &b"destroyed"[..]), "a rewrap brought a destroyed key back");
        for stale in 0..now.version {
            assert_eq!(refused(&*handles.0, of_keys(&log, vec![keys("s", stale, 1)])).await.kind(), &key_changed());
        }
    }
}

pub(crate) async fn a_commit_with_keys_dropped_at_any_poll_is_whole_or_absent(backend: Backend) {
    let store = backend.open().await.store;
    for polls in 0..POLLS {
        let log = tenant(&polls.to_string());
        let whole = vec![with_id(keys("s", 0, 1), key_id(1)), keys("t", 0, 1)];
        let once = guarded(Commit { keys: whole, ..commit(&log, vec![note("a", 1), note("a", 2)]) }, "u", 0);
        let only = of_keys(&log, vec![keys("v", 0, 1), keys("w", 0, 1)]);
        let answers = drop_after(polls, store.commit([once.clone(), only.clone()].into())).await;
        put(&*store, commit(&log, vec![note("z", 1)])).await;
        let found = keys_by_id(&*store, &log, key_id(1)).await.is_some();
        let there = settled(&*store, &log).await;
        let of =
            |texts: [&str; 2]| there.keys.iter().flatten().filter(|row| texts.contains(&row.subject.as_str())).count();
        let (events, sealing, alone) = (there.events.len() - 1, of(["s", "t"]), of(["v", "w"]));
        assert!(
            events == sealing && [0, 2].contains(&events),
            "after {polls} polls, {events} events and {sealing} keys"
        );
        assert!([0, 2].contains(&alone), "after {polls} polls, {alone} of 2 keys are there");
        // The dropped one may come to its end between any two reads.
        assert!(!found || sealing == 2, "after {polls} polls, a key is found whose row is not there");
        let found = keys_by_id(&*store, &log, key_id(1)).await.is_some();
        assert!(found || sealing == 0, "after {polls} polls, a key is not found whose row is there");
        assert!(answers.is_none() || (sealing == 2 && alone == 2), "an answered commit is not there");
        put(&*store, once).await;
        match store.commit_one(only).await {
            Ok(_) => assert_eq!(alone, 0, "keys were created twice"),
            // The dropped one may have come to its end only now.
            Err(error) => assert_eq!(error.kind(), &key_changed()),
        }
        assert_eq!(all_keys(&*store, &log).await.len(), 4);
    }
}

pub(crate) async fn a_fence_holds_commits_of_keys(backend: Backend) {
    let opened = backend.open().await;
    let (store, other) = (Arc::clone(&opened.store), opened.other_handle().await);
    let running = store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::Shadow).await.unwrap();
    let fence = store.fence(&running).await.unwrap();
    let mut waiting = other.commit_one(of_keys(&log(), vec![keys("s", 0, 1)]));
    for n in 0..12 {
        assert_waits(&mut waiting).await;
        // Dropped while it waits, it holds nothing.
        assert!(drop_after(2, store.commit_one(of_keys(&log(), vec![keys("t", 0, 1)]))).await.is_none());
        let mut free = of_keys(&tenant("2"), vec![keys("s", n, 1)]);
        // No tenant's key, which another case might hold while it waits for this fence.
        free.lock = LockKey::One(i64::MIN);
        put(&*other, free).await;
        assert_eq!(all_keys(&*store, &log()).await, [], "keys were written under a fence");
    }
    drop(fence);
    waiting.await.unwrap();
    put(&*store, of_keys(&log(), vec![keys("s", 1, 1)])).await;
    store.abandon_rebuild(running).await.unwrap();
}
