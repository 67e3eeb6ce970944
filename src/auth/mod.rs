//! Who may do what: from a request's token, or its absence, to a grant. Origins are a matter of the configuration.

mod grant;

pub use grant::Grant;
