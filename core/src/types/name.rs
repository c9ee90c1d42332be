//! Validated names. An invalid one cannot be made, nor deserialized.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// The longest name, in bytes of UTF-8.
const MAX_NAME: usize = 200;
/// The longest tenant or record id, in bytes of UTF-8.
pub(super) const MAX_TEXT: usize = 1024;

/// Declares a newtype over text that is checked wherever it is made.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(crate::types::text::Text);

        impl $name {
            #[doc = concat!("Checks the text and makes it a ", $what, ".")]
            ///
            /// # Errors
            ///
            /// `Invalid` if the text breaks the rules above; `TooLarge` if it is too long.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                let text = text.as_ref();
                $check(text, $what)?;
                Ok(Self(text.into()))
            }

            #[doc = concat!("The same, of text that is part of the program: such a ", $what, " takes no memory of its own.")]
            ///
            /// # Errors
            ///
            /// As for [`new`](Self::new).
            pub fn from_static(text: &'static str) -> Result<Self> {
                $check(text, $what)?;
                Ok(Self(crate::types::text::Text::Static(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let text = crate::types::text::Text::deserialize(deserializer)?;
                $check(&text, $what).map_err(serde::de::Error::custom)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(super) use text_newtype;

/// A name: 1 to 200 bytes of ASCII letters, digits, `_`, `-`, `.`, starting with a letter.
fn check_name(text: &str, what: &str) -> Result<()> {
    if text.len() > MAX_NAME {
        let len = text.len();
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the {what} has {len} bytes; at most {MAX_NAME} are allowed"),
        ));
    }
    let mut chars = text.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if !starts_well || !chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return Err(Error::invalid(format!(
            "{text:?} is no {what}: it takes ASCII letters, digits, '_', '-' and '.', and starts with a letter"
        )));
    }
    Ok(())
}

/// Any text of 1 to 1024 bytes without NUL.
pub(super) fn check_text(text: &str, what: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("the {what} is empty")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(format!("{text:?} is no {what}: it contains a NUL character")));
    }
    if text.len() > MAX_TEXT {
        let len = text.len();
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the {what} has {len} bytes; at most {MAX_TEXT} are allowed"),
        ));
    }
    Ok(())
}

text_newtype!(
    /// The name of a log: 1 to 200 ASCII letters, digits, `_`, `-`, `.`, starting with a letter.
    LogName, "log name", check_name
);
text_newtype!(
    /// The name of a resource, such as `accounts.user`: 1 to 200 ASCII letters, digits, `_`, `-`, `.`, starting with a
    /// letter.
    ResourceName, "resource name", check_name
);
text_newtype!(
    /// The name of an action, such as `register`: 1 to 200 ASCII letters, digits, `_`, `-`, `.`, starting with a letter.
    ActionName, "action name", check_name
);
text_newtype!(
    /// The kind of an actor, such as `user`: 1 to 200 ASCII letters, digits, `_`, `-`, `.`, starting with a letter.
    ActorKind, "actor kind", check_name
);
text_newtype!(
    /// A tenant: any text of 1 to 1024 bytes without NUL.
    Tenant, "tenant", check_text
);

/// A log: the unit of order, of locking, of replay and of sharding. A tenant has a log of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The name of the log.
    pub name: LogName,
    /// The tenant that it belongs to, if there are tenants.
    pub tenant: Option<Tenant>,
}

impl LogId {
    /// The log of this name that belongs to no tenant.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the text is no [`LogName`].
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self { name: LogName::new(name)?, tenant: None })
    }

    /// The log of the same name that belongs to the tenant.
    ///
    /// # Errors
    ///
    /// `Invalid` or `TooLarge` if the text is no [`Tenant`].
    pub fn with_tenant(&self, tenant: impl AsRef<str>) -> Result<Self> {
        Ok(Self { name: self.name.clone(), tenant: Some(Tenant::new(tenant)?) })
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{}[{tenant}]", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_is_refused_in_words_however_it_is_made() {
        let error = ResourceName::new("no spaces").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"no spaces\" is no resource name: it takes ASCII letters, digits, '_', '-' and '.', and starts with a letter"
        );
        assert!(serde_json::from_str::<ResourceName>("\"no spaces\"").is_err());
        assert_eq!(ResourceName::new("a".repeat(201)).unwrap_err().kind(), &ErrorKind::TooLarge);
        assert!(ResourceName::new("").is_err() && ResourceName::new("a\u{e9}").is_err());
        assert!(ResourceName::new("a".repeat(200)).is_ok());
    }

    #[test]
    fn a_name_of_the_program_is_the_same_as_one_that_was_read() {
        let (own, read) = (ResourceName::from_static("shop.order").unwrap(), ResourceName::new("shop.order").unwrap());
        assert_eq!(own, read);
        assert_eq!(own.cmp(&read), std::cmp::Ordering::Equal);
        assert!(own < ResourceName::new("shop.orders").unwrap());
        assert!(std::collections::HashSet::from([own]).contains(&read));
        assert_eq!(
            ResourceName::from_static("no spaces").unwrap_err().message(),
            ResourceName::new("no spaces").unwrap_err().message()
        );
    }

    #[test]
    fn a_tenant_is_any_text_without_nul() {
        assert!(Tenant::new("Ünïcode % ' \" \\ 🦀").is_ok());
        assert_eq!(Tenant::new("a\0b").unwrap_err().kind(), &ErrorKind::Invalid);
        assert!(Tenant::new("").is_err());
    }
}
