//! The keys of callers.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use subtle::{Choice, ConstantTimeEq};

use crate::config::{ApiKey, Config};

/// The keys that may call, compared in constant time for each length.
#[derive(Clone, Default)]
pub struct Keys(Vec<Box<[u8]>>);

impl Keys {
    /// Keys; empty ones are left out, because they would let in callers that send none.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().filter(|key| !key.is_empty()).map(|key| key.as_bytes().into()).collect())
    }

    /// Whether an `Authorization` header carries one of them. Looks at every key, whichever fits.
    #[must_use]
    pub fn allow(&self, authorization: Option<&[u8]>) -> bool {
        let Some((scheme, given)) = authorization.and_then(|value| value.split_at_checked(7)) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") || given.is_empty() {
            return false;
        }
        self.0.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(given)).into()
    }
}

/// The keys of the configuration in use, made once for each configuration.
#[derive(Default)]
pub(super) struct Keyring(Mutex<Option<(Arc<Config>, Arc<Keys>)>>);

impl Keyring {
    /// The keys now.
    pub(super) fn of(&self, config: &ArcSwap<Config>) -> Arc<Keys> {
        let config = config.load();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((from, keys)) if Arc::ptr_eq(from, &config) => Arc::clone(keys),
            _ => {
                let keys = Arc::new(Keys::new(config.api_keys.iter().map(ApiKey::reveal)));
                *made = Some((Arc::clone(&config), Arc::clone(&keys)));
                keys
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_let_in() {
        let keys = Keys::new(["secret", "", "other"]);
        assert!(keys.allow(Some(b"Bearer secret")) && keys.allow(Some(b"bearer other")));
        for bad in [&b"Bearer "[..], b"Bearer secre", b"Bearer secrets", b"Basic secret", b"secret", b""] {
            assert!(!keys.allow(Some(bad)), "{}", String::from_utf8_lossy(bad));
        }
        assert!(!keys.allow(None));
        assert!(!Keys::new([""]).allow(Some(b"Bearer ")));
    }
}
