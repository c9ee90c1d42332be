//! What the server is set to, and whether that is enough.

use redis::{Value, cmd};
use rekindle_core::store::Durability;
use rekindle_core::{Error, Result};

use crate::config::RedisConfig;
use crate::error::{Outcome, Refused, outcome, unchanged, unexpected};
use crate::store::Store;

/// The settings of one server that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Settings {
    appendonly: String,
    appendfsync: String,
    maxmemory_policy: String,
}

impl Settings {
    /// What survives, by these settings, and the setting that decides it.
    fn durability(&self) -> (Durability, String) {
        match (self.appendonly.as_str(), self.appendfsync.as_str()) {
            ("yes", "always") => (Durability::PowerLoss, "appendfsync always".to_owned()),
            ("yes", fsync) => (Durability::ProcessCrash, format!("appendfsync {fsync}")),
            (off, _) => (Durability::Process, format!("appendonly {off}")),
        }
    }
}

/// Reads the settings, refuses those that lose commits, and gives what survives a commit.
pub(crate) async fn check(store: &Store) -> Result<Durability> {
    refuse_replicas(store).await?;
    let mut get = cmd("CONFIG");
    get.arg("GET").arg("append*");
    let appends = match store.link.send_to_all(&get).await {
        Ok(answers) => answers,
        Err(failure) => {
            let (outcome, _) = outcome(&failure.error, failure.sent);
            if matches!(outcome, Outcome::Refused(Refused::Invalid | Refused::Unsupported)) && !is_login(&failure.error)
            {
                return store.config.durability.ok_or_else(|| {
                    Error::invalid(
                        "the server does not tell its settings (CONFIG GET is forbidden): say by \
                         RedisConfig::with_durability what they give",
                    )
                    .with_source(failure.error)
                });
            }
            return Err(unchanged(failure.error, failure.sent));
        }
    };
    let mut get = cmd("CONFIG");
    get.arg("GET").arg("maxmemory-policy");
    let policies = store.link.send_to_all(&get).await.map_err(|failure| unchanged(failure.error, failure.sent))?;
    let mut least: Option<(Durability, String)> = None;
    for (append, policy) in appends.into_iter().zip(policies) {
        let mut settings = Settings::default();
        for (name, value) in pairs(append)?.into_iter().chain(pairs(policy)?) {
            match name.as_str() {
                "appendonly" => settings.appendonly = value,
                "appendfsync" => settings.appendfsync = value,
                "maxmemory-policy" => settings.maxmemory_policy = value,
                _ => {}
            }
        }
        refuse_eviction(&settings)?;
        let given = settings.durability();
        if least.as_ref().is_none_or(|least| given.0 < least.0) {
            least = Some(given);
        }
    }
    let (given, setting) = least.ok_or_else(|| unexpected("CONFIG GET"))?;
    judge(&store.config, given, &setting)
}

/// Whether an error is about who logs in, not about what he may do.
fn is_login(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) || error.kind() == redis::ErrorKind::AuthenticationFailed
}

fn judge(config: &RedisConfig, given: Durability, setting: &str) -> Result<Durability> {
    match config.durability {
        Some(asked) if asked > given => Err(Error::invalid(format!(
            "the log asks for the durability {asked:?}, and the server gives {given:?} by its setting `{setting}`; it takes \
             {}",
            match asked {
                Durability::PowerLoss => "`appendonly yes` and `appendfsync always`",
                _ => "`appendonly yes`",
            }
        ))),
        _ => Ok(given),
    }
}

fn refuse_eviction(settings: &Settings) -> Result<()> {
    let policy = &settings.maxmemory_policy;
    if policy.starts_with("allkeys-") {
        return Err(Error::invalid(format!(
            "the server's setting `maxmemory-policy {policy}` lets it drop events when its memory is full: it takes \
             `noeviction`, or a policy of the kind `volatile-`"
        )));
    }
    Ok(())
}

async fn refuse_replicas(store: &Store) -> Result<()> {
    if store.link.is_cluster() {
        return Ok(());
    }
    let answer = match store.link.send(&cmd("ROLE")).await {
        Ok(answer) => answer,
        // Who may not ask is told by the first write.
        Err(failure) => match outcome(&failure.error, failure.sent).0 {
            Outcome::Refused(_) if !is_login(&failure.error) => return Ok(()),
            _ => return Err(unchanged(failure.error, failure.sent)),
        },
    };
    match answer {
        Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(role)) if role == b"slave") => {
            Err(Error::invalid("the server is a replica: the URL must lead to its primary"))
        }
        _ => Ok(()),
    }
}

fn pairs(answer: Value) -> Result<Vec<(String, String)>> {
    redis::from_redis_value(answer).map_err(|error| unexpected("CONFIG GET").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(appendonly: &str, appendfsync: &str, policy: &str) -> Settings {
        Settings {
            appendonly: appendonly.to_owned(),
            appendfsync: appendfsync.to_owned(),
            maxmemory_policy: policy.to_owned(),
        }
    }

    #[test]
    fn each_setting_gives_its_durability() {
        let given = |appendonly, appendfsync| settings(appendonly, appendfsync, "noeviction").durability().0;
        assert_eq!(given("yes", "always"), Durability::PowerLoss);
        assert_eq!(given("yes", "everysec"), Durability::ProcessCrash);
        assert_eq!(given("yes", "no"), Durability::ProcessCrash);
        assert_eq!(given("no", "always"), Durability::Process);
    }

    #[test]
    fn what_gives_less_than_is_asked_for_is_refused_by_name() {
        let asks = RedisConfig::new().with_durability(Durability::PowerLoss);
        let error = judge(&asks, Durability::ProcessCrash, "appendfsync everysec").unwrap_err();
        assert!(error.message().contains("`appendfsync everysec`"), "{error}");
        assert_eq!(judge(&asks, Durability::PowerLoss, "").unwrap(), Durability::PowerLoss);
        assert_eq!(judge(&RedisConfig::new(), Durability::Process, "").unwrap(), Durability::Process);
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            assert!(refuse_eviction(&settings("yes", "always", policy)).unwrap_err().message().contains(policy));
        }
        for policy in ["noeviction", "volatile-ttl", "volatile-lru"] {
            refuse_eviction(&settings("yes", "always", policy)).unwrap();
        }
    }
}
