//! Points in time, in microseconds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A point in time: whole microseconds since 1970-01-01T00:00:00Z, from the year -9999 to the year 9999.
///
/// It is written as RFC 3339 text in UTC with as many fractional digits as it needs (`2026-11-23T22:43:13.25Z`), and read
/// from RFC 3339 text with any offset. Digits past the microsecond are cut off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The earliest point in time.
    #[must_use]
    pub fn min() -> Self {
        Self(jiff::Timestamp::MIN.as_second() * 1_000_000)
    }

    /// The latest point in time.
    #[must_use]
    pub fn max() -> Self {
        Self(jiff::Timestamp::MAX.as_second() * 1_000_000)
    }

    /// The present, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// The point in time so many microseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// `Invalid` outside of the years -9999 to 9999.
    pub fn from_microseconds(microseconds: i64) -> Result<Self> {
        if (Self::min().0..=Self::max().0).contains(&microseconds) {
            Ok(Self(microseconds))
        } else {
            Err(Error::invalid(format!(
                "{microseconds} microseconds since 1970 are outside of the years -9999 to 9999"
            )))
        }
    }

    /// The point in time so many seconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// `Invalid` outside of the years -9999 to 9999.
    pub fn from_seconds(seconds: i64) -> Result<Self> {
        Self::from_microseconds(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_microseconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => fmt::Display::fmt(&timestamp, f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let timestamp = jiff::Timestamp::from_str(text)
            .map_err(|source| Error::invalid(format!("{text:?} is no RFC 3339 timestamp")).with_source(source))?;
        Ok(Self(timestamp.as_microsecond()))
    }
}

/// RFC 3339 text in formats for people, microseconds in binary ones.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            Self::from_microseconds(i64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_to_the_microsecond_over_the_whole_range() {
        for timestamp in [Timestamp::min(), Timestamp(-1), Timestamp::EPOCH, Timestamp(1_234_567), Timestamp::max()] {
            assert_eq!(timestamp.to_string().parse::<Timestamp>().unwrap(), timestamp);
        }
        assert_eq!(
            "2026-11-23T23:00:00.0000019+01:00".parse::<Timestamp>().unwrap().to_string(),
            "2026-11-23T22:00:00.000001Z"
        );
    }

    #[test]
    fn out_of_range_is_refused() {
        assert!(Timestamp::from_microseconds(i64::MAX).is_err());
        assert!(Timestamp::from_seconds(i64::MIN).is_err());
        assert!(
            "yesterday".parse::<Timestamp>().unwrap_err().message().contains("\"yesterday\" is no RFC 3339 timestamp")
        );
    }
}
