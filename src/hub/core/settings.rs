//! What a worker keeps at hand of the configuration.
//!
//! Always holds: all of it is of one configuration; a reload is taken over at the next tick.

use std::sync::Arc;

use crate::{
    config::Config, hub::worker::clock::millis, model::Limits, session::SessionLimits,
    transport::websocket::MessageLimits,
};

/// The configuration of a worker, with what is needed often.
pub struct WorkerSettings {
    /// All of it.
    pub config: Arc<Config>,
    /// What sessions are held to.
    pub limits: SessionLimits,
    /// How large messages may be.
    pub message_limits: MessageLimits,
    /// The most bytes that a connection may owe.
    pub queue_limit: usize,
}

impl WorkerSettings {
    /// What a configuration says.
    #[must_use]
    pub fn of(config: Arc<Config>) -> Self {
        let limits = SessionLimits {
            in_welcome: Limits {
                max_message_bytes: config.limits.max_message,
                max_rooms: config.limits.max_rooms,
                commands_per_second: config.limits.commands_per_second,
                command_burst: config.limits.command_burst,
            },
            control_frames_per_second: config.limits.control_frames_per_second,
            signals_per_second: config.limits.signals_per_second,
            acks_per_second: config.limits.acks_per_second,
            calls: config.hooks.rpc_access(),
            calls_per_second: config.hooks.rpc_per_second,
            call_burst: config.hooks.rpc_burst,
            ping_interval_ms: millis(config.timeouts.ping),
        };
        let message_limits =
            MessageLimits { max_message: config.limits.max_message, max_fragments: config.limits.max_fragments };
        Self { limits, message_limits, queue_limit: config.limits.send_queue, config }
    }

    /// Takes over a configuration, if it is another one.
    pub fn refresh(&mut self, config: &Arc<Config>) {
        if !Arc::ptr_eq(config, &self.config) {
            *self = Self::of(Arc::clone(config));
        }
    }
}
