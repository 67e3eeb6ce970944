//! `roomcast publish`: one event, or one for each line of the input, over the API of a pod.

use std::{
    io::{self, BufRead, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::outcome::runtime;
use crate::{
    config::without_secrets,
    transport::fetch::{Client, Limits},
};

/// The most of an answer, and how long it may take.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), max_bytes: 1024 * 1024 };

/// The largest event that is read from the input.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

/// What is published, and where.
#[derive(Debug, Args)]
pub struct Publish {
    /// The room
    room: String,
    /// The topic: what kind of event it is
    topic: String,
    /// The data: JSON, or `-` for the standard input
    #[arg(default_value = "-")]
    data: String,
    /// What the event is about, for rooms that conflate or retain by key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The event's id, passed through to its receivers
    #[arg(long)]
    id: Option<String>,
    /// Repeats with the same key are one event
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The data is text, not JSON
    #[arg(long, conflicts_with = "binary")]
    text: bool,
    /// The data is bytes, not JSON
    #[arg(long)]
    binary: bool,
    /// Each line of the standard input is the data of one event
    #[arg(long, conflicts_with_all = ["binary", "id", "idempotency_key"])]
    lines: bool,
    /// The internal listener of a pod
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    url: String,
    /// A key of the pod's API; as a flag, other users of this machine can see it
    #[arg(long, env = "ROOMCAST_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Further CA certificates to trust an https URL by (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the position as JSON
    #[arg(long)]
    json: bool,
}

/// What `roomcast publish --help` says at its end.
pub const EXAMPLES: &str = "\
Examples:
  roomcast publish news headline '{\"text\": \"Hello\"}' --api-key secret
  roomcast publish news headline Hello --text
  date | roomcast publish clock tick --text
  journalctl -f -o json | roomcast publish logs line --lines
  roomcast publish cam:2 still --binary < still.jpg

Exits 0 if every event is in its room's log, 1 if not, 2 on a wrong command line.";

/// The body of `POST /api/publish`.
#[derive(Serialize)]
struct Body<'a> {
    room: &'a str,
    topic: &'a str,
    #[serde(flatten)]
    payload: Payload,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<&'a str>,
}

/// One of the two.
#[derive(Serialize)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data64: Option<String>,
}

impl Publish {
    /// Publishes.
    pub fn run(&self) -> ExitCode {
        let done = runtime().and_then(|runtime| runtime.block_on(self.publish_all()));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                let _ = writeln!(io::stderr(), "not published: {why}");
                ExitCode::FAILURE
            }
        }
    }

    async fn publish_all(&self) -> Result<(), String> {
        let client = Client::new(self.ca.as_deref()).map_err(|error| error.to_string())?;
        // The variable holds a list for a pod; any of its keys will do.
        let key = self.api_key.as_deref().unwrap_or_default().split(',').map(str::trim).find(|key| !key.is_empty());
        let key = key.ok_or("an API key is needed: --api-key KEY, or the variable ROOMCAST_API_KEY")?;
        if !self.lines {
            return self.publish(&client, key, self.data()?).await;
        }
        for (number, line) in io::stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| format!("the standard input cannot be read: {error}"))?;
            if line.trim().is_empty() {
                continue;
            }
            let published = match self.payload(line.into_bytes()) {
                Ok(payload) => self.publish(&client, key, payload).await,
                Err(why) => Err(why),
            };
            published.map_err(|why| format!("line {}: {why}", number + 1))?;
        }
        Ok(())
    }

    fn data(&self) -> Result<Payload, String> {
        if self.data != "-" {
            return self.payload(self.data.clone().into_bytes());
        }
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("the standard input cannot be read: {error}"))?;
        if bytes.len() as u64 > MAX_INPUT {
            return Err(format!("the standard input has more than {MAX_INPUT} bytes"));
        }
        self.payload(bytes)
    }

    fn payload(&self, bytes: Vec<u8>) -> Result<Payload, String> {
        if self.binary {
            return Ok(Payload { data: None, data64: Some(BASE64_STANDARD.encode(bytes)) });
        }
        let text =
            String::from_utf8(bytes).map_err(|_| "the data is not UTF-8; --binary takes any bytes".to_owned())?;
        let raw = if self.text {
            serde_json::value::to_raw_value(text.trim_end_matches(['\r', '\n']))
        } else {
            serde_json::from_str(&text)
        };
        // Passed on as it was written: a number keeps its digits.
        let data = raw.map_err(|error| format!("the data is not JSON ({error}); --text takes it as text"))?;
        Ok(Payload { data: Some(data), data64: None })
    }

    async fn publish(&self, client: &Client, key: &str, payload: Payload) -> Result<(), String> {
        let body = Body {
            room: &self.room,
            topic: &self.topic,
            payload,
            key: self.key.as_deref(),
            id: self.id.as_deref(),
            idempotency_key: self.idempotency_key.as_deref(),
        };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        let url = format!("{}/api/publish", self.url.trim_end_matches('/'));
        let shown = without_secrets(&url);
        let request = Request::post(&url)
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| format!("{shown} or the API key cannot be sent: {error}"))?;
        let answer = client.fetch(request, &LIMITS).await.map_err(|error| format!("{shown}: {error}"))?;
        let status = answer.status();
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let (Some(epoch), Some(offset)) = (said["epoch"].as_str(), said["offset"].as_u64()) else {
            let why = said["error"]["message"].as_str().unwrap_or("the answer is not that of a pod's API");
            return Err(format!("{shown} answers {status}: {why}"));
        };
        let line = if self.json { said.to_string() } else { format!("{} {epoch} #{offset}", self.room) };
        let _ = writeln!(io::stdout(), "{line}");
        Ok(())
    }
}
