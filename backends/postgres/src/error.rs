//! What the errors of PostgreSQL and of sqlx are to Rekindle.

use rekindle_core::{Error, ErrorKind};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// A log has changed since it was read, or something is not as it was expected: raised by `write_batch` and `append_batch`.
const STALE: &str = "RK001";
/// A change of events is refused: raised by the trigger.
const REFUSED: &str = "RK002";

const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The kind of each SQLSTATE, by the code or by its class; the first line that fits is it. What fits none is `Unavailable`.
///
/// The codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const KINDS: &[(&str, ErrorKind, &str)] = &[
    (STALE, ErrorKind::Unavailable, "the log was changed by somebody else at the same time"),
    (REFUSED, ErrorKind::Invalid, "events are never changed"),
    // Class 22, data exception.
    ("22021", ErrorKind::Invalid, "a text has a character that the database cannot hold"),
    ("22P05", ErrorKind::Invalid, "a text has a character that the database cannot hold"),
    ("22", ErrorKind::Invalid, "the database refuses a value"),
    // Class 23, integrity constraint violation: what is decided before a write rules them out.
    ("23", ErrorKind::Corrupt, "a row is there that cannot be there"),
    // Class 25, invalid transaction state.
    ("25006", ErrorKind::Unavailable, "the server is read-only at the moment"),
    ("25P02", ErrorKind::Invalid, "an earlier statement of the transaction failed, so that it can only be rolled back"),
    ("25P03", ErrorKind::Unavailable, "the transaction was idle for too long"),
    ("25P04", ErrorKind::Unavailable, "the transaction took too long"),
    // Class 28 and 3D: who and where.
    ("28", ErrorKind::Invalid, "the server refuses this user"),
    ("3D000", ErrorKind::Invalid, "there is no such database"),
    // Class 40, transaction rollback.
    ("40003", ErrorKind::Indeterminate, "it is not known whether the statement was completed"),
    ("40", ErrorKind::Unavailable, "the transaction was rolled back in favour of another"),
    // Class 42 and 3F: what is not there is not migrated.
    ("42501", ErrorKind::Unavailable, "this user may not do it: a GRANT is missing"),
    ("42P01", ErrorKind::Invalid, "a table is not there: migrate the schema"),
    ("42703", ErrorKind::Invalid, "a column is not there: migrate the schema"),
    ("42883", ErrorKind::Invalid, "a function is not there: migrate the schema"),
    ("42", ErrorKind::Invalid, "the server refuses the statement"),
    ("3F000", ErrorKind::Invalid, "the schema is not there: migrate it"),
    // Class 53, insufficient resources.
    ("53100", ErrorKind::Unavailable, "the server's disk is full"),
    ("53200", ErrorKind::Unavailable, "the server is out of memory"),
    ("53300", ErrorKind::Unavailable, "the server has too many connections"),
    ("53", ErrorKind::Unavailable, "the server lacks something"),
    // Class 54, program limit exceeded.
    ("54", ErrorKind::TooLarge, "a limit of the server is exceeded"),
    // Class 55 and 57: somebody is in the way, or steps in.
    (LOCK_NOT_AVAILABLE, ErrorKind::Unavailable, "a lock could not be had in time"),
    ("57014", ErrorKind::Unavailable, "the statement was cancelled, or took longer than statement_timeout"),
    ("57P", ErrorKind::Unavailable, "the server is being shut down or started"),
    // Class 58 and XX: the machine, and the server itself.
    ("58", ErrorKind::Unavailable, "the server's system failed"),
    ("XX001", ErrorKind::Corrupt, "the server's data is damaged"),
    ("XX002", ErrorKind::Corrupt, "an index of the server is damaged"),
    // Class 0A: a plan that a migration has made outdated is one of them. The connection is given up then.
    ("0A000", ErrorKind::Unavailable, "the server cannot do this, or its schema was migrated meanwhile"),
    ("08", ErrorKind::Unavailable, "the connection to the server failed"),
];

fn of_code(code: &str) -> (ErrorKind, &'static str) {
    let found = KINDS.iter().find(|(prefix, ..)| code.starts_with(prefix));
    found.map_or((ErrorKind::Unavailable, "the server failed"), |(_, kind, what)| (kind.clone(), what))
}

/// Classifies an error of sqlx where nothing was changed: the only place that does.
pub(crate) fn classify(source: sqlx::Error) -> Error {
    let (kind, what) = match &source {
        sqlx::Error::Database(error) => of_code(error.code().as_deref().unwrap_or_default()),
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => {
            (ErrorKind::Invalid, "the URL or the settings of the database are wrong")
        }
        sqlx::Error::Encode(_) => (ErrorKind::TooLarge, "a value cannot be sent to the server"),
        sqlx::Error::PoolTimedOut => (ErrorKind::Unavailable, "no connection became free in time"),
        sqlx::Error::PoolClosed => (ErrorKind::Unavailable, "the store was closed"),
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. } => (ErrorKind::Corrupt, "what is stored cannot be decoded"),
        _ => (ErrorKind::Unavailable, "the connection to the server failed"),
    };
    Error::new(kind, format!("Postgres: {what}")).with_source(source)
}

/// Classifies an error of a call that commits: if the connection was lost, or the server ended the session, nobody knows
/// whether the commit was made.
pub(crate) fn in_commit(source: sqlx::Error) -> Error {
    if is_answer(&source) {
        return classify(source);
    }
    Error::new(ErrorKind::Indeterminate, "Postgres: the connection was lost while it committed").with_source(source)
}

/// Whether the server refused the statement, so that its transaction is certainly rolled back; or nothing was sent.
fn is_answer(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| error.severity() == PgSeverity::Error)
                && !error.code().is_some_and(|code| code.starts_with("08") || code == "40003")
        }
        sqlx::Error::Encode(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        _ => false,
    }
}

/// Whether the connection is of no more use.
pub(crate) fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        // A server that is read-only may have been the primary; a new connection may lead to the one that is it now.
        sqlx::Error::Database(database) => {
            !is_answer(error) || matches!(database.code().as_deref(), Some("25006" | "0A000"))
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Whether the schema may have been made anew since it was connected to: a function, a type or a number of one is unknown.
pub(crate) fn is_made_anew(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| tells_of_another_schema(&code))
}

fn tells_of_another_schema(code: &str) -> bool {
    code == "XX000" || (code.starts_with("42") && code != "42501")
}

/// Whether the function that writes found a log at another version, or something not as expected.
pub(crate) fn is_stale(error: &sqlx::Error) -> bool {
    has_code(error, STALE)
}

/// Whether a row is there that was expected not to be.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    has_code(error, "23505")
}

/// Whether the transaction was rolled back because of another one, so that it can be made again.
pub(crate) fn is_rolled_back(error: &sqlx::Error) -> bool {
    has_code(error, "40001") || has_code(error, "40P01")
}

/// Whether a lock was not to be had in time.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, LOCK_NOT_AVAILABLE)
}

/// Whether something is not there at all: the schema, a table.
pub(crate) fn is_missing(error: &sqlx::Error) -> bool {
    has_code(error, "42P01") || has_code(error, "3F000")
}

/// Whether two sessions made the same schema or table at the same time.
pub(crate) fn is_made_twice(error: &sqlx::Error) -> bool {
    ["23505", "42P06", "42P07", "42710", "42723", "XX000"].iter().any(|code| has_code(error, code))
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|found| found == code)
}

/// A task that carried a change through came to no end: it panicked, or the runtime was shut down.
pub(crate) fn broken_off(source: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Indeterminate, "the task that made the change came to no end").with_source(source)
}

/// A stored row breaks the format.
pub(crate) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("Postgres: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sqlstate_has_its_kind() {
        let table = [
            ("RK001", ErrorKind::Unavailable),
            ("RK002", ErrorKind::Invalid),
            ("08000", ErrorKind::Unavailable),
            ("08006", ErrorKind::Unavailable),
            ("0A000", ErrorKind::Unavailable),
            ("22021", ErrorKind::Invalid),
            ("22P05", ErrorKind::Invalid),
            ("22003", ErrorKind::Invalid),
            ("23505", ErrorKind::Corrupt),
            ("23502", ErrorKind::Corrupt),
            ("25006", ErrorKind::Unavailable),
            ("25P02", ErrorKind::Invalid),
            ("25P03", ErrorKind::Unavailable),
            ("25P04", ErrorKind::Unavailable),
            ("28P01", ErrorKind::Invalid),
            ("28000", ErrorKind::Invalid),
            ("3D000", ErrorKind::Invalid),
            ("3F000", ErrorKind::Invalid),
            ("40001", ErrorKind::Unavailable),
            ("40003", ErrorKind::Indeterminate),
            ("40P01", ErrorKind::Unavailable),
            ("42501", ErrorKind::Unavailable),
            ("42P01", ErrorKind::Invalid),
            ("42883", ErrorKind::Invalid),
            ("42703", ErrorKind::Invalid),
            ("53000", ErrorKind::Unavailable),
            ("53100", ErrorKind::Unavailable),
            ("53200", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("54000", ErrorKind::TooLarge),
            ("55P03", ErrorKind::Unavailable),
            ("57014", ErrorKind::Unavailable),
            ("57P01", ErrorKind::Unavailable),
            ("57P02", ErrorKind::Unavailable),
            ("57P03", ErrorKind::Unavailable),
            ("58030", ErrorKind::Unavailable),
            ("XX000", ErrorKind::Unavailable),
            ("XX001", ErrorKind::Corrupt),
            ("XX002", ErrorKind::Corrupt),
            ("99999", ErrorKind::Unavailable),
        ];
        for (code, kind) in table {
            assert_eq!(of_code(code).0, kind, "{code}");
        }
    }

    #[test]
    fn what_is_not_known_tells_of_another_schema_and_what_is_not_allowed_does_not() {
        let telling = ["42804", "42883", "42704", "42P01", "XX000"];
        assert!(telling.into_iter().all(tells_of_another_schema));
        let others = ["42501", STALE, "23505", LOCK_NOT_AVAILABLE, "40P01", "53100", "57014", "XX001"];
        assert!(!others.into_iter().any(tells_of_another_schema));
    }

    #[test]
    fn what_is_no_answer_of_the_server_leaves_a_commit_open() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(*classify(lost()).kind(), ErrorKind::Unavailable);
        assert_eq!(*in_commit(lost()).kind(), ErrorKind::Indeterminate);
        assert_eq!(*in_commit(sqlx::Error::Protocol("x".into())).kind(), ErrorKind::Indeterminate);
        assert_eq!(*in_commit(sqlx::Error::PoolTimedOut).kind(), ErrorKind::Unavailable);
        assert_eq!(*classify(sqlx::Error::RowNotFound).kind(), ErrorKind::Corrupt);
        assert!(ends_connection(&lost()));
    }
}
