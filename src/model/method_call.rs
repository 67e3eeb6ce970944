//! A call of a client to the backend.

use super::{IdempotencyKey, Payload};

/// What a client asks the backend to do.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodCall {
    /// The name of what it asks for: as a topic is written.
    pub method: Box<str>,
    /// What it says with it.
    pub data: Option<Payload>,
    /// By which the backend knows a call that it is sent again.
    pub idempotency_key: Option<IdempotencyKey>,
}
