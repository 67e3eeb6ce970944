//! Whether a connection still talks, and what only some connections have.
//!
//! Shapes only.

use std::sync::Arc;

use crate::{
    hooks::ClientRequest,
    hub::connection::{inflated_input::InflatedInput, open_calls::OpenCalls, paused_input::PausedInput},
    session::Link,
};

/// Whether a connection still talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// A close frame was sent or queued; only the end of the socket is waited for.
    Closing,
    /// The end was waited for long enough.
    Gone,
}

/// What only some connections have: what came while a token is verified, an Engine.IO session, calls of the backend.
#[derive(Debug, Default)]
pub struct ColdState {
    /// What came while a token is verified: taken up when that is decided.
    pub paused_input: Option<PausedInput>,
    /// The Engine.IO session.
    pub link: Option<Link>,
    /// What the backend is told of its request, when it is asked again.
    pub client_request: Option<Arc<ClientRequest>>,
    /// What its messages were more than what came, if they were much more.
    pub inflated_input: Option<InflatedInput>,
    /// Calls of the backend that have no answer yet; `None`: it made none.
    pub open_calls: Option<Box<OpenCalls>>,
}
