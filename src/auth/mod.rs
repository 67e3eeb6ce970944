//! Who may do what: from a request's token, or its absence, to a grant. Origins are a matter of the configuration.
//!
//! A token is a signed JWT (RFC 7519 in the compact form of RFC 7515). The signatures are aws-lc-rs', as all
//! cryptography here is; what stands around them is small enough to be read, takes the time from its caller, and takes
//! each algorithm from the key alone.
//!
//! - `jws` takes a token apart, `key` verifies its signature, `rules` reads its claims, `authority` holds all three;
//! - `key_file`, `key_set` and `remote` are where keys come from;
//! - `grant` is what comes out; `signing` makes tokens for the command line and tests.
//!
//! Never in here: a log line with a token, or a part of one.

mod algorithm;
mod authority;
mod error;
mod grant;
mod jws;
mod key;
mod key_file;
mod key_set;
mod look_up;
mod object;
mod presented;
mod remote;
mod rules;
mod signing;

pub use algorithm::Algorithm;
pub use authority::Authority;
pub use error::TokenError;
pub use grant::{Claims, Grant, RoomRight};
pub use jws::MAX_TOKEN_BYTES;
pub use key::Unusable;
pub use key_file::KeyError;
pub use key_set::{KeySetError, MAX_KEYS, Skipped};
pub use look_up::StoredUser;
pub use object::Object;
pub use presented::{PresentError, SUBPROTOCOL_PREFIX, presented};
pub use remote::{ASK_PAUSE, WAIT};
pub use rules::{MAX_ROOM_RIGHTS, MAX_USER_BYTES, room_rights};
pub use signing::{SigningKey, SigningKeyError};
