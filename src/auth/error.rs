//! Why a token is refused, in sentences that a client may be told.

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token is refused. Never holds the token or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No key is configured, so that no token can be good.
    #[error("this pod verifies no tokens: connect without one")]
    NoKeys,
    /// Larger than any token that makes sense.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not the compact form of a signed token.
    #[error("the token is not a signed JWT: {0}")]
    Malformed(&'static str),
    /// Its header has `crit`.
    #[error("the token's header has `crit`, and this pod knows none of the extensions that it may name")]
    Critical,
    /// Its `alg` is none of those that a key can have, or `none`.
    #[error("the token's `alg` is not one that this pod takes")]
    Algorithm,
    /// No key has its `alg` and `kid`.
    #[error("no key of this pod fits the token's `alg` and `kid`")]
    UnknownKey,
    /// No matching key has signed it.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its `exp` has passed.
    #[error("the token has expired: get a new one")]
    Expired,
    /// Its `nbf` or `iat` is in the future.
    #[error("the token is not valid yet: its `{0}` is in the future; are the clocks right?")]
    NotYet(&'static str),
    /// A claim is missing, or is not what it should be.
    #[error("the token's claim `{claim}` {why}")]
    Claim {
        /// The claim, as the configuration names it.
        claim: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Its audience is another one.
    #[error("the token is not for this pod: its `aud` names none of the audiences that are configured")]
    Audience,
    /// Its issuer is another one.
    #[error("the token is not from the issuer that this pod trusts: its `iss` is another one")]
    Issuer,
    /// The application does not keep it.
    #[error("the token is unknown or has expired: get a new one")]
    Unknown,
    /// The object that the application keeps under it is unusable.
    #[error("the token is known, but {0}")]
    Stored(&'static str),
    /// No key has its `kid` yet. The keys were fetched a moment ago, and are fetched again in a moment.
    #[error(
        "this pod does not know the key of the token's `kid` yet, and is about to fetch the keys again: try again later"
    )]
    KeyTooNew,
    /// It cannot be looked up.
    #[error("tokens cannot be looked up now: try again later")]
    Unreachable,
    /// It cannot be verified: the keys could not be fetched yet.
    #[error("tokens cannot be verified yet, because their keys could not be fetched: try again later")]
    Outage,
}

impl TokenError {
    /// Whether the pod is at fault, so that the same token may be good later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Outage | Self::Unreachable | Self::KeyTooNew)
    }
}
