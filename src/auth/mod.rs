//! Who may do what: from a request's origin and token to a grant.

mod grant;
mod origin;

pub use grant::Grant;
pub use origin::Origins;
