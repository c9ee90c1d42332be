//! What the errors of Redis and of its client are to Rekindle.

use redis::RedisError;
use rekindle_core::{Error, ErrorKind};

/// What an error says of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing was done, and the same call can soon succeed.
    Again,
    /// Nothing was done: the server does not have Rekindle's code.
    Load,
    /// Nothing was done, and trying again now is of no use.
    Refused(Refused),
    /// The answer was lost: it may have been done.
    Lost,
}

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unavailable,
    Invalid,
    Corrupt,
    Unsupported,
}

impl Refused {
    fn kind(self) -> ErrorKind {
        match self {
            Self::Unavailable => ErrorKind::Unavailable,
            Self::Invalid => ErrorKind::Invalid,
            Self::Corrupt => ErrorKind::Corrupt,
            Self::Unsupported => ErrorKind::Unsupported,
        }
    }
}

/// What each error of the server is, by its first word.
const BY_CODE: &[(&str, Outcome, &str)] = &[
    ("LOADING", Outcome::Again, "the server is loading its data"),
    ("BUSY", Outcome::Again, "the server is busy with a script"),
    ("MASTERDOWN", Outcome::Again, "the server has lost its primary"),
    ("READONLY", Outcome::Again, "the server is a replica"),
    ("CLUSTERDOWN", Outcome::Again, "the cluster is down"),
    ("TRYAGAIN", Outcome::Again, "the slot of the log is being moved"),
    ("MOVED", Outcome::Again, "the slot of the log has moved"),
    ("ASK", Outcome::Again, "the slot of the log is being moved"),
    ("NOSCRIPT", Outcome::Load, "the server does not have the script"),
    ("OOM", Outcome::Refused(Refused::Unavailable), "the server has no memory left (maxmemory)"),
    ("MISCONF", Outcome::Refused(Refused::Unavailable), "the server cannot write to its disk"),
    ("NOREPLICAS", Outcome::Refused(Refused::Unavailable), "the server has too few replicas (min-replicas-to-write)"),
    ("NOAUTH", Outcome::Refused(Refused::Invalid), "the server asks for a password"),
    ("WRONGPASS", Outcome::Refused(Refused::Invalid), "the server refuses this user or password"),
    ("NOPERM", Outcome::Refused(Refused::Invalid), "this user may not do it: an ACL rule is missing"),
    ("CROSSSLOT", Outcome::Refused(Refused::Unsupported), "the server does not take keys of one log together"),
    ("WRONGTYPE", Outcome::Refused(Refused::Corrupt), "a key of the log is of another type"),
    ("RKCORRUPT", Outcome::Refused(Refused::Corrupt), "what is stored is damaged"),
    (
        "RKLAYOUT",
        Outcome::Refused(Refused::Invalid),
        "the log has a layout that this version of Rekindle does not know",
    ),
];

/// What errors with the general code `ERR` are, by a part of their text. The code alone does not tell.
const BY_TEXT: &[(&str, Outcome, &str)] = &[
    ("Function not found", Outcome::Load, "the server does not have the functions"),
    ("non local key", Outcome::Again, "the slot of the log is being moved"),
    ("max number of clients", Outcome::Refused(Refused::Unavailable), "the server has too many connections"),
    ("killed by user", Outcome::Refused(Refused::Unavailable), "somebody killed the script"),
    ("unknown command", Outcome::Refused(Refused::Unsupported), "the server does not know a command"),
    ("unknown subcommand", Outcome::Refused(Refused::Unsupported), "the server does not know a command"),
    ("invalid password", Outcome::Refused(Refused::Invalid), "the server refuses this user or password"),
];

/// What any other answer that is an error is: the code of Rekindle failed on the server.
const UNKNOWN: (Outcome, &str) = (Outcome::Refused(Refused::Corrupt), "the server failed at it");

fn of_answer(code: &str, text: &str) -> (Outcome, &'static str) {
    if let Some((_, outcome, what)) = BY_CODE.iter().find(|(known, ..)| *known == code) {
        return (*outcome, what);
    }
    let found = BY_TEXT.iter().find(|(part, ..)| text.contains(part));
    found.map_or(UNKNOWN, |(_, outcome, what)| (*outcome, what))
}

/// What an error says of the call, and what it is in words: the only place that does. `sent` tells whether the call may have
/// left this process.
pub(crate) fn outcome(error: &RedisError, sent: bool) -> (Outcome, &'static str) {
    use redis::ErrorKind as Kind;
    match error.kind() {
        Kind::Server(_) | Kind::Extension => {
            let text = error.detail().unwrap_or_default();
            of_answer(error.code().unwrap_or_default(), text)
        }
        Kind::ClusterConnectionNotFound => (Outcome::Again, "no node of the cluster can be reached"),
        Kind::InvalidClientConfig => (Outcome::Refused(Refused::Invalid), "the URL or the settings are wrong"),
        Kind::AuthenticationFailed => (Outcome::Refused(Refused::Invalid), "the server refuses this user or password"),
        Kind::RESP3NotSupported => (Outcome::Refused(Refused::Unsupported), "the server does not know RESP3"),
        _ if !sent || error.is_connection_refusal() => (Outcome::Again, "the server cannot be reached"),
        _ => (Outcome::Lost, "the connection to the server failed, or it did not answer in time"),
    }
}

/// The error for a call that did nothing.
pub(crate) fn unchanged(error: RedisError, sent: bool) -> Error {
    let (outcome, what) = outcome(&error, sent);
    let kind = match outcome {
        Outcome::Refused(refused) => refused.kind(),
        Outcome::Again | Outcome::Load | Outcome::Lost => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("Redis: {what}")).with_source(error)
}

/// The error for a call that may have done something.
pub(crate) fn indeterminate(error: RedisError) -> Error {
    Error::new(ErrorKind::Indeterminate, "Redis: the answer was lost, and asking again did not bring it")
        .with_source(error)
}

/// The server gave an answer that does not fit the call.
pub(crate) fn unexpected(to: &str) -> Error {
    Error::corrupt(format!("Redis: the answer to {to} has an unknown form"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::ServerErrorKind as Server;
    use std::io;

    fn answer(line: &str) -> RedisError {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn each_answer_has_its_outcome() {
        use Outcome::{Again, Load};
        use Refused::{Corrupt, Invalid, Unavailable, Unsupported};
        let refused = Outcome::Refused;
        let table = [
            ("LOADING Redis is loading the dataset in memory", Again),
            ("BUSY Redis is busy running a script.", Again),
            ("MASTERDOWN Link with MASTER is down", Again),
            ("READONLY You can't write against a read only replica.", Again),
            ("CLUSTERDOWN The cluster is down", Again),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Again),
            ("MOVED 3999 127.0.0.1:6381", Again),
            ("ASK 3999 127.0.0.1:6381", Again),
            ("ERR Script attempted to access a non local key in a cluster node script: x, on @user_function:1.", Again),
            ("NOSCRIPT No matching script.", Load),
            ("ERR Function not found", Load),
            ("OOM command not allowed when used memory > 'maxmemory'.", refused(Unavailable)),
            ("MISCONF Errors writing to the AOF file: No space left on device", refused(Unavailable)),
            ("NOREPLICAS Not enough good replicas to write.", refused(Unavailable)),
            ("ERR max number of clients reached", refused(Unavailable)),
            ("ERR Error running script: Script killed by user with FUNCTION KILL", refused(Unavailable)),
            ("NOAUTH Authentication required.", refused(Invalid)),
            ("WRONGPASS invalid username-password pair or user is disabled.", refused(Invalid)),
            ("NOPERM this user has no permissions to run the 'fcall' command", refused(Invalid)),
            ("ERR unknown command 'FCALL', with args beginning with: ", refused(Unsupported)),
            ("CROSSSLOT Keys in request don't hash to the same slot", refused(Unsupported)),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", refused(Corrupt)),
            ("RKCORRUPT the list is cut", refused(Corrupt)),
            ("RKLAYOUT 2", refused(Invalid)),
            ("ERR user_function:12: attempt to index a nil value", refused(Corrupt)),
        ];
        for (line, expected) in table {
            assert_eq!(outcome(&answer(line), true).0, expected, "{line}");
        }
    }

    #[test]
    fn what_may_have_been_sent_is_lost_and_what_was_not_is_not() {
        let io = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut] {
            assert_eq!(outcome(&io(kind), true).0, Outcome::Lost, "{kind}");
            assert_eq!(outcome(&io(kind), false).0, Outcome::Again, "{kind}");
        }
        assert_eq!(outcome(&io(io::ErrorKind::ConnectionRefused), true).0, Outcome::Again);
        assert_eq!(*unchanged(io(io::ErrorKind::TimedOut), true).kind(), ErrorKind::Unavailable);
        assert_eq!(*unchanged(answer("RKCORRUPT x"), true).kind(), ErrorKind::Corrupt);
        let nowhere = RedisError::from((redis::ErrorKind::ClusterConnectionNotFound, "x"));
        assert_eq!(outcome(&nowhere, true).0, Outcome::Again);
        assert_eq!(outcome(&RedisError::from((Server::TryAgain.into(), "x")), true).0, Outcome::Again);
    }
}
