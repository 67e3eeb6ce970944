//! `roomcast doctor`: checks a deployment from outside, as a client would, and says what to change.
//!
//! Owns the order of the checks: the pod's links, and then that in which a client meets them. Never needs a right of the pod: it asks what
//! every client may ask, and its internal listener only where it is told to. Always holds: a check that could not be made is said, with
//! what it needs.

mod exchange;
mod fallbacks;
mod finding;
mod http;
mod network;
mod quic;
mod target;
mod tree;
mod websocket;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::outcome::{print, runtime};
use crate::{
    config,
    model::{Room, Token},
};
use finding::Findings;
use target::DoctorTarget;

/// What is checked, and how.
#[derive(Debug, Args)]
pub struct DoctorCommand {
    /// Where clients connect: https://HOST, or the WebSocket's own URL
    url: String,
    /// The origin of your pages, as browsers send it
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// A client's token; as a flag, other users of this machine can see it
    #[arg(long, env = "ROOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A room that this client may join, for long-polls and event streams
    #[arg(long, default_value = "doctor:check")]
    room: String,
    /// The internal listener of the pod, if it can be reached from here: then its links to a home and to edges are looked at, too
    #[arg(long, value_name = "URL")]
    status: Option<String>,
    /// How long a WebSocket is kept silent; above twice the ping interval it tells all
    #[arg(long, value_name = "TIME", value_parser = idle, default_value = "5s")]
    idle: Duration,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Further CA certificates to trust (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What `roomcast doctor --help` says at its end.
pub const EXAMPLES: &str = "\
Examples:
  roomcast doctor https://push.example.com --origin https://app.example.com
  roomcast doctor wss://push.example.com/live --token \"$TOKEN\" --room trip:1 --idle 75s
  roomcast doctor https://push.example.com --status http://127.0.0.1:9000
  roomcast doctor https://push.example.com --json | jq '.findings[] | select(.level != \"ok\")'

Run it where clients are: what lies between is what it looks at.
Exits 0 if clients are served, warnings or not, 1 if a check failed, 2 on a wrong command line.";

fn idle(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_secs(1)..=Duration::from_secs(3600))
}

impl DoctorCommand {
    /// Checks and prints.
    pub fn run(&self) -> ExitCode {
        let checked = self.target().and_then(|target| {
            let findings = runtime()?.block_on(self.check(&target));
            Ok((target.shown, findings))
        });
        match checked {
            Ok((url, findings)) => {
                let printed = print(&if self.json { findings.json(&url) } else { findings.text() });
                if findings.has_failed() { ExitCode::FAILURE } else { printed }
            }
            Err(why) => {
                let _ = writeln!(io::stderr(), "{why}");
                ExitCode::FAILURE
            }
        }
    }

    fn target(&self) -> Result<DoctorTarget, String> {
        Room::parse(&self.room).map_err(|error| format!("{:?}: {error}", self.room))?;
        for (name, value) in [("--origin", &self.origin), ("--token", &self.token)] {
            if value.as_ref().is_some_and(|value| !value.bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(format!("{name} has characters that no header can carry"));
            }
        }
        DoctorTarget::new(&self.url, self.token.as_deref().map(Token::new), self.ca.as_deref())
    }

    async fn check(&self, target: &DoctorTarget) -> Findings {
        let mut findings = Findings::default();
        if let Some(status) = &self.status {
            tree::check_tree(status, self.ca.as_deref(), &mut findings).await;
        }
        let Some(addresses) = network::reach(target, &mut findings).await else { return findings };
        if !network::check_tls(target, &mut findings).await || !http::check_http(target, &mut findings).await {
            return findings;
        }
        http::check_proxy(target, &mut findings).await;
        let opens = websocket::check_upgrade(target, &mut findings).await;
        if opens {
            websocket::check_origins(target, self.origin.as_deref(), &mut findings).await;
        }
        fallbacks::check_fallbacks(target, &self.room, &mut findings).await;
        quic::check_quic(target, &addresses, &mut findings).await;
        if opens {
            websocket::check_line(target, self.idle, &mut findings).await;
        }
        findings
    }
}
