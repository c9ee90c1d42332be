//! The vault's keys: what is kept of them, and how they are found again. To a store they are bytes.

use std::sync::Arc;

use rekindle_core::ErrorKind;
use rekindle_core::store::{LoadedRecord, LogState, RebuildMode, Store};
use rekindle_core::types::{Committed, KeyId, KeyRow, KeyWrite, Limits, LogId, Page, Position, Revision, Subject};

use super::key_commits::key_changed;
use super::replay::lived_in;
use crate::fixture::Backend;
use crate::look::{
    Everything, all_keys, assert_error, key_store, keys_by_id, keys_of, kinds, paged_keys, put, rebuild, refused,
};
use crate::sample::{
    TRICKY, commit, guarded, key, key_id, keyed, keys, lock_of, log, note, of_keys, state, subject, tenant, with_id,
};

/// The tricky texts as subjects, sorted by their bytes.
fn tricky() -> Vec<&'static str> {
    let mut texts = TRICKY.to_vec();
    texts.sort_unstable_by_key(|text| text.as_bytes());
    texts
}

fn subjects(rows: &[KeyRow]) -> Vec<&str> {
    rows.iter().map(|row| row.subject.as_str()).collect()
}

/// Writes a row that is new, with a key of this id, and reads it back in each way that there is.
async fn assert_reads_back(store: &dyn Store, row: KeyRow, id: KeyId) {
    let of = row.subject.as_str().to_owned();
    put(store, of_keys(&log(), vec![KeyWrite { expected: 0, row: row.clone(), new_ids: vec![id] }])).await;
    let expected = Some(&row);
    assert!(keys_of(store, &log(), &of).await.as_ref() == expected, "the keys of {of} are not read back as they were");
    assert!(
        keys_by_id(store, &log(), id).await.as_ref() == expected,
        "the keys of {of} differ if they are found by id"
    );
    let listed = all_keys(store, &log()).await;
    assert!(listed.iter().find(|row| row.subject.as_str() == of) == expected, "the keys of {of} differ in the list");
}

pub(crate) async fn a_new_store_has_no_keys(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, commit(&log(), vec![note("s", 1)])).await;
    for log in [log(), tenant("unknown")] {
        assert_eq!(key_store(&*store).keys(&log, &[subject("s"), subject("t")]).await.unwrap(), [None, None]);
        assert_eq!(key_store(&*store).keys(&log, &[]).await.unwrap(), []);
        assert_eq!(key_store(&*store).keys_by_id(&log, &[key_id(1)]).await.unwrap(), [None]);
        assert_eq!(key_store(&*store).keys_by_id(&log, &[]).await.unwrap(), []);
        assert_eq!(key_store(&*store).list_keys(&log, None, 10).await.unwrap(), Page::empty());
    }
    assert_eq!(key_store(&*store).logs_with_keys().await.unwrap(), []);
}

pub(crate) async fn a_row_reads_back_byte_for_byte(backend: Backend) {
    let store = backend.open().await.store;
    let bodies: [Vec<u8>; 9] = [
        Vec::new(),
        vec![0],
        b"a\0b\0\0".to_vec(),
        (0..=255).collect(),
        vec![0xff; 3],
        "e\u{301}\u{1f980}".into(),
        br#"\x00'"%$1"#.to_vec(),
        b"12".to_vec(),
        (0..100_000_u32).map(|n| (n % 251) as u8).collect(),
    ];
    for (n, body) in (0..).zip(bodies) {
        let row = KeyRow { subject: subject(&n.to_string()), version: 1, epoch: 1, body };
        assert_reads_back(&*store, row, key_id(n)).await;
    }
}

/// A double holds no odd number above 2^53.
pub(crate) async fn versions_and_epochs_are_exact(backend: Backend) {
    const ODD: u64 = (1 << 53) + 1;
    const MAX: u64 = i64::MAX as u64;
    let store = backend.open().await.store;
    for (n, (version, epoch)) in (0..).zip([(1, 0), (7, 300), (ODD, ODD + 2), (MAX - 1, MAX)]) {
        let row = KeyRow { version, epoch, ..keys(&n.to_string(), 0, 1).row };
        assert_reads_back(&*store, row, key_id(n)).await;
    }
    for (of, version, epoch) in [("2", ODD, ODD + 2), ("3", MAX - 1, MAX)] {
        assert_eq!(refused(&*store, of_keys(&log(), vec![keys(of, version - 1, 1)])).await.kind(), &key_changed());
        let stale = guarded(commit(&log(), vec![note("a", 1)]), of, epoch - 1);
        assert_eq!(refused(&*store, stale).await.kind(), &key_changed());
        put(&*store, guarded(commit(&log(), vec![note("a", 1)]), of, epoch)).await;
        put(&*store, of_keys(&log(), vec![keys(of, version, epoch)])).await;
    }
}

pub(crate) async fn any_text_is_a_subject(backend: Backend) {
    let store = backend.open().await.store;
    // The longest differ in their last byte only.
    let longest = ["a", "b"].map(|last| "x".repeat(1299) + last);
    let texts: Vec<&str> = TRICKY.iter().copied().chain(longest.iter().map(String::as_str)).collect();
    put(&*store, of_keys(&log(), texts.iter().map(|text| keys(text, 0, 1)).collect())).await;
    for text in &texts {
        assert_eq!(keys_of(&*store, &log(), text).await, Some(keys(text, 0, 1).row), "the keys of {text:?}");
        put(&*store, guarded(commit(&log(), vec![note("a", 1)]), text, 1)).await;
    }
}

pub(crate) async fn the_largest_keys_pass(backend: Backend) {
    let store = backend.open().await.store;
    let body = vec![0xa5; store.info().limits.record_bytes];
    assert_reads_back(&*store, KeyRow { body, ..keys("s", 0, 1).row }, key_id(1)).await;
}

pub(crate) async fn keys_are_answered_in_the_order_of_the_question(backend: Backend) {
    let store = backend.open().await.store;
    let written = [("a", 3), ("b", 1), ("c", 2)].map(|(of, id)| with_id(keys(of, 0, 1), key_id(id)));
    put(&*store, of_keys(&log(), written.to_vec())).await;
    let [a, b, c] = written.map(|write| Some(write.row));
    let asked = ["c", "a", "missing", "b", "a"].map(subject);
    let expected = [c.clone(), a.clone(), None, b.clone(), a.clone()];
    assert_eq!(key_store(&*store).keys(&log(), &asked).await.unwrap(), expected);
    let asked = [3, 2, 9, 1, 3, 3].map(key_id);
    assert_eq!(key_store(&*store).keys_by_id(&log(), &asked).await.unwrap(), [a.clone(), c, None, b, a.clone(), a]);
}

pub(crate) async fn a_row_is_found_by_every_id_it_ever_had(backend: Backend) {
    let store = backend.open().await.store;
    let mut last_byte = [1; 32];
    last_byte[31] = 2;
    let first = with_id(with_id(keys("s", 0, 1), key_id(1)), KeyId::from_bytes(last_byte));
    let ids = [key_id(1), KeyId::from_bytes(last_byte), key_id(0), key_id(255)];
    // Two keys, two rotations, a rewrap, a destruction.
    let writes = [
        first,
        with_id(keys("s", 1, 2), key_id(0)),
        with_id(keys("s", 2, 3), key_id(255)),
        keys("s", 3, 3),
        keys("s", 4, 4),
    ];
    for (write, known) in writes.into_iter().zip([2, 3, 4, 4, 4]) {
        let row = write.row.clone();
        put(&*store, of_keys(&log(), vec![write])).await;
        let found = key_store(&*store).keys_by_id(&log(), &ids).await.unwrap();
        for (nth, found) in found.into_iter().enumerate() {
            assert_eq!(
                found,
                Some(row.clone()).filter(|_| nth < known),
                "found by key {nth} at version {}",
                row.version
            );
        }
    }
    let mut unknown = last_byte;
    unknown[0] = 0;
    assert_eq!(keys_by_id(&*store, &log(), KeyId::from_bytes(unknown)).await, None);
}

pub(crate) async fn what_was_overwritten_is_read_nowhere(backend: Backend) {
    let store = backend.open().await.store;
    put(&*store, of_keys(&log(), vec![with_id(keys("s", 0, 1), key_id(1)), keys("t", 0, 1)])).await;
    put(&*store, of_keys(&log(), vec![with_id(keys("s", 1, 2), key_id(2))])).await;
    let destroyed = KeyRow { body: Vec::new(), ..keys("s", 2, 3).row };
    let shred = KeyWrite { expected: 2, row: destroyed.clone(), new_ids: Vec::new() };
    put(&*store, of_keys(&log(), vec![shred])).await;
    assert_eq!(keys_of(&*store, &log(), "s").await, Some(destroyed.clone()));
    for id in [1, 2] {
        assert_eq!(keys_by_id(&*store, &log(), key_id(id)).await, Some(destroyed.clone()), "a destroyed key is there");
    }
    assert_eq!(all_keys(&*store, &log()).await, [destroyed, keys("t", 0, 1).row]);
}

pub(crate) async fn pages_of_keys_concatenate_to_the_whole(backend: Backend) {
    let store = backend.open().await.store;
    let sorted = tricky();
    put(&*store, of_keys(&log(), TRICKY.iter().map(|text| keys(text, 0, 1)).collect())).await;
    put(&*store, of_keys(&tenant("1"), vec![keys("m", 0, 1), keys("\u{10ffff}", 0, 1)])).await;
    let whole: Vec<KeyRow> = sorted.iter().map(|text| keys(text, 0, 1).row).collect();
    for limit in [1, 2, 7, sorted.len() - 1, sorted.len(), sorted.len() + 1, usize::MAX] {
        assert_eq!(paged_keys(&*store, &log(), limit).await, whole, "by pages of {limit}");
    }
    for after in sorted.iter().chain(&["a!", "m", "\u{1}\u{1}", "zz"]) {
        let above: Vec<&str> = sorted.iter().copied().filter(|text| text.as_bytes() > after.as_bytes()).collect();
        let page = key_store(&*store).list_keys(&log(), Some(&subject(after)), 100).await.unwrap();
        assert_eq!(subjects(&page.items), above, "above {after:?}");
    }
    for after in [None, Some(subject("a"))] {
        assert_eq!(key_store(&*store).list_keys(&log(), after.as_ref(), 0).await.unwrap(), Page::empty());
    }
}

pub(crate) async fn a_page_of_keys_is_cut_to_the_stores_rows(backend: Backend) {
    let store = backend.open_with(Limits::default().with_page_rows(3)).await.store;
    let texts = ["a", "b", "c", "d", "e"];
    put(&*store, of_keys(&log(), texts.iter().map(|text| keys(text, 0, 1)).collect())).await;
    let page = key_store(&*store).list_keys(&log(), None, 100).await.unwrap();
    assert_eq!(subjects(&page.items), ["a", "b", "c"]);
    assert_eq!(page.next, Some(subject("c")), "there is more, and the page does not say so");
    assert_eq!(subjects(&all_keys(&*store, &log()).await), texts);
}

/// As a rewrap goes over them, which may be broken off and goes on by the subject that it was at.
pub(crate) async fn a_walk_over_the_keys_goes_on_while_they_are_written(backend: Backend) {
    let store = backend.open().await.store;
    let texts = ["b", "d", "f", "h", "j", "l"];
    put(&*store, of_keys(&log(), texts.iter().map(|text| keys(text, 0, 1)).collect())).await;
    let (mut seen, mut after): (Vec<KeyRow>, Option<Subject>) = (Vec::new(), None);
    for round in 0.. {
        let page = key_store(&*store).list_keys(&log(), after.as_ref(), 2).await.unwrap();
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        after = Some(next);
        // All are rewrapped, and one more comes to be before and one behind.
        put(&*store, of_keys(&log(), texts.iter().map(|text| keys(text, round + 1, 1)).collect())).await;
        put(&*store, of_keys(&log(), ["a", "z"].map(|at| keys(&format!("{at}{round}"), 0, 1)).to_vec())).await;
    }
    let of_all_the_time: Vec<&str> = subjects(&seen).into_iter().filter(|text| texts.contains(text)).collect();
    assert_eq!(of_all_the_time, texts, "a subject that was there all the time was not seen once");
    assert_eq!(seen.iter().find(|row| row.subject == subject("f")).unwrap().version, 2, "a page is of when it is read");
}

pub(crate) async fn the_logs_with_keys_are_listed(backend: Backend) {
    let store = backend.open().await.store;
    let named = |name: &str| LogId::new(name).unwrap();
    let mut with_keys =
        vec![named("b"), named("a.b"), log(), tenant("1"), tenant("a/b"), tenant("\u{1f980}"), named("a")];
    with_keys.push(named("a").with_tenant("b").unwrap());
    for log in &with_keys {
        put(&*store, of_keys(log, vec![keys("s", 0, 1), keys("t", 0, 1)])).await;
    }
    put(&*store, commit(&tenant("events"), vec![note("a", 1)])).await;
    put(&*store, guarded(commit(&tenant("guards"), Vec::new()), "s", 0)).await;
    refused(&*store, keyed(commit(&tenant("refused"), vec![note("a", 1)]), keys("s", 7, 1))).await;
    with_keys.sort_unstable();
    assert_eq!(key_store(&*store).logs_with_keys().await.unwrap(), with_keys);
}

pub(crate) async fn logs_have_keys_of_their_own(backend: Backend) {
    let store = backend.open().await.store;
    let named = |name: &str| LogId::new(name).unwrap();
    let logs = [log(), tenant("1"), tenant("2"), tenant("suite"), named("suite.1"), named("other"), named("suit")];
    for (log, epoch) in logs.iter().zip(1..) {
        put(&*store, of_keys(log, vec![with_id(keys("s", 0, epoch), key_id(1))])).await;
    }
    for (log, epoch) in logs.iter().zip(1..) {
        let own = keys("s", 0, epoch).row;
        assert_eq!(keys_of(&*store, log, "s").await, Some(own.clone()), "{log:?} has the keys of another log");
        assert_eq!(keys_by_id(&*store, log, key_id(1)).await, Some(own.clone()), "{log:?} has the keys of another log");
        assert_eq!(all_keys(&*store, log).await, [own], "{log:?} lists the keys of another log");
        put(&*store, guarded(commit(log, vec![note("a", 1)]), "s", epoch)).await;
        let of_another = guarded(commit(log, vec![note("a", 1)]), "s", epoch + 1);
        assert_eq!(
            refused(&*store, of_another).await.kind(),
            &key_changed(),
            "{log:?} is guarded by another log's keys"
        );
    }
}

pub(crate) async fn clear_and_rebuilds_leave_the_keys(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let head = store.head(&log()).await.unwrap().position;
    put(&*store, of_keys(&log(), vec![with_id(keys("s", 0, 1), key_id(1)), keys("suite.item/0", 0, 4)])).await;
    let before = all_keys(&*store, &log()).await;
    for how in ["clear", "shadow", "in place", "broken off", "clear"] {
        match how {
            "clear" => drop(store.clear(&log(), lock_of(&log())).await.unwrap()),
            "shadow" => rebuild(&store, &log(), RebuildMode::Shadow, head).await,
            "in place" => rebuild(&store, &log(), RebuildMode::InPlace, head).await,
            _ => {
                let running = store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::InPlace).await.unwrap();
                store.abandon_rebuild(running).await.unwrap();
            }
        }
        assert_eq!(all_keys(&*store, &log()).await, before, "the keys did not outlive: {how}");
        assert_eq!(keys_of(&*store, &log(), "s").await.as_ref(), before.first(), "the keys did not outlive: {how}");
        assert_eq!(
            keys_by_id(&*store, &log(), key_id(1)).await.as_ref(),
            before.first(),
            "an id did not outlive: {how}"
        );
    }
    rebuild(&store, &log(), RebuildMode::Shadow, head).await;
    put(&*store, guarded(commit(&log(), vec![note("a", 1)]), "s", 1)).await;
    put(&*store, of_keys(&log(), vec![keys("s", 1, 2)])).await;
}

/// They are no part of the state: a subject can be forgotten whatever the records are at.
pub(crate) async fn keys_are_written_in_any_state_of_the_log(backend: Backend) {
    let store = backend.open().await.store;
    lived_in(&*store).await;
    let head = store.head(&log()).await.unwrap().position;
    rebuild(&store, &log(), RebuildMode::Shadow, Position::new(7)).await;
    let rewound = Everything::of(&*store, &log()).await;
    assert_eq!(put(&*store, of_keys(&log(), vec![keys("s", 0, 1)])).await, Committed::default());
    put(&*store, guarded(of_keys(&log(), vec![keys("t", 0, 1)]), "s", 1)).await;
    let after = Everything::of(&*store, &log()).await;
    assert_eq!(after.keys.as_deref(), Some(&[keys("s", 0, 1).row, keys("t", 0, 1).row][..]));
    assert_eq!(
        Everything { keys: rewound.keys.clone(), ..after },
        rewound,
        "a commit of keys changed more than the keys"
    );
    assert_eq!(refused(&*store, of_keys(&log(), vec![keys("s", 0, 1)])).await.kind(), &key_changed());
    let with_event = keyed(commit(&log(), vec![note("a", 1)]), keys("s", 1, 2));
    assert_eq!(refused(&*store, with_event.clone()).await.kind(), &ErrorKind::Rewound { at: Position::new(7) });

    let running = store.begin_rebuild(&log(), lock_of(&log()), RebuildMode::InPlace).await.unwrap();
    let answers = store.commit([with_event.clone(), of_keys(&log(), vec![keys("s", 1, 2)]), with_event].into()).await;
    let kinds = kinds(&answers);
    assert_eq!(kinds, [Some(ErrorKind::Rebuilding), None, Some(ErrorKind::Rebuilding)]);
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Rebuilding, "a commit of keys ended a rebuild");
    let record = LoadedRecord { key: key("a"), revision: Revision::new(1), state: Some(state(1)) };
    store.load(&running, vec![record]).await.unwrap();
    put(&*store, of_keys(&log(), vec![keys("s", 2, 2)])).await;
    let fence = store.fence(&running).await.unwrap();
    store.finish_rebuild(running, fence, head).await.expect("a commit of keys broke a rebuild off");
    assert_eq!(store.head(&log()).await.unwrap().state, LogState::Live);
    assert_eq!(all_keys(&*store, &log()).await, [keys("s", 2, 2).row, keys("t", 0, 1).row]);
}

pub(crate) async fn two_handles_agree_on_keys(backend: Backend) {
    let opened = backend.open().await;
    let handles = [Arc::clone(&opened.store), opened.other_handle().await];
    for n in 0..12_u8 {
        let (writer, reader) = (&handles[usize::from(n % 2)], &handles[usize::from((n + 1) % 2)]);
        let write = with_id(keys("s", n.into(), n.into()), key_id(n));
        put(&**writer, of_keys(&log(), vec![write.clone()])).await;
        let now = Some(write.row);
        assert_eq!(
            keys_of(&**reader, &log(), "s").await,
            now,
            "a handle does not see the keys that the other has written"
        );
        assert_eq!(keys_by_id(&**reader, &log(), key_id(n)).await, now);
        assert_eq!(Everything::of(&**reader, &log()).await, Everything::of(&**writer, &log()).await);
        let stale = guarded(commit(&log(), vec![note("a", 1)]), "s", u64::from(n) + 1);
        assert_error(&refused(&**reader, stale).await, &key_changed(), "s");
        assert_eq!(refused(&**reader, of_keys(&log(), vec![keys("s", n.into(), 9)])).await.kind(), &key_changed());
    }
    assert_eq!(key_store(&*handles[0]).logs_with_keys().await.unwrap(), [log()]);
    assert_eq!(key_store(&*handles[1]).logs_with_keys().await.unwrap(), [log()]);
}

pub(crate) async fn keys_are_there_after_reopening(backend: Backend) {
    let mut opened = backend.open().await;
    for round in 0..3 {
        let id = u8::try_from(round).unwrap();
        put(&*opened.store, of_keys(&log(), vec![with_id(keys("s", round, round + 1), key_id(id))])).await;
        put(&*opened.store, keyed(commit(&tenant("1"), vec![note("a", round)]), keys("t", round, 1))).await;
        let before = (Everything::of(&*opened.store, &log()).await, Everything::of(&*opened.store, &tenant("1")).await);
        let Some(again) = opened.reopen().await else { return };
        opened = again;
        let after = (Everything::of(&*opened.store, &log()).await, Everything::of(&*opened.store, &tenant("1")).await);
        assert_eq!(after, before, "what was answered is not there after reopening");
        for known in 0..=id {
            assert_eq!(keys_by_id(&*opened.store, &log(), key_id(known)).await, Some(keys("s", round, round + 1).row));
        }
        assert_eq!(key_store(&*opened.store).logs_with_keys().await.unwrap(), [log(), tenant("1")]);
        let stale = guarded(commit(&log(), vec![note("a", 1)]), "s", round);
        assert_eq!(refused(&*opened.store, stale).await.kind(), &key_changed());
    }
}
