//! The one table of close codes: the meaning of each, and what a client should do after it.

/// What a client should do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// Connect again at once, and with growing, jittered pauses if that fails.
    Soon,
    /// Connect again after the time of the `reconnect` message, or after a random time of some seconds.
    Later,
    /// Connect again only with a new token.
    WithNewToken,
    /// Do not connect again: the client is at fault, and would be closed again.
    Never,
}

/// Why the pod closes a connection: WebSocket and WebTransport close codes (RFC 6455 section 7.4; 4000-4999 are ours).
/// As JSON it is its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum Disconnect {
    /// 1000: answer to the client's own close.
    Normal,
    /// 1002: the client broke the WebSocket protocol.
    ProtocolError,
    /// 1007: text that is not UTF-8, or compressed data that does not inflate.
    InvalidData,
    /// 1008: the request lacks what its dialect needs.
    Refused,
    /// 1009: a message above the limit, before or after decompression.
    TooBig,
    /// 1011: an error of the pod, in this connection only.
    InternalError,
    /// 1012: the pod restarts.
    Restart,
    /// 1013: the pod is full.
    Overloaded,
    /// 4001: the token was refused, or none came in time.
    Unauthorized,
    /// 4002: the token has expired and was not refreshed.
    TokenExpired,
    /// 4003: disconnected by the operator or the backend.
    Disconnected,
    /// 4008: the client reads too slowly.
    Slow,
    /// 4009: the client sent nothing, not even a pong.
    PingTimeout,
    /// 4010: events are missing, and the dialect has no message for a gap. The client joins its rooms again.
    Missed,
    /// 4011: its user has as many connections as a user may have: it came last, or it is the oldest and another one came.
    TooManyConnections,
    /// 4029: a flood of errors or commands.
    Flood,
}

impl Disconnect {
    /// Every row of the table.
    pub const ALL: [Self; 16] = [
        Self::Normal,
        Self::ProtocolError,
        Self::InvalidData,
        Self::Refused,
        Self::TooBig,
        Self::InternalError,
        Self::Restart,
        Self::Overloaded,
        Self::Unauthorized,
        Self::TokenExpired,
        Self::Disconnected,
        Self::Slow,
        Self::PingTimeout,
        Self::Missed,
        Self::TooManyConnections,
        Self::Flood,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::InvalidData => 1007,
            Self::Refused => 1008,
            Self::TooBig => 1009,
            Self::InternalError => 1011,
            Self::Restart => 1012,
            Self::Overloaded => 1013,
            Self::Unauthorized => 4001,
            Self::TokenExpired => 4002,
            Self::Disconnected => 4003,
            Self::Slow => 4008,
            Self::PingTimeout => 4009,
            Self::Missed => 4010,
            Self::TooManyConnections => 4011,
            Self::Flood => 4029,
        }
    }

    /// The reason on the wire: short, stable, without anything of the client's.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::ProtocolError => "protocol error",
            Self::InvalidData => "invalid data",
            Self::Refused => "refused",
            Self::TooBig => "message too big",
            Self::InternalError => "internal error",
            Self::Restart => "restart",
            Self::Overloaded => "overloaded",
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token expired",
            Self::Disconnected => "disconnected",
            Self::Slow => "reading too slowly",
            Self::PingTimeout => "ping time-out",
            Self::Missed => "events are missing",
            Self::TooManyConnections => "too many connections of this user",
            Self::Flood => "too many commands",
        }
    }

    /// What the client should do.
    #[must_use]
    pub fn reconnect(self) -> Reconnect {
        match self {
            Self::InternalError | Self::Slow | Self::PingTimeout | Self::Missed => Reconnect::Soon,
            Self::Restart | Self::Overloaded => Reconnect::Later,
            Self::Unauthorized | Self::TokenExpired => Reconnect::WithNewToken,
            Self::Normal
            | Self::ProtocolError
            | Self::InvalidData
            | Self::Refused
            | Self::TooBig
            | Self::Disconnected
            // The oldest must not come back at once to take the place of the one that took its own.
            | Self::TooManyConnections
            | Self::Flood => Reconnect::Never,
        }
    }
}

impl From<Disconnect> for u16 {
    fn from(disconnect: Disconnect) -> Self {
        disconnect.code()
    }
}

/// A code that is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a close code of roomcast")]
pub struct CloseCodeError(u16);

impl TryFrom<u16> for Disconnect {
    type Error = CloseCodeError;

    fn try_from(code: u16) -> Result<Self, CloseCodeError> {
        Self::ALL.into_iter().find(|disconnect| disconnect.code() == code).ok_or(CloseCodeError(code))
    }
}
