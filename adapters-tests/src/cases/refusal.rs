//! What a store that keeps no records must do in place of the cases that take records.

use rekindle_core::ErrorKind;
use rekindle_core::types::Expected;

use crate::fixture::Backend;
use crate::look::{positions, put, refused};
use crate::sample::{check, checked, commit, create, log, note};

/// Writes and checks of records are refused by name, and leave no trace.
pub(crate) async fn records_are_refused(backend: Backend) {
    let store = backend.open().await.store;
    let with_write = commit(&log(), vec![note("a", 1), create("a", 1)]);
    let with_check = checked(commit(&log(), vec![note("a", 1)]), check("a", Expected::Any));
    for refusal in [with_write, with_check] {
        let error = refused(&*store, refusal.clone()).await;
        assert_eq!(error.kind(), &ErrorKind::Unsupported, "{error:?}");
        let answers = store.commit(vec![refusal, commit(&log(), vec![note("a", 2)])]).await;
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), &ErrorKind::Unsupported);
        assert_eq!(
            positions(answers[1].as_ref().unwrap()).len(),
            1,
            "the neighbour of a refused commit failed with it"
        );
    }
    assert_eq!(positions(&put(&*store, commit(&log(), vec![note("a", 3)])).await), [3]);
}
