//! What is told of tokens that this pod has found good: a home may ask for them before it believes what is done in a user's name.

use std::{fmt::Debug, sync::Arc};

use crate::model::{Token, UnixMillis};

/// Keeps users' tokens, for as long as they are good.
pub trait TokenWitness: Debug + Send + Sync {
    /// A user's token is good until then; `None`: for good. Never waits.
    fn saw(&self, user: &Arc<str>, token: &Token, expires_at: Option<UnixMillis>);
}
