//! What commits are serialized by.

use uuid::Uuid;

use super::name::LogId;
use crate::error::Result;

/// A key that commits are serialized by: commits under one key never overlap, in whatever log. It is what PostgreSQL's
/// advisory locks take: one `i64`, or two `i32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockKey {
    /// One 64-bit key.
    One(i64),
    /// Two 32-bit keys.
    Two(i32, i32),
}

/// Gives each log its lock key.
pub trait LockKeys: Send + Sync + 'static {
    /// The key of this log. It must be the same each time, in every process.
    ///
    /// # Errors
    ///
    /// `Invalid` for a log that it has no key for; whoever opens that log gets the error.
    fn key(&self, log: &LogId) -> Result<LockKey>;
}

/// The keys that AshEvents takes: without a tenant the default key, 2147483647 unless it is set; with a tenant that is an
/// integer, that integer; with one that is a UUID, the two 32-bit halves of its first eight bytes. Any other tenant gets a
/// stable hash: the 64-bit FNV-1a of its text (<http://www.isthe.com/chongo/tech/comp/fnv/>).
#[derive(Clone, Copy, Debug)]
pub struct DefaultLockKeys {
    default: LockKey,
}

impl Default for DefaultLockKeys {
    fn default() -> Self {
        Self::new(LockKey::One(2_147_483_647))
    }
}

impl DefaultLockKeys {
    /// With this key for logs without a tenant.
    #[must_use]
    pub const fn new(default: LockKey) -> Self {
        Self { default }
    }
}

impl LockKeys for DefaultLockKeys {
    fn key(&self, log: &LogId) -> Result<LockKey> {
        let Some(tenant) = &log.tenant else { return Ok(self.default) };
        if let Ok(number) = tenant.as_str().parse::<i64>() {
            return Ok(LockKey::One(number));
        }
        if let Ok(uuid) = tenant.as_str().parse::<Uuid>() {
            let [a, b, c, d, e, f, g, h, ..] = *uuid.as_bytes();
            return Ok(LockKey::Two(i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h])));
        }
        Ok(LockKey::One(i64::from_be_bytes(fnv1a(tenant.as_str().as_bytes()).to_be_bytes())))
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: &str) -> LockKey {
        DefaultLockKeys::default().key(&LogId::new("main").unwrap().with_tenant(tenant).unwrap()).unwrap()
    }

    #[test]
    fn p23_keys_come_from_the_tenant() {
        assert_eq!(DefaultLockKeys::default().key(&LogId::new("main").unwrap()).unwrap(), LockKey::One(2_147_483_647));
        assert_eq!(key("-42"), LockKey::One(-42));
        assert_eq!(key("00000001-ffff-ffff-8000-000000000000"), LockKey::Two(1, -1));
        assert_eq!(key("foobar"), LockKey::One(i64::from_be_bytes(0x8594_4171_f739_67e8_u64.to_be_bytes())));
    }
}
