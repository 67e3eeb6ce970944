//! What a client sends: bytes become messages, messages become commands, commands are answered.
//!
//! Never waits: what must be asked for is a task that comes back with the answer. Always holds: messages are taken up in the order in which they
//! came, and an answer reaches the connection that asked, or none.

pub mod ack;
pub mod call;
pub mod delete;
pub mod dispatch;
pub mod inbound;
pub mod past_events;
pub mod publish;
pub mod publish_queue;
pub mod refusal;
pub mod replies;
pub mod sent;
pub mod signal;
pub mod signal_outbox;
pub mod status;
pub mod take_out;
