//! Who may do what: from a request's token, or its absence, to a grant. Origins are a matter of the configuration.

mod authority;
mod grant;

pub use authority::{Authority, TokenError};
pub use grant::{Claims, Grant, RoomRight};
