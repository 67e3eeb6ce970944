//! Says whether a token is good.

use std::time::SystemTime;

use super::Grant;
use crate::model::Token;

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No key is configured, so that no token can be good.
    #[error("this pod checks no tokens: connect without one")]
    NoKeys,
}

impl TokenError {
    /// Whether the token could not be judged: the fault is not the client's.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        false
    }
}

/// Verifies tokens with the configured keys.
#[derive(Debug, Default)]
pub struct Authority {}

impl Authority {
    /// Whether tokens are verified at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        false
    }

    /// How far clocks may differ.
    #[must_use]
    pub fn leeway(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    /// Verifies a token. Ready at once, unless its key must be fetched first.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn verify(&self, _token: &Token, _now: SystemTime) -> Result<Grant, TokenError> {
        Err(TokenError::NoKeys)
    }
}
