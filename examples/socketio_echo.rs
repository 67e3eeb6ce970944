//! A Socket.IO server that says back what it hears, through the pod's own code: the public test suites of the protocol run
//! against it, and the clients' tests compare it with the reference server.
//!
//! `cargo run --release --example socketio_echo -- --plain-listen 127.0.0.1:3000 --path /socket.io/`: on `/` and `/custom` it
//! emits `auth` with what the client sent to connect; on `/` it answers `message` with `message-back`, and acknowledges
//! `message-with-ack`. With `--engine-only` it speaks bare Engine.IO on `/engine.io/` and echoes each message.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use roomcast::testing::{
    config::{ApiKey, ListenAddress, Machine, MemoryCeiling, Settings, resolve},
    model::{Batch, Command, CommandError, CommandId, Disconnect, PreparedMessage, Reply, Request, Retained, Spelling},
    pod::Pod,
    protocol::{
        Dialect, Dialects, Message, MessageKind, Messages, OpenOutcome, Opening, PresenceChange,
        engineio::{Endpoint, Plain, Timing, Within},
        socketio::Envelope,
    },
};
use serde_json::value::RawValue;

#[derive(Parser)]
struct Arguments {
    /// The address to listen on, without TLS; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    plain_listen: SocketAddr,
    /// The path.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Sessions are not recovered, and events carry no offset.
    #[arg(long)]
    no_recovery: bool,
    /// Milliseconds between two pings.
    #[arg(long, value_name = "MS", default_value_t = 25_000)]
    ping_interval: u64,
    /// Milliseconds for the answer to a ping.
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    ping_timeout: u64,
    /// Milliseconds for a client to connect to a namespace.
    #[arg(long, value_name = "MS", default_value_t = 45_000)]
    connect_timeout: u64,
    /// The most bytes of a message.
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000)]
    max_payload: usize,
    /// Bare Engine.IO.
    #[arg(long)]
    engine_only: bool,
}

/// What the client is answered; nothing of it concerns rooms.
struct Echo {
    /// Whether messages are events.
    events: bool,
    /// Whether they are answered.
    answers: bool,
}

impl Echo {
    fn event(text: &str, parts: &[Bytes]) -> Vec<PreparedMessage> {
        let array: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let Some((name, arguments)) = array.split_first() else { return Vec::new() };
        let arguments: Vec<&str> = arguments.iter().map(|argument| argument.get()).collect();
        let arguments = arguments.join(",");
        let text = match name.get() {
            "\"message\"" if arguments.is_empty() => "[\"message-back\"]".to_owned(),
            "\"message\"" => format!("[\"message-back\",{arguments}]"),
            "\"message-with-ack\"" => format!("[{arguments}]"),
            _ => return Vec::new(),
        };
        let parts = parts.iter().cloned().map(PreparedMessage::Binary);
        [PreparedMessage::Text(text.into())].into_iter().chain(parts).collect()
    }
}

impl Dialect for Echo {
    fn open(&self, opening: &Opening<'_>, out: &mut Messages) -> Result<OpenOutcome, Disconnect> {
        if self.events {
            let auth = opening.auth.unwrap_or("{}");
            out.push(MessageKind::Text, |out| out.extend_from_slice(format!("[\"auth\",{auth}]").as_bytes()));
        }
        Ok(OpenOutcome::default())
    }

    fn decode(&self, message: Message<'_>) -> Result<Request, CommandError> {
        self.decode_parts(message, &[])
    }

    fn decode_parts(&self, message: Message<'_>, parts: &[Bytes]) -> Result<Request, CommandError> {
        let answer = match message {
            _ if !self.answers => Vec::new(),
            Message::Text(text) if self.events => Self::event(text, parts),
            Message::Text(text) => vec![PreparedMessage::Text(text.into())],
            Message::Binary(bytes) => vec![PreparedMessage::Binary(Bytes::copy_from_slice(bytes))],
        };
        Ok(Request { id: None, command: Command::Answer(answer) })
    }

    fn reply(&self, reply: &Reply, _: Option<&CommandId>, out: &mut Messages) {
        if let Reply::Answer(answer) = reply {
            out.add_prepared(answer);
        }
    }

    fn batch(&self, _: &Batch, _: Spelling, _: &mut Messages) {}

    fn retained(&self, _: &Retained, _: Spelling, _: &mut Messages) {}

    fn presence(&self, _: &PresenceChange, _: &mut Messages) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut dialects = Dialects::default();
    let recovery = (!arguments.no_recovery).then_some(Duration::from_secs(120));
    let within = if arguments.engine_only {
        let plain = Plain(Box::new(Echo { events: false, answers: true }));
        Within::Messages(dialects.mount("echo", Box::new(plain), [])?)
    } else {
        let mut namespaces = Vec::new();
        for (name, answers) in [("/", true), ("/custom", false)] {
            let envelope = Envelope::new(name, Box::new(Echo { events: true, answers }), recovery.is_some());
            namespaces.push((name.into(), dialects.mount(name, Box::new(envelope), [])?));
        }
        Within::SocketIo(Arc::from(namespaces))
    };
    let path =
        arguments.path.unwrap_or_else(|| if arguments.engine_only { "/engine.io/" } else { "/socket.io/" }.into());
    let timing = Timing {
        ping_interval: Duration::from_millis(arguments.ping_interval),
        ping_timeout: Duration::from_millis(arguments.ping_timeout),
        upgrade_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_millis(arguments.connect_timeout),
        recovery,
    };
    dialects.serve(Endpoint {
        path: path.into(),
        within,
        max_payload: arguments.max_payload,
        timing,
        compress: false,
    })?;

    let mut settings = Settings::default();
    settings.general.dev = Some(true);
    settings.general.listen = Some(Vec::new());
    settings.general.plain_listen = Some(vec![ListenAddress::Ip(arguments.plain_listen)]);
    settings.general.internal_listen = vec![ListenAddress::Ip(([127, 0, 0, 1], 0).into())];
    settings.general.workers = Some(2);
    // A suite sends faster than people do.
    settings.limits.commands_per_second = 100_000;
    settings.limits.command_burst = 100_000;
    settings.limits.max_message = arguments.max_payload;
    let api_key = ApiKey::new("echo-only".into()).ok_or("no API key")?;
    let machine = Machine { cores: 2, open_files: 65_536, memory: MemoryCeiling::detect(), state_dir: None, api_key };
    let config = resolve(settings, &machine).map_err(|missing| format!("{missing:?}"))?;
    let pod = Pod::start_with(config, dialects)?;
    println!("listening on {}", pod.addresses().plain.first().ok_or("nowhere")?);
    std::thread::park();
    Ok(())
}
