//! What a connection may do.

use std::sync::Arc;

use crate::model::Access;

/// What a connection's token, or its absence, allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The verified user; `None`: anonymous.
    pub user: Option<Arc<str>>,
}

impl Grant {
    /// Whether this grant passes a policy's rule. Claims come with tokens: without one no claim can name the room.
    #[must_use]
    pub fn allows(&self, access: Access) -> bool {
        match access {
            Access::Anyone => true,
            Access::User => self.user.is_some(),
            Access::Claim | Access::Nobody => false,
        }
    }
}
