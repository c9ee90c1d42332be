//! What a store that keeps no records, or no keys, must do in place of the cases that take them.

use rekindle_core::ErrorKind;
use rekindle_core::types::Expected;

use crate::fixture::Backend;
use crate::look::{positions, put, refused};
use crate::run::Need;
use crate::sample::{check, checked, commit, create, guarded, keyed, keys, log, note, of_keys};

/// What is not kept is refused by name, and leaves no trace.
pub(crate) async fn is_refused(backend: Backend, need: Need) {
    let notes = || commit(&log(), vec![note("a", 1)]);
    let refusals = match need {
        Need::Events => Vec::new(),
        Need::Records => {
            vec![commit(&log(), vec![note("a", 1), create("a", 1)]), checked(notes(), check("a", Expected::Any))]
        }
        Need::Keys => vec![
            keyed(notes(), keys("s", 0, 1)),
            of_keys(&log(), vec![keys("s", 0, 1)]),
            guarded(notes(), "s", 1),
            // Without keys a subject is at epoch 0, but a store that knows of none cannot tell.
            guarded(notes(), "s", 0),
        ],
    };
    let store = backend.open().await.store;
    let last = refusals.len() as u64 + 1;
    for refusal in refusals {
        let error = refused(&*store, refusal.clone()).await;
        assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error:?}");
        let answers = store.commit([refusal, commit(&log(), vec![note("a", 2)])].into()).await;
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), &ErrorKind::Unsupported);
        assert_eq!(
            positions(answers[1].as_ref().unwrap()).len(),
            1,
            "the neighbour of a refused commit failed with it"
        );
    }
    assert_eq!(positions(&put(&*store, notes()).await), [last]);
}
