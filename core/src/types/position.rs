//! The counters of a log and of a record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares a counter over `u64`.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Zero: before the first.
            pub const ZERO: Self = Self(0);

            /// The counter at this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The next one. It stops at `u64::MAX`.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    };
}

counter!(
    /// Where an event stands in its log: dense from 1, in commit order. Zero is before the first event.
    Position
);
counter!(
    /// How often a record was written: 1 after the first write, and one more after each. It goes on over a destruction, so
    /// that a record made again under the same id never has a revision that it had before, unless the log was cleared and
    /// then taken as it was.
    Revision
);
counter!(
    /// One complete set of a log's records: a rebuild writes the next generation and swaps it in.
    Generation
);
