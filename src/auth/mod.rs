//! From a request's token, or its absence, to a grant: the rights of a connection. `config` owns the allowed origins.
//!
//! A token is a signed JWT (RFC 7519 in the compact form of RFC 7515). aws-lc-rs verifies the signatures. The code around them
//! is small enough to be read. It takes the time from its caller, and the algorithm from the key alone.
//!
//! - `jws` takes a token apart, `key` verifies its signature, `rules` reads its claims, `authority` holds all three;
//! - `key_file`, `key_set` and `remote` are where keys come from;
//! - `grant` is what comes out; `signing` makes tokens for the command line and tests.
//!
//! Never writes a token, or a part of one, into a log line.

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
mod sightings;
mod signing;

pub use algorithm::Algorithm;
pub use authority::Authority;
pub use error::{MAX_TOKEN_BYTES, TokenError};
pub use grant::{Claims, Grant, RoomRight};
pub use key_file::KeyError;
pub use key_set::MAX_KEYS;
pub use look_up::StoredUser;
pub use object::Object;
pub use presented::{PresentError, SUBPROTOCOL_PREFIX, Several, presented};
pub use rules::{MAX_ROOM_RIGHTS, MAX_USER_BYTES, method_patterns, room_rights};
pub use signing::SigningKey;
