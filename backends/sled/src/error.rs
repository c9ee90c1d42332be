//! What sled's errors are to Rekindle.

use std::io;
use std::path::Path;

use rekindle_core::{Error, ErrorKind};

/// What sled 0.34 says when it cannot take the exclusive lock on a database file.
const LOCKED: &str = "could not acquire lock on";

/// Classifies an error of sled: the only place that does.
pub(crate) fn classify(source: sled::Error) -> Error {
    let kind = match &source {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) | sled::Error::CollectionNotFound(_) => {
            ErrorKind::Corrupt
        }
        sled::Error::Unsupported(_) => ErrorKind::Invalid,
        sled::Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        },
    };
    let message = match &kind {
        ErrorKind::Corrupt => "the sled database is damaged",
        ErrorKind::Invalid => "the sled database cannot be used as it is",
        _ => "the sled database cannot be read or written",
    };
    Error::new(kind, message).with_source(source)
}

/// Whether sled could not open a database because it is open elsewhere.
pub(crate) fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.kind() == io::ErrorKind::Other && error.to_string().contains(LOCKED))
}

/// The folder is open elsewhere.
pub(crate) fn locked(folder: &Path) -> Error {
    let message =
        format!("the folder {} is open already, by another process or by another handle in this one", folder.display());
    Error::new(ErrorKind::Unavailable, message)
}

/// A file of the database cannot be read or written.
pub(crate) fn file(path: &Path, source: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{} cannot be read or written", path.display())).with_source(source)
}

/// The same error for a change that may have happened.
pub(crate) fn indeterminate(error: &Error) -> Error {
    Error::new(ErrorKind::Indeterminate, "the change may or may not be durable").with_source(error.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_sled_has_its_kind() {
        let io = |kind| sled::Error::Io(io::Error::new(kind, "x"));
        let table = [
            (sled::Error::Corruption { at: None, bt: () }, ErrorKind::Corrupt),
            (sled::Error::ReportableBug("x".into()), ErrorKind::Corrupt),
            (sled::Error::CollectionNotFound(sled::IVec::from(b"x")), ErrorKind::Corrupt),
            (sled::Error::Unsupported("x".into()), ErrorKind::Invalid),
            (io(io::ErrorKind::UnexpectedEof), ErrorKind::Corrupt),
            (io(io::ErrorKind::InvalidData), ErrorKind::Corrupt),
            (io(io::ErrorKind::StorageFull), ErrorKind::Unavailable),
            (io(io::ErrorKind::PermissionDenied), ErrorKind::Unavailable),
            (io(io::ErrorKind::Other), ErrorKind::Unavailable),
        ];
        for (error, kind) in table {
            assert_eq!(*classify(error).kind(), kind);
        }
    }
}
