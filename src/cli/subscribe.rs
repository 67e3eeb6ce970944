//! `roomcast subscribe`: prints what happens in rooms, and comes back with its positions when the connection is lost.
//!
//! Always holds: what was printed is not printed again after a reconnect, and what could not be recovered is said.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{
    console::{Console, Typed},
    dial::{DialError, Endpoint, Socket},
    outcome::runtime,
    positions::{Position, Positions, Taken},
    report::Report,
};
use crate::{
    config::without_secrets,
    model::{Disconnect, Reconnect, Room, Token},
};

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What is followed, and where.
#[derive(Debug, Args)]
pub struct Subscribe {
    /// The rooms
    #[arg(required_unless_present = "interactive")]
    rooms: Vec<String>,
    /// Where clients connect
    #[arg(long, value_name = "URL", default_value = "ws://localhost:8080/ws")]
    url: String,
    /// A client's token; as a flag, other users of this machine can see it
    #[arg(long, env = "ROOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Go on from this position of the (only) room
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = position)]
    since: Option<Position>,
    /// Print the server's messages as they come, one a line
    #[arg(long)]
    json: bool,
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End when the connection is lost, instead of coming back
    #[arg(long)]
    no_reconnect: bool,
    /// Take commands from the standard input; `help` lists them
    #[arg(short, long)]
    interactive: bool,
    /// Further CA certificates to trust a wss URL by (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Believe any certificate: for trying things out only
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

/// What `roomcast subscribe --help` says at its end.
pub const EXAMPLES: &str = "\
Examples:
  roomcast subscribe news                                       a development pod on this machine
  roomcast subscribe 'trip:1' 'trip:2' --url wss://push.example.com/ws --token \"$TOKEN\"
  roomcast subscribe news --url wss://localhost:8443/ws --insecure    its self-signed certificate
  roomcast subscribe news --since b1946ac92492d2347:41          what followed, then what comes
  roomcast subscribe news --json --count 1 | jq .events[0].data
  roomcast subscribe -i                                         type `help`

It is no browser and sends no Origin, so that a pod's `origins` do not concern it.
Exits 0 after --count events or on SIGINT, 1 if the server sends it away, 2 on a wrong command line.";

fn position(text: &str) -> Result<Position, String> {
    let wrong = || "a position is EPOCH:OFFSET, as `subscribed` and `events` tell it".to_owned();
    let (epoch, offset) = text.rsplit_once(':').ok_or_else(wrong)?;
    Ok((epoch.to_owned(), offset.parse().map_err(|_| wrong())?))
}

/// Why a connection ended.
enum End {
    /// Everything that was asked for has come, or the person has gone.
    Done,
    /// The connection was lost, or the server sent everybody away; how long it held.
    Lost { why: String, wait: Duration, held: bool },
    /// It makes no sense to come back.
    Refused(String),
}

impl Subscribe {
    /// Follows the rooms.
    pub fn run(&self) -> ExitCode {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(why) => return complain(&why),
        };
        let followed = runtime.block_on(async {
            tokio::select! {
                followed = self.follow() => followed,
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        });
        // A read of the standard input cannot be interrupted, so it is not waited for.
        runtime.shutdown_background();
        match followed {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => complain(&why),
        }
    }

    async fn follow(&self) -> Result<(), String> {
        for room in &self.rooms {
            Room::parse(room).map_err(|error| format!("{room:?}: {error}"))?;
        }
        if self.since.is_some() && self.rooms.len() != 1 {
            return Err("--since is one room's position: name one room".to_owned());
        }
        let token = self.token.as_deref().map(Token::new);
        let endpoint = Endpoint::new(&self.url, token, self.ca.as_deref(), self.insecure)?;
        let mut positions = Positions::new(&self.rooms, self.since.as_ref());
        let mut report = Report::new(self.json, self.count);
        let mut typed = self.interactive.then(Console::open);
        let mut pause = Duration::from_millis(250);
        loop {
            let (why, wait) = match self.converse(&endpoint, &mut positions, &mut report, &mut typed).await {
                End::Done => return Ok(()),
                End::Refused(why) => return Err(why),
                End::Lost { why, .. } if self.no_reconnect => return Err(why),
                End::Lost { why, wait, held } => {
                    if held {
                        pause = Duration::from_millis(250);
                    }
                    (why, wait)
                }
            };
            let wait = wait.max(pause.mul_f64(0.5 + jitter()));
            pause = (pause * 2).min(LONGEST_PAUSE);
            note(&format!("{why}; connecting again in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, to its end.
    async fn converse(
        &self,
        endpoint: &Endpoint,
        positions: &mut Positions,
        report: &mut Report,
        typed: &mut Option<mpsc::Receiver<Typed>>,
    ) -> End {
        let mut socket = match endpoint.connect().await {
            Ok(socket) => socket,
            Err(DialError { why, retry }) if retry => {
                return End::Lost { why, wait: Duration::ZERO, held: false };
            }
            Err(DialError { why, .. }) => return End::Refused(why),
        };
        note(&format!("connected to {}", without_secrets(&self.url)));
        for command in positions.subscribe() {
            if let Err(end) = send(&mut socket, &command).await {
                return end;
            }
        }
        let mut wait = Duration::ZERO;
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                line = next_line(typed) => {
                    let Some(command) = line else { return End::Done };
                    if let Err(end) = send(&mut socket, &command).await {
                        return end;
                    }
                    continue;
                }
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
                    if message["type"] == "reconnect" {
                        wait = Duration::from_millis(message["after_ms"].as_u64().unwrap_or_default());
                    }
                    let lost = match positions.take(&message) {
                        Taken::Superseded => continue,
                        Taken::Whole => None,
                        Taken::Lossy(lost) => Some(lost),
                    };
                    if report.take(&text, &message, lost.as_deref()).is_break() {
                        let _ = socket.close(None).await;
                        return End::Done;
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    let (code, reason) = close.map_or((1005, String::new()), |c| (c.code.into(), c.reason.to_string()));
                    let why = format!("the server closed the connection: {code} {reason}");
                    let advice = Disconnect::ALL.into_iter().find(|d| d.code() == code).map(Disconnect::reconnect);
                    return match advice {
                        Some(Reconnect::Never | Reconnect::WithNewToken) => End::Refused(why),
                        Some(Reconnect::Soon | Reconnect::Later) | None => {
                            End::Lost { why, wait: wait.min(Duration::from_secs(2)), held: true }
                        }
                    };
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return End::Lost {
                        why: format!("the connection is lost: {error}"),
                        wait: Duration::ZERO,
                        held: true,
                    };
                }
                None => {
                    let why = "the connection is lost".to_owned();
                    return End::Lost { why, wait: Duration::ZERO, held: true };
                }
            }
        }
    }
}

/// The next command that was typed; never ends where commands are not typed.
async fn next_line(typed: &mut Option<mpsc::Receiver<Typed>>) -> Option<Value> {
    let Some(lines) = typed else { return std::future::pending().await };
    loop {
        match lines.recv().await? {
            Typed::Command(command) => return Some(command),
            Typed::Quit => return None,
            Typed::Help(text) => note(&text),
        }
    }
}

async fn send(socket: &mut Socket, command: &Value) -> Result<(), End> {
    socket.send(Message::text(command.to_string())).await.map_err(|error| End::Lost {
        why: format!("the connection is lost: {error}"),
        wait: Duration::ZERO,
        held: true,
    })
}

/// A number from 0 to 1, so that many programs that lost the same pod do not come back at once.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// Says something that is not output.
fn note(text: &str) {
    let mut stderr = io::stderr();
    let (dim, plain) = if stderr.is_terminal() { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
    let _ = writeln!(stderr, "{dim}{text}{plain}");
}

fn complain(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::FAILURE
}
