//! Who may do what: from a request's token, or its absence, to a grant. Origins are a matter of the configuration.

mod authority;
mod grant;
mod presented;

pub use authority::{Authority, TokenError};
pub use grant::{Claims, Grant, RoomRight};
pub use presented::{PresentError, SUBPROTOCOL_PREFIX, presented};
