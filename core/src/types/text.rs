//! Text that is shared: read with one allocation, written with one, or part of the program.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is cheap to clone.
#[derive(Clone)]
pub(super) enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Shared(Arc::from(text))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        // Names of resources are compared all the time, and are mostly one text of the program.
        if std::ptr::eq::<str>(&**self, &**other) { Ordering::Equal } else { (**self).cmp(&**other) }
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self::Shared)
    }
}

impl Text {
    /// These parts, one after the other.
    pub(super) fn of_parts(parts: &[&str]) -> Self {
        let write = |to: &mut Vec<u8>| {
            parts.iter().for_each(|part| to.extend_from_slice(part.as_bytes()));
            Ok(())
        };
        // Text put together is text.
        written(write, |text| Self::from(text)).unwrap_or_else(|_| Self::from(parts.concat().as_str()))
    }
}

/// Reads text. (serde's own way to an `Arc<str>` leads over a `String`; rows hold many texts, and replays read many rows.)
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    struct Shared;

    impl Visitor<'_> for Shared {
        type Value = Arc<str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Arc<str>, E> {
            Ok(Arc::from(text))
        }
    }

    deserializer.deserialize_str(Shared)
}

/// Has JSON written into a buffer that the thread keeps, and takes what is made of it: so that text is allocated once, at its
/// length.
pub(super) fn written<T>(
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    take: impl FnOnce(&str) -> T,
) -> serde_json::Result<T> {
    /// A buffer that has grown beyond so many bytes is not kept.
    const KEPT: usize = 64 << 10;
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // What writes may come here again: then it finds an empty one.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    write(&mut buffer)?;
    let taken = take(std::str::from_utf8(&buffer).map_err(serde::ser::Error::custom)?);
    if buffer.capacity() <= KEPT {
        // A thread that ends keeps none.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    Ok(taken)
}
