//! Running cases by name.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::future::BoxFuture;
use rekindle_core::store::Store;

use crate::cases::{CASES, refusal};
use crate::fixture::{Backend, Fixture};

/// After this long a case hangs. It is no measure of speed.
const HUNG: Duration = Duration::from_secs(60);

/// One case of the suite.
pub struct Case {
    /// The group that it is in, such as `append`.
    pub group: &'static str,
    /// Its name within the group: what holds of a store that passes it.
    pub name: &'static str,
    /// The numbers of the properties that it checks, as `docs/conformance-properties.md` has them.
    pub properties: &'static [&'static str],
    /// What it takes of a store. With one that keeps none of it, the case checks that it is refused.
    pub needs: &'static [Need],
    pub(crate) body: fn(Backend) -> BoxFuture<'static, ()>,
}

/// What a case takes of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Events, which every store keeps.
    Events,
    /// Records.
    Records,
    /// The vault's keys.
    Keys,
}

impl Need {
    fn is_met(self, store: &dyn Store) -> bool {
        match self {
            Self::Events => true,
            Self::Records => store.info().records,
            Self::Keys => store.key_store().is_some(),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} {:?}", self.group, self.name, self.properties)
    }
}

/// Why a case failed.
#[derive(Debug)]
pub struct Failure {
    /// The case, as `group::name`.
    pub case: String,
    /// What it said.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.message)
    }
}

impl std::error::Error for Failure {}

impl Case {
    /// The case of this name, as `group::name`.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let (group, name) = name.split_once("::")?;
        CASES.iter().find(|case| case.group == group && case.name == name)
    }

    /// Runs the case, on a runtime of its own with two worker threads. It fails by panicking.
    pub fn run<F: Fixture>(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let case = async {
            let backend = Backend::of::<F>();
            let store = backend.open().await.store;
            let missing: Vec<Need> = self.needs.iter().copied().filter(|need| !need.is_met(&*store)).collect();
            if missing.is_empty() {
                (self.body)(backend).await;
            }
            for need in missing {
                refusal::is_refused(backend, need).await;
            }
        };
        let ended = runtime.block_on(async { tokio::time::timeout(HUNG, case).await });
        runtime.shutdown_background();
        assert!(ended.is_ok(), "the case hung: it did not end within {HUNG:?}");
    }
}

/// Runs one case, named as `group::name`.
///
/// # Errors
///
/// The failure of the case, or that there is no such case.
pub fn run_case<F: Fixture>(name: &str) -> Result<(), Failure> {
    let fail = |message: String| Failure { case: name.to_owned(), message };
    let case = Case::named(name).ok_or_else(|| fail("there is no such case".to_owned()))?;
    catch_unwind(AssertUnwindSafe(|| case.run::<F>())).map_err(|panic| fail(message_of(&*panic)))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".to_owned())
}
