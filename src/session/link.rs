//! An Engine.IO session beside what every connection has: its heartbeat, its namespaces, what is incomplete of a packet.
//!
//! Never does I/O and never reads a clock. Only connections of such a dialect have one.

use std::sync::Arc;

use http::Uri;
use smallvec::SmallVec;

use super::{SessionRecord, UnusedSession};
use crate::{
    model::{CommandId, Disconnect, Reconnect},
    protocol::{
        DialectId, Framing, MessageKind, Messages,
        engineio::{self, Endpoint, Within},
        socketio::{self, Assembly, Envelope},
    },
    transport::websocket::{Frame, Opcode, close_frame, frame_messages},
};

/// What an Engine.IO session has beside what every connection has.
#[derive(Debug)]
pub struct Link {
    /// Where it came in.
    pub endpoint: Arc<Endpoint>,
    /// What its first request asked for: dialects begin with it.
    pub target: Uri,
    /// Whether its client takes no binary messages over a WebSocket (`b64` in the first request's query).
    pub base64: bool,
    /// What came of a packet that is not whole.
    pub assembly: Assembly,
    /// The namespaces that it is in.
    pub spaces: SmallVec<[Space; 1]>,
    /// Whether a request polls for what waits.
    pub polling: bool,
    /// Whether a WebSocket was probed and will take over.
    pub upgrading: bool,
    /// Whether its client broke the WebSocket protocol itself, whose close code it is then told.
    pub broke_framing: bool,
    /// There while no request has used it since it was opened.
    pub unused: Option<UnusedSession>,
    heartbeat: Heartbeat,
    /// When the first namespace must have been connected to; 0: it was.
    connect_due_ms: u64,
}

/// A namespace that a client is in.
#[derive(Debug)]
pub struct Space {
    /// What is spoken there.
    pub dialect: DialectId,
    /// The session's name there.
    pub sid: Box<str>,
    /// By which another connection can continue the session.
    pub record: SessionRecord,
    /// When the next sign of life is due there, in milliseconds since the worker began; 0: never.
    pub heartbeat_due_ms: u64,
}

/// What a look at the heartbeat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Look again then, in milliseconds since the worker began.
    Wait(u64),
    /// Ping, and look again then.
    Ping(u64),
    /// The client is gone.
    Dead,
    /// The client did not connect to a namespace in time.
    Unconnected,
}

#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    /// When the next ping leaves.
    next_ms: u64,
    /// When the last one left that was not answered, or from when its time is counted.
    pinged_ms: Option<u64>,
    /// Whether that time was counted anew.
    extended: bool,
}

impl Link {
    /// A session that begins now.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, target: Uri, now_ms: u64) -> Self {
        let interval = as_millis(endpoint.timing.ping_interval);
        let connect_due_ms = match endpoint.within {
            Within::SocketIo(_) => now_ms + as_millis(endpoint.timing.connect_timeout),
            Within::Messages(_) => 0,
        };
        Self {
            endpoint,
            base64: engineio::wants_base64(target.query()),
            target,
            assembly: Assembly::default(),
            spaces: SmallVec::new(),
            polling: false,
            upgrading: false,
            broke_framing: false,
            unused: None,
            heartbeat: Heartbeat { next_ms: now_ms + interval, pinged_ms: None, extended: false },
            connect_due_ms,
        }
    }

    /// The space of a dialect, if the client is in it.
    #[must_use]
    pub fn space(&mut self, dialect: DialectId) -> Option<&mut Space> {
        self.spaces.iter_mut().find(|space| space.dialect == dialect)
    }

    /// The client is in a namespace.
    pub fn enter(&mut self, space: Space) {
        self.connect_due_ms = 0;
        self.spaces.push(space);
    }

    /// The name of a dialect's namespace.
    #[must_use]
    pub fn name_of(&self, dialect: DialectId) -> Option<Box<str>> {
        let Within::SocketIo(namespaces) = &self.endpoint.within else { return None };
        namespaces.iter().find(|(_, known)| *known == dialect).map(|(name, _)| name.clone())
    }

    /// The name under which the client is told something that answers no command, so that it reaches a dialect's namespace.
    #[must_use]
    pub fn reply_id(&self, dialect: DialectId) -> Option<CommandId> {
        Some(Envelope::command_id(&self.name_of(dialect)?, None))
    }

    /// The dialect in which a command is answered; `None`: the client is not in that namespace.
    #[must_use]
    pub fn dialect_of(&self, id: Option<&CommandId>) -> Option<DialectId> {
        if let Within::Messages(dialect) = self.endpoint.within {
            return Some(dialect);
        }
        let dialect = match id {
            Some(id) => self.endpoint.namespace(Envelope::read_id(id).0)?,
            None => self.spaces.first()?.dialect,
        };
        self.spaces.iter().any(|space| space.dialect == dialect).then_some(dialect)
    }

    /// Whether the client waits for an answer to a command: in Socket.IO, whether it wants an acknowledgement.
    #[must_use]
    pub fn asks_for_answer(&self, id: Option<&CommandId>) -> bool {
        match self.endpoint.within {
            Within::Messages(_) => id.is_some(),
            Within::SocketIo(_) => id.is_some_and(|id| Envelope::read_id(id).1.is_some()),
        }
    }

    /// Whether a sign of life that was due then is still to be given. One of a namespace that the client has left is not.
    #[must_use]
    pub fn expects_heartbeat(&mut self, dialect: DialectId, due_ms: u64) -> bool {
        match self.endpoint.within {
            Within::SocketIo(_) => self.space(dialect).is_some_and(|space| space.heartbeat_due_ms == due_ms),
            Within::Messages(_) => true,
        }
    }

    /// Whether a session that polls ends without a word: because of what its client did, while no request waits.
    #[must_use]
    pub fn ends_silently(&self, disconnect: Disconnect) -> bool {
        let by_client = matches!(disconnect, Disconnect::Normal | Disconnect::InvalidData | Disconnect::PingTimeout);
        by_client && !self.polling
    }

    /// What tells the client that it is closed; nothing: its next request is told that there is no such session. It comes back by
    /// itself unless it is told to leave its namespaces first. Some clients that poll (python-socketio) take the packet `close` for
    /// the server's wish that they stay away: only one that should is sent it.
    #[must_use]
    pub fn goodbye(&self, disconnect: Disconnect, framing: Framing) -> Vec<u8> {
        let stays_away = !self.broke_framing
            && matches!(disconnect.reconnect(), Reconnect::Never | Reconnect::WithNewToken)
            && !matches!(disconnect, Disconnect::Normal | Disconnect::ProtocolError | Disconnect::InvalidData);
        let mut messages = Messages::default();
        if stays_away && let Within::SocketIo(namespaces) = &self.endpoint.within {
            for (name, dialect) in namespaces.iter() {
                if self.spaces.iter().any(|space| space.dialect == *dialect) {
                    socketio::disconnect(name, &mut messages);
                }
            }
        }
        let mut out = Vec::new();
        match framing {
            Framing::WebSocket { .. } => {
                frame_messages(&messages, None, &mut out);
                if self.broke_framing {
                    close_frame(disconnect.code(), disconnect.reason(), &mut out);
                } else {
                    // Without a status, as the protocol's own servers close.
                    Frame::new(Opcode::Close, &[]).write_server(&mut out);
                }
            }
            Framing::Payload if matches!(disconnect.reconnect(), Reconnect::Soon | Reconnect::Later) => {}
            Framing::Payload | Framing::Elements | Framing::EventStream | Framing::Stream { .. } => {
                // A client that was told to leave its namespaces closes by itself. An end in the same answer would overtake that.
                let leaves = !messages.is_empty();
                let last = if leaves || disconnect == Disconnect::Normal { b'6' } else { b'1' };
                messages.push(MessageKind::Text, |out| out.push(last));
                engineio::write_payload(&messages, &mut out);
            }
        }
        out
    }

    /// Whether the client's time to answer a ping is over.
    #[must_use]
    pub fn is_overdue(&self, now_ms: u64) -> bool {
        let timeout = as_millis(self.endpoint.timing.ping_timeout);
        self.heartbeat.pinged_ms.is_some_and(|pinged| now_ms >= pinged + timeout)
    }

    /// A packet came that answers no ping: the answer may stand behind it, so that the client's time is counted anew, once for each ping.
    pub fn heard(&mut self, now_ms: u64) {
        let beat = &mut self.heartbeat;
        if beat.pinged_ms.is_some() && !std::mem::replace(&mut beat.extended, true) {
            beat.pinged_ms = Some(now_ms);
        }
    }

    /// The client has answered a ping.
    pub fn pong(&mut self, now_ms: u64) {
        if self.heartbeat.pinged_ms.take().is_some() {
            self.heartbeat.next_ms = now_ms + as_millis(self.endpoint.timing.ping_interval);
        }
    }

    /// What is due.
    pub fn look(&mut self, now_ms: u64) -> Beat {
        if self.connect_due_ms != 0 && now_ms >= self.connect_due_ms {
            return Beat::Unconnected;
        }
        let timing = &self.endpoint.timing;
        let (interval, timeout) = (as_millis(timing.ping_interval), as_millis(timing.ping_timeout));
        let soonest = |at: u64, due: u64| if due == 0 { at } else { at.min(due) };
        let beat = &mut self.heartbeat;
        match beat.pinged_ms {
            Some(pinged) if now_ms >= pinged + timeout => Beat::Dead,
            // Answered meanwhile, the next ping may be due before this one's time was up.
            Some(pinged) => Beat::Wait(soonest((pinged + timeout).min(now_ms + interval), self.connect_due_ms)),
            None if now_ms >= beat.next_ms => {
                // Where times are short, one that leaves a little late is counted from when it was due. A later one costs its client
                // no time.
                let slack = timing.tick_ms().map_or(0, |_| timeout / 4);
                let pinged = if now_ms - beat.next_ms <= slack { beat.next_ms } else { now_ms };
                (beat.pinged_ms, beat.extended) = (Some(pinged), false);
                Beat::Ping(soonest(pinged + interval.min(timeout), self.connect_due_ms))
            }
            None => Beat::Wait(soonest(beat.next_ms, self.connect_due_ms)),
        }
    }
}

fn as_millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::engineio::Timing;

    fn link(interval: u64, timeout: u64, within: Within) -> Link {
        let millis = Duration::from_millis;
        let timing = Timing {
            ping_interval: millis(interval),
            ping_timeout: millis(timeout),
            upgrade_timeout: millis(10_000),
            connect_timeout: millis(45_000),
            recovery: None,
        };
        let endpoint = Endpoint { path: "/".into(), within, max_payload: 1, timing, compress: false };
        Link::new(Arc::new(endpoint), Uri::default(), 0)
    }

    #[test]
    fn a_client_is_pinged_and_given_up() {
        let mut link = link(25_000, 20_000, Within::Messages(DialectId::NATIVE));
        assert_eq!(link.look(0), Beat::Wait(25_000));
        assert_eq!(link.look(25_000), Beat::Ping(45_000));
        link.pong(25_010);
        assert_eq!(link.look(45_000), Beat::Wait(50_010));
        assert_eq!(link.look(50_010), Beat::Ping(70_010));
        assert_eq!(link.look(70_009), Beat::Wait(70_010));
        assert_eq!(link.look(70_010), Beat::Dead);
    }

    #[test]
    fn a_client_that_is_heard_has_its_time_anew_once() {
        let mut link = link(25_000, 20_000, Within::Messages(DialectId::NATIVE));
        link.heard(10_000);
        assert_eq!(link.look(25_000), Beat::Ping(45_000));
        link.heard(40_000);
        assert!(!link.is_overdue(45_000) && link.is_overdue(60_000));
        assert_eq!(link.look(45_000), Beat::Wait(60_000));
        link.heard(59_000);
        assert_eq!(link.look(60_000), Beat::Dead, "once");
    }

    #[test]
    fn a_time_out_longer_than_the_interval_delays_no_ping() {
        let mut link = link(30_000, 60_000, Within::Messages(DialectId::NATIVE));
        assert_eq!(link.look(30_000), Beat::Ping(60_000));
        link.pong(30_001);
        assert_eq!(link.look(60_000), Beat::Wait(60_001));
        assert_eq!(link.look(60_001), Beat::Ping(90_001));
        assert_eq!(link.look(90_001), Beat::Wait(120_001));
        assert_eq!(link.look(120_001), Beat::Dead);
    }

    #[test]
    fn a_namespace_is_waited_for() {
        let mut link = link(25_000, 20_000, Within::SocketIo(Arc::from([("/".into(), DialectId::NATIVE)])));
        assert_eq!(link.look(25_000), Beat::Ping(45_000));
        link.pong(25_001);
        assert_eq!(link.look(45_000), Beat::Unconnected);
    }

    #[test]
    fn short_times_are_counted_from_when_they_were_due() {
        let messages = || Within::Messages(DialectId::NATIVE);
        let mut punctual = link(300, 200, messages());
        assert_eq!(punctual.look(0), Beat::Wait(300));
        assert_eq!(punctual.look(304), Beat::Ping(500), "a little late");
        assert!(!punctual.is_overdue(499) && punctual.is_overdue(500));
        let mut late = link(300, 200, messages());
        assert_eq!(late.look(450), Beat::Ping(650), "a pod that was busy takes no time from its client");
        assert!(!late.is_overdue(649) && late.is_overdue(650));
    }

    #[test]
    fn a_client_that_polls_and_should_come_back_is_sent_no_close() {
        let mut link = link(25_000, 20_000, Within::Messages(DialectId::NATIVE));
        for disconnect in [Disconnect::Restart, Disconnect::Overloaded, Disconnect::Slow, Disconnect::InternalError] {
            assert!(link.goodbye(disconnect, Framing::Payload).is_empty(), "{disconnect:?}");
        }
        assert_eq!(link.goodbye(Disconnect::ProtocolError, Framing::Payload), b"1\x1e");
        let websocket = Framing::websocket(None);
        assert_eq!(link.goodbye(Disconnect::TooBig, websocket), b"\x88\0", "a packet that is too large");
        link.broke_framing = true;
        assert_eq!(
            link.goodbye(Disconnect::TooBig, websocket)[..4],
            [0x88, 17, 3, 0xf1],
            "a message that is too large: 1009"
        );
    }
}
