//! The backend's side: publishes over HTTP, on a connection that is kept.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use crate::error::{BenchError, Doing as _};

/// The topic of the bench's events.
pub(crate) const TOPIC: &str = "trip";

/// How long the pod may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One kept-alive connection to a pod's internal listener; made again when the pod has closed it as idle.
pub(crate) struct Publisher {
    sender: SendRequest<Full<Bytes>>,
    internal: SocketAddr,
    authorization: String,
}

#[derive(Deserialize)]
struct Published {
    epoch: String,
    offset: u64,
}

impl Publisher {
    /// Connects.
    pub(crate) async fn connect(internal: SocketAddr, api_key: &str) -> Result<Self, BenchError> {
        Ok(Self { sender: open(internal).await?, internal, authorization: format!("Bearer {api_key}") })
    }

    /// Publishes one event; `data` is JSON. Returns its offset.
    pub(crate) async fn publish(&mut self, room: &str, data: &str) -> Result<u64, BenchError> {
        Ok(self.publish_body(format!(r#"{{"room":"{room}","topic":"{TOPIC}","data":{data}}}"#)).await?.offset)
    }

    /// Publishes one event with an id, which is one event however often it is published. Returns its epoch and offset.
    pub(crate) async fn publish_once(&mut self, room: &str, id: &str) -> Result<(String, u64), BenchError> {
        let body = format!(
            r#"{{"room":"{room}","topic":"{TOPIC}","id":"{id}","idempotency_key":"{id}","data":{{"id":"{id}"}}}}"#
        );
        let Published { epoch, offset } = self.publish_body(body).await?;
        Ok((epoch, offset))
    }

    async fn publish_body(&mut self, body: String) -> Result<Published, BenchError> {
        let (status, answer) = self.request(Method::POST, "/api/publish", body).await?;
        if status != 200 {
            return Err(refused("POST /api/publish", status, &answer));
        }
        serde_json::from_str(&answer)
            .map_err(|e| BenchError::Protocol(format!("the answer to a publish ({e}): {answer}")))
    }

    /// Publishes events to rooms with one request; which of them failed is not looked at.
    pub(crate) async fn broadcast(&mut self, events: &[(&str, String)]) -> Result<(), BenchError> {
        let event = |(room, data): &(&str, String)| format!(r#"{{"room":"{room}","topic":"{TOPIC}","data":{data}}}"#);
        let events: Vec<_> = events.iter().map(event).collect();
        let body = format!(r#"{{"publications":[{}]}}"#, events.join(","));
        match self.request(Method::POST, "/api/broadcast", body).await? {
            (200, _) => Ok(()),
            (status, answer) => Err(refused("POST /api/broadcast", status, &answer)),
        }
    }

    /// Fetches a page.
    pub(crate) async fn get(&mut self, path: &str) -> Result<(u16, String), BenchError> {
        self.request(Method::GET, path, String::new()).await
    }

    async fn request(&mut self, method: Method, path: &str, body: String) -> Result<(u16, String), BenchError> {
        let name = format!("{method} {path}");
        let failed = |e: &dyn std::fmt::Display| BenchError::Protocol(format!("{name}: {e} (did the pod end?)"));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.internal.to_string())
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| failed(&e))?;
        let answer = async {
            if self.sender.ready().await.is_err() {
                self.sender = open(self.internal).await?;
            }
            let response = self.sender.send_request(request).await.map_err(|e| failed(&e))?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|e| failed(&e))?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        timeout(PATIENCE, answer).await.map_err(|_| BenchError::Timeout {
            what: format!("the answer to {name}"),
            seconds: PATIENCE.as_secs(),
            hint: "is the pod overloaded?".to_owned(),
        })?
    }
}

async fn open(internal: SocketAddr) -> Result<SendRequest<Full<Bytes>>, BenchError> {
    let doing = || format!("connecting to the pod's internal listener at {internal}");
    let stream = TcpStream::connect(internal).await.doing(doing)?;
    stream.set_nodelay(true).doing(doing)?;
    let opened = handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|e| BenchError::Protocol(format!("{}: {e}", doing())))?;
    // It ends with the sender; what goes wrong with it, the next request says.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The error that an answer other than success is.
pub(crate) fn refused(request: &str, status: u16, body: &str) -> BenchError {
    BenchError::Answer { request: request.to_owned(), status, body: body.chars().take(300).collect() }
}
