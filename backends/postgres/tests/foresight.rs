//! Commits that are decided on what they expect, unread: that they are, and that each wrong expectation is found out.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{LOCK, commit, config, create, creation, key, log, open, server};
use rekindle_core::store::{EventStore, EventStoreExt, KeyStore, ResourceStore, ResourceStoreExt};
use rekindle_core::types::{
    ActionType, Change, Check, Commit, EventId, EventQuery, Expected, Identity, KeyGuard, KeyRow, KeyWrite, Payload,
    Position, Revision, Subject,
};
use rekindle_core::{ErrorKind, VaultFault};
use rekindle_postgres::{LockMode, PostgresBackend, PostgresConfig};
use rekindle_test_servers::{Fsync, Postgres};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// An update of a record that is at this revision.
fn update(id: &str, revision: u64, identity: Option<&str>) -> Change {
    let mut change = create(id, &format!(r#"{{"n":{}}}"#, revision.saturating_add(1)), identity);
    change.event.as_mut().unwrap().action_type = ActionType::Update;
    change.write.as_mut().unwrap().expected = Expected::Revision(Revision::new(revision));
    change
}

fn destroy(id: &str, revision: u64) -> Change {
    let mut change = update(id, revision, None);
    change.event.as_mut().unwrap().action_type = ActionType::Destroy;
    change.write.as_mut().unwrap().state = None;
    change
}

fn checked(id: &str, checks: &[(&str, Expected)]) -> Commit {
    let mut commit = creation(id);
    commit.checks = checks.iter().map(|(id, expected)| Check::Record { key: key(id), expected: *expected }).collect();
    commit
}

fn at(revision: u64) -> Expected {
    Expected::Revision(Revision::new(revision))
}

fn ada() -> Subject {
    Subject::named("ada").unwrap()
}

fn guarded(id: &str, epoch: u64) -> Commit {
    let mut commit = creation(id);
    commit.guards.push(KeyGuard { subject: ada(), epoch });
    commit
}

fn keys_written(id: &str, expected: u64) -> Commit {
    let row = KeyRow { subject: ada(), version: expected + 1, epoch: expected + 1, body: vec![7] };
    let mut commit = creation(id);
    commit.keys.push(KeyWrite { expected, row, new_ids: Vec::new() });
    commit
}

/// A handle that has seen the log once: what it commits next is not read for.
async fn knowing(config: &PostgresConfig) -> PostgresBackend {
    let store = PostgresBackend::connect_with(server().url(), config.clone()).await.unwrap();
    store.commit_one(creation(&EventId::generate().to_string())).await.unwrap();
    store
}

/// An empty store with a log.
async fn begun(mode: LockMode) -> (PostgresBackend, PostgresConfig) {
    let config = config(server()).with_lock_mode(mode).with_max_connections(2);
    let store = open(server(), &config).await;
    store.commit_one(creation("first")).await.unwrap();
    (store, config)
}

async fn rename(config: &PostgresConfig, from: &str, to: &str) {
    let mut connection = PgConnection::connect(server().url()).await.unwrap();
    let text = format!("ALTER FUNCTION {}.{from} RENAME TO {to}", config.schema.quoted());
    sqlx::query(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn commits_that_say_what_they_expect_are_not_read_for() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let (_, config) = begun(mode).await;
        let store = knowing(&config).await;
        rename(&config, "view_batch", "hidden").await;

        store.commit_one(commit(vec![create("a", "{}", Some("a@x")), create("b", "{}", None)])).await.unwrap();
        store.commit_one(commit(vec![update("a", 1, Some("a@x")), destroy("b", 1)])).await.unwrap();
        store.commit_one(keys_written("c", 0)).await.unwrap();
        let mut of_keys = commit(Vec::new());
        of_keys.keys = keys_written("none", 1).keys;
        store.commit_one(of_keys).await.unwrap();
        store.commit_one(guarded("d", 2)).await.unwrap();
        store
            .commit_one(checked("e", &[("a", at(2)), ("b", Expected::Absent), ("no", Expected::Absent)]))
            .await
            .unwrap();
        let mut sealed = creation("f");
        sealed.changes[0].event.as_mut().unwrap().data = Payload::Sealed(vec![1, 2]);
        let sealed_id = sealed.changes[0].event.as_ref().unwrap().id;
        let mut event_only = creation("g");
        event_only.changes[0].write = None;
        // Each of a batch sees those before it.
        let mut twice = commit(vec![create("h", "{}", None), update("h", 1, None)]);
        twice.changes[1].write.as_mut().unwrap().expected = Expected::Exists;
        let batch = vec![sealed, event_only, twice, commit(vec![update("h", 2, None)]), checked("i", &[("h", at(3))])];
        let answers = store.commit(batch.into()).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");

        let last = store.head(&log()).await.unwrap().position;
        assert_eq!(last, Position::new(15));
        let events = store.read(&log(), &EventQuery::new()).await.unwrap().items;
        assert!(events.iter().map(|event| event.position.get()).eq(1..=15));
        let sealed = events.iter().find(|event| event.id == sealed_id).unwrap();
        assert_eq!(sealed.event.data, Payload::Sealed(vec![1, 2]));
        assert_eq!(sealed.event.metadata, Payload::empty());
        let revisions = ["a", "b", "c", "g", "h"].map(key);
        let records = store.get(&log(), &revisions).await.unwrap();
        let revisions: Vec<_> =
            records.iter().map(|record| record.as_ref().map(|record| record.revision.get())).collect();
        assert_eq!(revisions, [Some(2), None, Some(1), None, Some(3)]);
        assert_eq!(records[4].as_ref().unwrap().attributes.as_str(), r#"{"n":3}"#);
        let email = Identity::new("shop.order", "email", "a@x").unwrap();
        assert_eq!(store.find(&log(), &email).await.unwrap().unwrap().key, key("a"));
        assert_eq!(store.keys(&log(), &[ada()]).await.unwrap()[0].as_ref().unwrap().version, 2);

        // It has not read so far: now it would have to.
        let error = store.commit_one(commit(vec![update("a", 1, Some("a@x"))])).await.unwrap_err();
        assert!(error.message().contains("a function is not there"), "{error}");
        rename(&config, "hidden", "view_batch").await;
        let error = store.commit_one(commit(vec![update("a", 1, Some("a@x"))])).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Conflict { actual: Some(Revision::new(2)) });
        assert_eq!(store.head(&log()).await.unwrap().position, last);
    }
}

#[tokio::test]
async fn each_wrong_expectation_is_told_as_what_it_is() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let (store, config) = begun(mode).await;
        store.commit_one(commit(vec![create("a", "{}", Some("a@x")), create("b", "{}", None)])).await.unwrap();
        store.commit_one(commit(vec![update("a", 1, Some("a@x")), create("gone", "{}", None)])).await.unwrap();
        store.commit_one(commit(vec![destroy("gone", 1)])).await.unwrap();
        store.commit_one(keys_written("c", 0)).await.unwrap();

        let conflict = |actual: u64| ErrorKind::Conflict { actual: (actual > 0).then(|| Revision::new(actual)) };
        let taken = ErrorKind::IdentityTaken { identity: "email".into(), owner: "a".into() };
        let key_changed = ErrorKind::Vault(VaultFault::KeyChanged);
        let cases = [
            (commit(vec![update("a", 1, Some("a@x"))]), conflict(2)),
            (commit(vec![destroy("a", 1)]), conflict(2)),
            (commit(vec![update("no", 1, None)]), ErrorKind::NotFound),
            (commit(vec![update("no", 0, None)]), ErrorKind::NotFound),
            (commit(vec![update("gone", 2, None)]), ErrorKind::NotFound),
            (commit(vec![update("a", u64::MAX, None)]), conflict(2)),
            (creation("a"), ErrorKind::AlreadyExists { actual: Revision::new(2) }),
            (commit(vec![create("z", "{}", Some("a@x"))]), taken.clone()),
            (commit(vec![update("b", 1, Some("a@x"))]), taken),
            (checked("z", &[("a", at(1))]), conflict(2)),
            (checked("z", &[("a", Expected::Absent)]), conflict(2)),
            (checked("z", &[("no", at(1))]), conflict(0)),
            (checked("z", &[("no", at(0))]), conflict(0)),
            (checked("z", &[("gone", at(2))]), conflict(0)),
            (guarded("z", 0), key_changed.clone()),
            (guarded("z", u64::MAX), key_changed.clone()),
            (keys_written("z", 0), key_changed.clone()),
            (keys_written("z", 2), key_changed),
        ];
        for (wrong, expected) in cases {
            let store = knowing(&config).await;
            // The right one beside it is made all the same.
            let (before, right) = (store.head(&log()).await.unwrap().position, EventId::generate().to_string());
            let answers = store.commit([wrong.clone(), creation(&right)].into()).await;
            assert_eq!(*answers[0].as_ref().unwrap_err().kind(), expected, "{wrong:?}");
            assert_eq!(answers[1].as_ref().unwrap().events[0].position, before.next(), "{wrong:?}");
            assert!(store.get_one(&log(), &key(&right)).await.unwrap().is_some());
            assert!(store.get_one(&log(), &key("z")).await.unwrap().is_none());
            store.close().await;
        }
    }
}

#[tokio::test]
async fn what_does_not_say_enough_or_frees_something_is_right_all_the_same() {
    let (_, config) = begun(LockMode::Advisory).await;
    let owner = async |store: &PostgresBackend, value: &str| {
        let identity = Identity::new("shop.order", "email", value).unwrap();
        store.find(&log(), &identity).await.unwrap().map(|record| record.key.id.as_str().to_owned())
    };
    let store = knowing(&config).await;
    store.commit_one(commit(vec![create("a", "{}", Some("a@x"))])).await.unwrap();
    // The old identity is freed, and another takes it.
    store.commit_one(commit(vec![update("a", 1, Some("new@x"))])).await.unwrap();
    assert_eq!(owner(&store, "a@x").await, None);
    let store = knowing(&config).await;
    store.commit_one(commit(vec![create("b", "{}", Some("a@x"))])).await.unwrap();
    assert_eq!(owner(&store, "a@x").await.as_deref(), Some("b"));
    // So it is by the end of its record, though its commit does not name it.
    let store = knowing(&config).await;
    store.commit_one(commit(vec![destroy("b", 1)])).await.unwrap();
    assert_eq!(owner(&store, "a@x").await, None);
    // A record that was there before goes on with its revisions.
    let store = knowing(&config).await;
    let answer = store.commit_one(commit(vec![create("b", "{}", Some("a@x"))])).await.unwrap();
    assert_eq!(answer.events[0].revision, Some(Revision::new(3)));
    // Two that swap.
    let store = knowing(&config).await;
    let swap = vec![update("a", 2, Some("a@x")), update("b", 3, Some("new@x"))];
    store.commit_one(commit(swap)).await.unwrap();
    assert_eq!(owner(&store, "a@x").await.as_deref(), Some("a"));
    assert_eq!(owner(&store, "new@x").await.as_deref(), Some("b"));
    // Who takes one before it is freed is refused, who takes it after that is not.
    let store = knowing(&config).await;
    let take = |id: &str| commit(vec![create(id, "{}", Some("a@x"))]);
    let answers = store.commit([take("early"), commit(vec![destroy("a", 3)]), take("late")].into()).await;
    assert!(matches!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::IdentityTaken { .. }), "{answers:?}");
    assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(owner(&store, "a@x").await.as_deref(), Some("late"));

    let store = knowing(&config).await;
    let mut any = creation("b");
    any.changes[0].write.as_mut().unwrap().expected = Expected::Any;
    assert_eq!(store.commit_one(any).await.unwrap().events[0].revision, Some(Revision::new(5)));
    let store = knowing(&config).await;
    let mut held = creation("held");
    let identity = Identity::new("shop.order", "email", "a@x").unwrap();
    held.checks.push(Check::Identity { identity, owner: None });
    assert_eq!(*store.commit_one(held).await.unwrap_err().kind(), ErrorKind::Conflict { actual: None });
}

#[tokio::test]
async fn a_commit_that_is_made_again_gets_its_first_answer() {
    let (store, config) = begun(LockMode::Advisory).await;
    let first = commit(vec![create("a", "{}", Some("a@x")), create("b", "{}", None)]);
    let answer = store.commit_one(first.clone()).await.unwrap();
    let head = store.head(&log()).await.unwrap();

    let store = knowing(&config).await;
    let answers = store.commit([creation("c"), first.clone(), creation("d")].into()).await;
    assert_eq!(answers[1].as_ref().unwrap(), &answer);
    assert_eq!(answers[2].as_ref().unwrap().events[0].position.get(), head.position.get() + 3);

    let store = knowing(&config).await;
    let twice = creation("e");
    let answers = store.commit([twice.clone(), twice].into()).await;
    assert_eq!(answers[0].as_ref().unwrap(), answers[1].as_ref().unwrap());

    let store = knowing(&config).await;
    let mut other = first.clone();
    other.changes.truncate(1);
    other.changes[0].event.as_mut().unwrap().version = 2;
    assert_eq!(*store.commit_one(other).await.unwrap_err().kind(), ErrorKind::IdReused);
    let store = knowing(&config).await;
    let mut more = first;
    more.changes.push(create("more", "{}", None));
    assert_eq!(*store.commit_one(more).await.unwrap_err().kind(), ErrorKind::IdReused);
}

#[tokio::test]
async fn what_another_process_did_in_between_is_found_out() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let (other, config) = begun(mode).await;
        let store = knowing(&config).await;
        other.commit_one(creation("a")).await.unwrap();
        let answer = store.commit_one(creation("b")).await.unwrap();
        assert_eq!(answer.events[0].position, Position::new(4));
        // However often they take turns.
        for turn in 0..20 {
            other.commit_one(creation(&format!("other-{turn}"))).await.unwrap();
            store.commit_one(creation(&format!("mine-{turn}"))).await.unwrap();
        }
        let store = knowing(&config).await;
        other.commit_one(commit(vec![update("a", 1, None)])).await.unwrap();
        let error = store.commit_one(commit(vec![update("a", 1, None)])).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Conflict { actual: Some(Revision::new(2)) });

        let store = knowing(&config).await;
        other.clear(&log(), LOCK).await.unwrap();
        let error = store.commit_one(creation("c")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Rewound { at: Position::ZERO });
        let mut accepting = creation("c");
        accepting.accepts = Some(Position::ZERO);
        store.commit_one(accepting).await.unwrap();
        store.commit_one(creation("d")).await.unwrap();
    }
}

/// The head is not where it was foretold, though its version is: as when other batches were made than those that were to be.
#[tokio::test]
async fn a_head_that_is_elsewhere_at_the_same_version_is_found_out() {
    for mode in [LockMode::Advisory, LockMode::Row] {
        let (_, config) = begun(mode).await;
        let mut connection = PgConnection::connect(server().url()).await.unwrap();
        let logs = format!("UPDATE {}.logs SET", config.schema.quoted());

        let store = knowing(&config).await;
        sqlx::query(AssertSqlSafe(format!("{logs} position = position + 5"))).execute(&mut connection).await.unwrap();
        let committed = store.commit_one(creation("a")).await.unwrap();
        let head = store.head(&log()).await.unwrap();
        assert_eq!((committed.events[0].position, head.position), (Position::new(8), Position::new(8)));
        let stored = store.read(&log(), &EventQuery::new().with_cursor(Position::new(7))).await.unwrap().items;
        assert_eq!(stored.iter().map(|event| event.position).collect::<Vec<_>>(), [Position::new(8)]);

        let store = knowing(&config).await;
        sqlx::query(AssertSqlSafe(format!("{logs} state = 1"))).execute(&mut connection).await.unwrap();
        assert_eq!(*store.commit_one(creation("b")).await.unwrap_err().kind(), ErrorKind::Rebuilding);
    }
}

/// Batches that are decided on each other's outcome: some of them fail, so that what was foretold is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_are_under_way_together_are_told_what_was_made() {
    let (advisory, row) = (LockMode::Advisory, LockMode::Row);
    for (mode, sends) in [(advisory, 1), (advisory, 2), (row, 1), (row, 2)] {
        let (_, config) = begun(mode).await;
        let store = knowing(&config.with_sends_at_once(sends)).await;
        for round in 0..50 {
            let of = |name: &str| creation(&format!("{name}-{round}"));
            let mut taken = creation("first");
            taken.changes.push(of("beside").changes.remove(0));
            let commits = [of("a"), of("b"), taken, of("c"), of("d")];
            let answers = futures::future::join_all(commits.iter().cloned().map(|commit| store.commit_one(commit)));
            let (answers, head) = tokio::join!(answers, async { store.head(&log()).await });
            head.unwrap();
            let events = store.read(&log(), &EventQuery::new().with_limit(10_000)).await.unwrap().items;
            for (commit, answer) in commits.iter().zip(answers) {
                let id = commit.events().next().unwrap().id;
                let stored = events.iter().find(|event| event.id == id);
                match answer {
                    Ok(committed) => {
                        let stored = stored.unwrap();
                        assert_eq!(committed.events[0].position, stored.position, "in round {round}");
                        assert_eq!(committed.events[0].revision, stored.revision);
                    }
                    Err(error) => {
                        assert_eq!(*error.kind(), ErrorKind::AlreadyExists { actual: Revision::new(1) }, "{error}");
                        assert_eq!((stored, commit.changes.len()), (None, 2), "in round {round}");
                    }
                }
            }
            let positions: Vec<u64> = events.iter().map(|event| event.position.get()).collect();
            assert_eq!(positions, (1..=2 + 4 * (round + 1)).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_do_not_notice_that_the_server_was_restarted() {
    server();
    let server = Postgres::start(Fsync::Off);
    let config = config(&server).with_max_connections(3);
    let store = open(&server, &config).await;
    for id in ["a", "b", "c"] {
        store.commit_one(creation(id)).await.unwrap();
    }
    // Three connections, all of which die.
    let main = log();
    let (one, two, three) = tokio::join!(store.head(&main), store.head(&main), store.head(&main));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    tokio::task::block_in_place(|| {
        server.stop();
        server.restart();
    });
    let answer = store.commit_one(creation("d")).await.unwrap();
    assert_eq!(answer.events[0].position, Position::new(4));
    store.commit_one(creation("e")).await.unwrap();
}
