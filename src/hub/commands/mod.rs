//! What a client sends: bytes become messages, messages become commands, commands are answered.

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
