//! The conformance suite of Rekindle: what every storage backend must pass, its own and yours.
//!
//! Tell the suite how to make a store of your backend, and let [`suite!`] write one test for each case:
//!
//! ```
//! use std::sync::Arc;
//!
//! use rekindle_conformance::{Fixture, Limits, Store, async_trait};
//! # use rekindle_memory::{MemoryBackend as MyBackend, MemoryConfig as MyConfig};
//!
//! struct MyFixture(MyBackend);
//!
//! #[async_trait]
//! impl Fixture for MyFixture {
//!     async fn create(limits: Limits) -> Self {
//!         Self(MyBackend::with_config(MyConfig::default().with_limits(limits)))
//!     }
//!     fn store(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!     async fn second_handle(&self) -> Option<Arc<dyn Store>> {
//!         Some(Arc::new(self.0.clone())) // None, if your backend allows one handle only
//!     }
//!     async fn reopen(self) -> Option<Self> {
//!         None // Some, if the data outlives the process
//!     }
//! }
//!
//! rekindle_conformance::suite!(MyFixture);
//! # fn main() { rekindle_conformance::run_case::<MyFixture>("append::a_new_store_is_empty").unwrap(); }
//! ```
//!
//! Each case names the properties that it checks by number ([`Case::properties`]); [`CASES`] lists them all, and
//! [`run_case`] runs one by name. Nothing is skipped: what a backend cannot do is checked to be declared and refused.
//!
//! What a store alone cannot show is left to others: unknown events (72) to the engine, the oldest format (73), a kill
//! (89, 90, 92, 93, 94) and a full disk (95) to each backend's own tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a suite's cases fail by panicking")]

mod cases;
mod fixture;
mod look;
mod model;
mod run;
mod sample;

pub use async_trait::async_trait;
pub use cases::CASES;
pub use fixture::Fixture;
pub use rekindle_core::store::Store;
pub use rekindle_core::types::Limits;
pub use run::{Case, Failure, Need, run_case};

/// Writes one test for each case, in a module for each group, for a [`Fixture`].
///
/// To test two fixtures in one file, give each a module: `mod mine { use super::*; rekindle_conformance::suite!(Mine); }`.
#[macro_export]
macro_rules! suite {
    ($fixture:ty) => {
        $crate::__cases! { __tests, $fixture }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    (($fixture:ty) $($group:ident { $($name:ident: $($need:ident)+ [$($property:literal),+];)+ })+) => {$(
        mod $group {
            #[allow(unused_imports)]
            use super::*;
            $(#[test]
            fn $name() {
                $crate::__private::run::<$fixture>(concat!(stringify!($group), "::", stringify!($name)));
            })+
        }
    )+};
}

#[doc(hidden)]
pub mod __private {
    /// Runs the case of this name, and panics if it fails.
    pub fn run<F: crate::Fixture>(name: &str) {
        crate::Case::named(name).unwrap_or_else(|| panic!("there is no case {name}")).run::<F>();
    }
}

/// The guide's code is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-a-backend.md")]
struct WritingABackend;
