//! `[socketio]`: its keys, and their kinds.

use std::{fmt, path::PathBuf, time::Duration};

use super::{
    section::section,
    url_path::UrlPath,
    value::{Bytes, File, KIB, List, MIB, MINUTES, Maybe, OrWord, SHORTEST, Switch, TextKind, Time},
};

section! {
    /// Socket.IO, version 4, over WebSocket and by polling, for clients that speak it already.
    pub struct SocketIoSettings in "socketio" {
        /// Whether it is spoken.
        enabled: bool = false, Switch, restart;
        /// On which path of the public listeners.
        path: String = "/socket.io/".to_owned(), UrlPath, restart;
        /// The namespaces. All have the same rooms; a connection is in a room by one of them.
        namespaces: Vec<String> = vec!["/".to_owned()], List(Namespace), restart;
        /// How often the pod pings.
        ping_interval: Duration = Duration::from_secs(25), Time(SHORTEST..=MINUTES), restart;
        /// For the answer to a ping; then the client is gone.
        ping_timeout: Duration = Duration::from_secs(20), Time(SHORTEST..=MINUTES), restart;
        /// For a WebSocket that was probed to take over from polling.
        upgrade_timeout: Duration = Duration::from_secs(10), Time(SHORTEST..=MINUTES), restart;
        /// For a client to connect to its first namespace, its token included.
        connect_timeout: Duration = Duration::from_secs(45), Time(SHORTEST..=MINUTES), restart;
        /// The most bytes of a client's message or request; clients are told (`maxPayload`).
        max_payload: usize = 1_000_000, Bytes(KIB..=64 * MIB), restart;
        /// How long a session can be recovered after its connection has ended, its pod with it. `off`: never, and no event
        /// carries an offset.
        recovery: Option<Duration> = Some(Duration::from_secs(120)), OrWord("off", Time(Duration::from_secs(1)..=Duration::from_secs(86_400))), restart;
        /// Whether permessage-deflate is agreed to. From which size a room's frames are compressed is a matter of its policy.
        compression: bool = true, Switch, restart;
        /// A file with the client for browsers (`socket.io.min.js` of `socket.io-client`), for pages that load it from the server as
        /// the reference server offers it: at `path` with `socket.io.js` or `socket.io.min.js` behind it. Read at start.
        client_file: Option<PathBuf> = None, Maybe(File("JavaScript file")), restart, unset("none", "\"/usr/share/roomcast/socket.io.min.js\"");
        /// What the pods of a fleet prove to each other that a session is theirs by. The same for all of them.
        secret: Option<FleetSecret> = None, Maybe(FleetSecretKind), restart, secret(),
            unset("made from `api_keys`, if there are any; otherwise each pod has its own, and sessions must stay with their pod", "\"${FLEET_SECRET}\"");
    }
}

/// The name of a namespace.
pub(crate) struct Namespace;

impl TextKind for Namespace {
    type Value = String;
    const NAME: &'static str = "namespace";
    const ALLOWED: &'static str = "text that begins with a slash, without commas and question marks";

    fn read(&self, text: &str) -> Result<String, String> {
        if !text.starts_with('/') {
            Err("it does not begin with a slash".to_owned())
        } else if text.len() > 200 || text.chars().any(|c| c.is_control() || matches!(c, ',' | '?' | '"')) {
            Err("it is too long, or has a comma, a question mark, a quote or a control character".to_owned())
        } else {
            Ok(text.to_owned())
        }
    }

    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// A secret that the pods of a fleet share. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetSecret(Box<str>);

impl FleetSecret {
    /// The secret itself, to be used and never shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FleetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetSecret(…)")
    }
}

/// How a [`FleetSecret`] is written.
pub(crate) struct FleetSecretKind;

impl TextKind for FleetSecretKind {
    type Value = FleetSecret;
    const NAME: &'static str = "secret";
    const ALLOWED: &'static str = "text of 16 bytes or more";

    fn read(&self, text: &str) -> Result<FleetSecret, String> {
        if text.len() < 16 { Err("it has fewer than 16 bytes".to_owned()) } else { Ok(FleetSecret(text.into())) }
    }

    fn write(&self, _: &FleetSecret) -> String {
        "…".to_owned()
    }
}
