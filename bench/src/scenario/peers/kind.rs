//! The servers of others: their names, and which of them can publish over Redis.

use clap::ValueEnum;

/// A server of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Centrifugo,
    /// Centrifugo as its documentation tunes it for memory
    CentrifugoGogc50,
    /// Centrifugo with its protocol in Protocol Buffers and deltas, which its own clients take
    CentrifugoDeltas,
    Socketio,
    Nchan,
    Nats,
    Mercure,
}

impl Kind {
    /// As reports name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Centrifugo => super::sides::CENTRIFUGO,
            Self::CentrifugoGogc50 => "centrifugo GOGC=50",
            Self::CentrifugoDeltas => "centrifugo deltas",
            Self::Socketio => "socket.io",
            Self::Nchan => "nchan",
            Self::Nats => "nats",
            Self::Mercure => "mercure",
        }
    }

    /// Why it is not among those that publish over Redis.
    pub(super) fn without_redis(self) -> Option<&'static str> {
        match self {
            Self::Centrifugo | Self::Socketio | Self::Nchan => None,
            Self::CentrifugoGogc50 | Self::CentrifugoDeltas => Some("what it changes is not on that way"),
            Self::Nats => Some("it has no HTTP API and no Redis"),
            Self::Mercure => Some("its transport over Redis is not in the free edition"),
        }
    }
}
