//! The limits of sessions.
//!
//! Shapes only.

use crate::model::Limits;

/// The limits that hold for every session of a pod.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// What `welcome` tells.
    pub told: Limits,
    /// How many pings and pongs a second a connection may send.
    pub control_frames_per_second: u32,
    /// How many signals a second a connection may send, and at once.
    pub signals_per_second: u32,
    /// How many acks a second a connection may send.
    pub acks_per_second: u32,
    /// Silence after which the pod pings, and which `welcome` tells.
    pub ping_interval_ms: u64,
}
