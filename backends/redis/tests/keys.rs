//! The vault's keys: written by commits, at the versions that are expected, and found again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{LOCK, cluster, commit, config, create, creation, key, log, open, server};
use rekindle_core::store::{EventStore, EventStoreExt, KeyStore, LogState, RebuildMode, ResourceStore};
use rekindle_core::types::{Commit, Committed, KeyGuard, KeyId, KeyRow, KeyWrite, Limits, LogId, Position, Subject};
use rekindle_core::{Error, ErrorKind, VaultFault};
use rekindle_redis::{Code, RedisBackend, RedisConfig};

/// More than a double can tell from its neighbours.
const LARGE: u64 = (1 << 53) + 1;

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

fn id(n: u8) -> KeyId {
    // Bytes that are neither text nor without NUL.
    let mut bytes = [0xff; 32];
    bytes[0] = n;
    bytes[31] = 0;
    KeyId::from_bytes(bytes)
}

fn row(subject_of: &str, version: u64, epoch: u64) -> KeyRow {
    let body = format!("\0{subject_of} {version}").into_bytes();
    KeyRow { subject: subject(subject_of), version, epoch, body }
}

fn write(expected: u64, row: KeyRow, new_ids: &[KeyId]) -> KeyWrite {
    KeyWrite { expected, row, new_ids: new_ids.to_vec() }
}

/// A commit of keys only.
fn of_keys(keys: Vec<KeyWrite>) -> Commit {
    Commit { keys, ..commit(Vec::new()) }
}

fn guard(subject_of: &str, epoch: u64) -> Vec<KeyGuard> {
    vec![KeyGuard { subject: subject(subject_of), epoch }]
}

/// A commit that creates a record, under a guard.
fn guarded(subject_of: &str, epoch: u64, record: &str) -> Commit {
    Commit { guards: guard(subject_of, epoch), ..creation(record) }
}

#[track_caller]
fn changed(answer: rekindle_core::Result<Committed>) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Vault(VaultFault::KeyChanged), "{error:?}");
}

async fn of(store: &RedisBackend, name: &str) -> Option<KeyRow> {
    store.keys(&log(), &[subject(name)]).await.unwrap().pop().unwrap()
}

/// A store of each kind, each with a prefix of its own.
async fn stores() -> Vec<RedisBackend> {
    vec![
        open(server().url(), &config()).await,
        open(server().url(), &config().with_code(Code::Scripts)).await,
        open(cluster().url(), &config()).await,
    ]
}

#[tokio::test]
async fn keys_are_written_at_the_version_that_is_expected_and_at_no_other() {
    for store in stores().await {
        let answer = store.commit_one(of_keys(vec![write(0, row("a", 1, 1), &[id(1)])])).await.unwrap();
        assert_eq!(answer, Committed::default());
        assert_eq!(of(&store, "a").await, Some(row("a", 1, 1)));
        for stale in [0, 2] {
            changed(store.commit_one(of_keys(vec![write(stale, row("a", 3, 3), &[id(2)])])).await);
        }
        // The second write does not hold, so the first is not made.
        changed(store.commit_one(of_keys(vec![write(0, row("b", 1, 1), &[]), write(7, row("a", 8, 8), &[])])).await);
        assert_eq!(
            store.keys(&log(), &["b", "a", "b"].map(subject)).await.unwrap(),
            [None, Some(row("a", 1, 1)), None]
        );
        assert_eq!(store.keys_by_id(&log(), &[id(2)]).await.unwrap(), [None]);
        store.commit_one(of_keys(vec![write(1, row("a", 2, 1), &[])])).await.unwrap();
        assert_eq!(of(&store, "a").await, Some(row("a", 2, 1)));
        assert_eq!(store.keys(&log(), &[]).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_guard_holds_at_its_epoch_only() {
    for store in stores().await {
        changed(store.commit_one(guarded("a", 1, "1")).await);
        store.commit_one(guarded("a", 0, "1")).await.unwrap();
        store.commit_one(of_keys(vec![write(0, row("a", 5, 2), &[])])).await.unwrap();
        for stale in [0, 1, 5] {
            let error = store.commit_one(guarded("a", stale, "2")).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Vault(VaultFault::KeyChanged), "{error:?}");
            assert!(error.is_retryable() && error.message().contains("the keys of a "), "{error}");
        }
        store.commit_one(guarded("a", 2, "2")).await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(2));
        // A guard of one subject, and a write of another.
        let mut both = of_keys(vec![write(0, row("b", 1, 1), &[])]);
        both.guards = guard("a", 1);
        changed(store.commit_one(both.clone()).await);
        assert_eq!(of(&store, "b").await, None);
        both.guards[0].epoch = 2;
        store.commit_one(both).await.unwrap();
        assert_eq!(of(&store, "b").await, Some(row("b", 1, 1)));
    }
}

#[tokio::test]
async fn keys_are_written_with_the_events_of_their_commit_or_not_at_all() {
    for store in stores().await {
        let with_keys =
            |record: &str, expected, row| Commit { keys: vec![write(expected, row, &[])], ..creation(record) };
        let first = with_keys("1", 0, row("a", 1, 1));
        let answer = store.commit_one(first.clone()).await.unwrap();
        assert_eq!(answer.events[0].position, Position::new(1));
        // The record exists: no keys. The keys have changed: no event, whatever else is wrong.
        let error = store.commit_one(with_keys("1", 1, row("a", 2, 2))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }), "{error:?}");
        changed(store.commit_one(with_keys("1", 0, row("a", 1, 1))).await);
        changed(store.commit_one(with_keys("2", 0, row("a", 1, 1))).await);
        assert_eq!(of(&store, "a").await, Some(row("a", 1, 1)));
        assert_eq!(store.get(&log(), &[key("2")]).await.unwrap(), [None]);
        // A commit whose events are known is answered as it was, whatever the keys are by now.
        store.commit_one(of_keys(vec![write(1, row("a", 2, 2), &[])])).await.unwrap();
        assert_eq!(store.commit_one(first).await.unwrap(), answer);
        assert_eq!(of(&store, "a").await, Some(row("a", 2, 2)));
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(1));
    }
}

#[tokio::test]
async fn later_commits_of_a_batch_see_keys_and_failing_ones_leave_their_neighbours_alone() {
    for store in stores().await {
        let mut failing = of_keys(vec![write(0, row("b", 1, 1), &[id(9)])]);
        failing.guards = guard("a", 7);
        let batch = vec![
            guarded("a", 1, "0"),
            of_keys(vec![write(0, row("a", 1, 1), &[id(1)])]),
            guarded("a", 1, "1"),
            failing,
            of_keys(vec![write(0, row("a", 1, 1), &[])]),
            of_keys(vec![write(1, row("a", 2, 2), &[id(2)]), write(0, row("b", 3, 3), &[])]),
            guarded("a", 1, "2"),
            Commit { keys: vec![write(3, row("b", 4, 3), &[id(3)])], ..guarded("a", 2, "3") },
            creation("4"),
        ];
        let answers = store.commit(batch.into()).await;
        let made: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(made, [false, true, true, false, false, true, false, true, true], "{answers:?}");
        for failed in answers.into_iter().filter(Result::is_err) {
            changed(failed);
        }
        let rows = [Some(row("a", 2, 2)), Some(row("b", 4, 3))];
        assert_eq!(store.keys(&log(), &["a", "b"].map(subject)).await.unwrap(), rows);
        let by_id = store.keys_by_id(&log(), &[id(3), id(9), id(1), id(2), id(1)]).await.unwrap();
        assert_eq!(by_id, [rows[1].clone(), None, rows[0].clone(), rows[0].clone(), rows[0].clone()]);
        assert_eq!(store.head(&log()).await.unwrap().position, Position::new(3));
    }
}

#[tokio::test]
async fn checks_are_counted_apart_from_guards_and_keys() {
    use rekindle_core::types::{Check, Expected, Identity};
    let store = open(server().url(), &config()).await;
    store.commit_one(commit(vec![create("1", r#"{"n":1}"#, Some("a@b"))])).await.unwrap();
    let mut checked = guarded("a", 0, "2");
    checked.keys = vec![write(0, row("b", 1, 1), &[])];
    checked.checks = vec![Check::Record { key: key("1"), expected: Expected::Exists }];
    checked.checks.push(Check::Record { key: key("1"), expected: Expected::Absent });
    let error = store.commit_one(checked.clone()).await.unwrap_err();
    assert!(error.message().starts_with("shop.order/1 is at revision 1"), "{error}");
    let identity = Identity::new("shop.order", "email", "a@b").unwrap();
    checked.checks[1] = Check::Identity { identity: identity.clone(), owner: None };
    let error = store.commit_one(checked.clone()).await.unwrap_err();
    assert!(error.message().contains("expected was no record"), "{error}");
    checked.checks[1] = Check::Identity { identity, owner: Some(key("1").id) };
    store.commit_one(checked).await.unwrap();
    assert_eq!(of(&store, "b").await, Some(row("b", 1, 1)));
}

#[tokio::test]
async fn keys_are_listed_by_the_bytes_of_their_subjects_in_pages() {
    let limits = Limits::default().with_page_rows(4);
    let with_limits = |config: RedisConfig| config.with_limits(limits.clone());
    for store in
        [open(server().url(), &with_limits(config())).await, open(cluster().url(), &with_limits(config())).await]
    {
        assert_eq!(store.list_keys(&log(), None, 10).await.unwrap().items, []);
        let names = ["b", "é", "-", "(a", "[a", "+", "\u{1f980}", "B", "a b/ü", "ab", "a", "\u{ffff}", "日本"];
        let writes = names.map(|name| write(0, row(name, 1, 1), &[]));
        store.commit_one(of_keys(writes.to_vec())).await.unwrap();
        store.commit_one(of_keys(vec![write(1, row("b", 2, 2), &[])])).await.unwrap();
        let mut sorted = names.map(|name| row(name, 1, 1)).to_vec();
        sorted.sort_by(|a, b| a.subject.as_str().as_bytes().cmp(b.subject.as_str().as_bytes()));
        sorted.iter_mut().filter(|of| of.subject.as_str() == "b").for_each(|of| *of = row("b", 2, 2));
        for limit in [1, 3, 4, 100] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = store.list_keys(&log(), after.as_ref(), limit).await.unwrap();
                assert!(page.items.len() <= limit.min(4));
                listed.extend(page.items);
                let Some(next) = page.next else { break };
                assert_eq!(Some(&next), listed.last().map(|row| &row.subject));
                after = Some(next);
            }
            assert_eq!(listed, sorted, "in pages of {limit}");
        }
        assert_eq!(store.list_keys(&log(), None, 0).await.unwrap().items, []);
        // Above a subject that is not there.
        let page = store.list_keys(&log(), Some(&subject("a!")), 1).await.unwrap();
        assert_eq!(page.items[0].subject, subject("ab"));
    }
}

#[tokio::test]
async fn neither_clear_nor_rebuilds_touch_keys_and_keys_are_written_whatever_state_the_log_is_in() {
    for store in stores().await {
        store.commit_one(Commit { keys: vec![write(0, row("a", 1, 1), &[id(1)])], ..creation("1") }).await.unwrap();
        store.clear(&log(), LOCK).await.unwrap();
        let rewound = store.head(&log()).await.unwrap();
        assert_eq!(rewound.state, LogState::Rewound(Position::ZERO));
        assert_eq!(of(&store, "a").await, Some(row("a", 1, 1)));
        store.commit_one(of_keys(vec![write(1, row("a", 2, 2), &[id(2)])])).await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap(), rewound, "a commit of keys is none of the log's");
        // With guards and nothing else, or with a change, it is.
        for refused in [
            Commit { keys: Vec::new(), ..guarded("a", 2, "2") },
            Commit { guards: guard("a", 2), ..commit(Vec::new()) },
        ] {
            let error = store.commit_one(refused).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Rewound { at: Position::ZERO }, "{error:?}");
        }
        let rebuild = store.begin_rebuild(&log(), LOCK, RebuildMode::InPlace).await.unwrap();
        store.commit_one(of_keys(vec![write(2, row("a", 3, 3), &[])])).await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rebuilding);
        let fence = store.fence(&rebuild).await.unwrap();
        let generation = rebuild.generation();
        store.finish_rebuild(rebuild, fence, Position::new(1)).await.unwrap();
        let head = store.head(&log()).await.unwrap();
        assert_eq!((head.state, head.generation), (LogState::Live, generation));
        assert_eq!(store.keys_by_id(&log(), &[id(2), id(1)]).await.unwrap(), vec![Some(row("a", 3, 3)); 2]);
        // Taking a rewound log as it is, with keys: the log is live from then on.
        store.clear(&log(), LOCK).await.unwrap();
        let mut accepting = of_keys(vec![write(3, row("a", 4, 4), &[])]);
        accepting.accepts = Some(Position::ZERO);
        store.commit_one(accepting).await.unwrap();
        assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
        assert_eq!(of(&store, "a").await, Some(row("a", 4, 4)));
    }
}

#[tokio::test]
async fn versions_and_epochs_beyond_what_a_double_can_tell_are_exact() {
    for store in stores().await {
        store.commit_one(of_keys(vec![write(0, row("a", LARGE, LARGE), &[])])).await.unwrap();
        for near in [LARGE - 1, LARGE + 1] {
            changed(store.commit_one(guarded("a", near, "1")).await);
            changed(store.commit_one(of_keys(vec![write(near, row("a", u64::MAX, 1), &[])])).await);
        }
        store.commit_one(guarded("a", LARGE, "1")).await.unwrap();
        store.commit_one(of_keys(vec![write(LARGE, row("a", u64::MAX, u64::MAX - 1), &[])])).await.unwrap();
        assert_eq!(of(&store, "a").await, Some(row("a", u64::MAX, u64::MAX - 1)));
        store.commit_one(guarded("a", u64::MAX - 1, "2")).await.unwrap();
    }
}

#[tokio::test]
async fn the_logs_that_have_keys_are_listed_and_no_others() {
    for (url, config) in [(server().url(), config()), (cluster().url(), config())] {
        let store = open(url, &config).await;
        assert_eq!(store.logs_with_keys().await.unwrap(), []);
        let tenant = |name: &str, tenant: &str| LogId::new(name).unwrap().with_tenant(tenant).unwrap();
        let mut logs =
            vec![log(), tenant("main", "b}:{"), tenant("main", "é"), tenant("other", "1"), tenant("main", "1")];
        for (n, log) in logs.iter().enumerate() {
            let keys = vec![write(0, row("a", u64::try_from(n).unwrap() + 1, 1), &[])];
            store.commit_one(Commit { log: log.clone(), ..of_keys(keys) }).await.unwrap();
        }
        // One with events only, and one whose keys are refused.
        store.commit_one(Commit { log: tenant("main", "none"), ..creation("1") }).await.unwrap();
        let refused = Commit { log: tenant("main", "refused"), ..of_keys(vec![write(1, row("a", 2, 1), &[])]) };
        changed(store.commit_one(refused).await);
        logs.sort_unstable();
        assert_eq!(store.logs_with_keys().await.unwrap(), logs);
        assert_eq!(open(url, &config).await.logs_with_keys().await.unwrap(), logs, "another process");
        let row = store.keys(&logs[0], &[subject("a")]).await.unwrap();
        assert_ne!(store.keys(&logs[1], &[subject("a")]).await.unwrap(), row, "each log has keys of its own");
        assert_eq!(store.keys(&tenant("main", "none"), &[subject("a")]).await.unwrap(), [None]);
    }
}

#[tokio::test]
async fn damaged_rows_are_corrupt_and_name_their_subject() {
    let config = config();
    let store = open(server().url(), &config).await;
    store.commit_one(of_keys(vec![write(0, row("a", 1, 1), &[id(1)]), write(0, row("b", 1, 1), &[])])).await.unwrap();
    let tag = format!("{{{}:main}}", config.prefix);
    assert_eq!(server().cli(&["hset", &format!("{tag}:k"), "a", "damaged"]), "0");
    let damaged = |error: Error| {
        assert_eq!(error.kind(), &ErrorKind::Corrupt, "{error:?}");
        assert!(error.message().contains("the keys of a "), "{error}");
    };
    damaged(store.keys(&log(), &["b", "a"].map(subject)).await.unwrap_err());
    damaged(store.keys_by_id(&log(), &[id(1)]).await.unwrap_err());
    damaged(store.list_keys(&log(), None, 10).await.unwrap_err());
    let batch = vec![guarded("a", 1, "1"), guarded("b", 1, "2"), of_keys(vec![write(1, row("a", 2, 2), &[])])];
    let [first, second, third]: [_; 3] = store.commit(batch.into()).await.try_into().unwrap();
    damaged(first.unwrap_err());
    assert_eq!(second.unwrap().events[0].position, Position::new(1), "its neighbours are as they would be");
    damaged(third.unwrap_err());
    assert_eq!(server().cli(&["hdel", &format!("{tag}:k"), "a"]), "1");
    for gone in
        [store.keys_by_id(&log(), &[id(1)]).await.map(|_| ()), store.list_keys(&log(), None, 10).await.map(|_| ())]
    {
        assert_eq!(gone.unwrap_err().kind(), &ErrorKind::Corrupt);
    }
}
