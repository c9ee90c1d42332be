//! The bytes in which events and records are kept by backends that store bytes.
//!
//! A row is one byte with the version of the format (now 1), then the value in postcard's wire format
//! (<https://postcard.jamesmunns.com/wire-format>), its fields in the order of their declaration. What does not decode, or
//! leaves bytes over, is `Corrupt`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The version of the format that is written.
pub const VERSION: u8 = 1;

/// Encodes a row.
///
/// # Errors
///
/// `Invalid` if the value does not serialize, which none of Rekindle's types does.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    // Most rows are of some hundred bytes.
    encode_behind(Vec::with_capacity(512), value)
}

/// Encodes a row behind what is there.
///
/// # Errors
///
/// `Invalid` if the value does not serialize, which none of Rekindle's types does.
pub fn encode_behind(mut head: Vec<u8>, value: &impl Serialize) -> Result<Vec<u8>> {
    head.push(VERSION);
    postcard::to_extend(value, head).map_err(|source| Error::invalid("a row cannot be encoded").with_source(source))
}

/// Decodes a row.
///
/// # Errors
///
/// `Corrupt` if the row is of another version, or is damaged.
pub fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T> {
    match row {
        [VERSION, body @ ..] => {
            let (value, rest) = postcard::take_from_bytes(body)
                .map_err(|source| Error::corrupt("a stored row cannot be decoded").with_source(source))?;
            if rest.is_empty() {
                Ok(value)
            } else {
                Err(Error::corrupt(format!("a stored row has {} bytes too many", rest.len())))
            }
        }
        [version, ..] => {
            Err(Error::corrupt(format!("a stored row has the format version {version}; known is {VERSION}")))
        }
        [] => Err(Error::corrupt("a stored row is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Event, Record};

    /// P73 of the properties at the level of bytes: rows written by the first version of the format.
    const EVENT_V1: &[u8] = include_bytes!("../fixtures/event-v1.bin");
    const RECORD_V1: &[u8] = include_bytes!("../fixtures/record-v1.bin");

    #[test]
    fn rows_of_the_oldest_format_decode() {
        let event: Event = decode(EVENT_V1).unwrap();
        let record: Record = decode(RECORD_V1).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), include_str!("../fixtures/event-v1.json").trim_end());
        assert_eq!(serde_json::to_string(&record).unwrap(), include_str!("../fixtures/record-v1.json").trim_end());
        assert_eq!(encode(&event).unwrap(), EVENT_V1);
        assert_eq!(encode(&record).unwrap(), RECORD_V1);
    }

    #[test]
    fn a_damaged_row_is_corrupt_in_words() {
        let message = |row: &[u8]| decode::<Event>(row).unwrap_err().message().to_owned();
        assert_eq!(message(&[]), "a stored row is empty");
        assert_eq!(message(&[9, 1]), "a stored row has the format version 9; known is 1");
        assert_eq!(message(&EVENT_V1[..20]), "a stored row cannot be decoded");
        assert_eq!(message(&[EVENT_V1, &[0]].concat()), "a stored row has 1 bytes too many");
    }
}
