//! The floor of the API: a bare hyper server that reads a body and answers one fixed text. One thread, as the pod's API
//! has; no keys, no routes, no JSON, no limits but the body's.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc, task::LocalSet, time::timeout};

use crate::{
    child::{self, Heard, NOTICES, Role},
    error::{BenchError, Doing as _},
    process::Process,
};

/// As long as a pod's answer to a publish.
const ANSWER: &str = r#"{"epoch":"5b1e90c7a3f2d8461","offset":12345}"#;

/// The largest body that is read.
const MAX_BODY: usize = 16 << 20;

/// The role's main: until the parent ends.
pub(crate) fn run() -> Result<(), BenchError> {
    child::end_with_parent()?;
    let doing = || "starting the floor of the API".to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(doing)?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.doing(doing)?;
        child::say(&listener.local_addr().doing(doing)?)?;
        loop {
            let (stream, _) = listener.accept().await.doing(doing)?;
            stream.set_nodelay(true).doing(doing)?;
            tokio::task::spawn_local(
                hyper::server::conn::http1::Builder::new()
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let read = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let mut answer = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    if read.is_err() {
        *answer.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
    }
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// The parent's side.
pub(crate) struct HttpFloor {
    _role: Role,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) process: Process,
}

impl HttpFloor {
    /// Starts one.
    pub(crate) async fn start() -> Result<Self, BenchError> {
        let (sender, mut heard) = mpsc::channel::<Heard<SocketAddr>>(NOTICES);
        let role = Role::start("API floor", &["http-floor".to_owned()], 0, sender)?;
        let silent =
            || BenchError::Child { who: "API floor".to_owned(), what: "did not say where it listens".to_owned() };
        let (_, address) =
            timeout(Duration::from_secs(15), heard.recv()).await.map_err(|_| silent())?.ok_or_else(silent)?;
        let process = Process::new(role.pid().unwrap_or(0));
        Ok(Self { _role: role, address: address?, process })
    }
}
