//! Serves the API on its listeners.
//!
//! Never does what a call is about: each has a file of its own. Always holds: a body is read only of a call that takes one, once its caller
//! has shown a key where one is needed.

use std::{
    convert::Infallible,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Version, header, request::Parts};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    answer::{Answer, ApiCode, ApiError, ok, with_type},
    body,
    callers::{Caller, Callers, MOST_CALLERS},
    connections::{self, to_connection, to_user},
    delete,
    document::OPENAPI,
    keys::Keyring,
    ops,
    patience::{Noting, Patience},
    public_document::public_document,
    publish, rooms,
    router::{Found, Operation, Route, Takes, find, is_guarded, is_probe},
    session, stats,
    status::{Servers, StatusBoard, Tree},
    target::{Query, decode},
    unread, user_presence,
};
use crate::{
    hub::{Quic, Readiness, Services},
    metrics::{Exposition, RareWarning},
    model::Room,
    traces::Publisher,
    transport::{
        content_encoding::{ENCODED, is_encoded},
        head::{HeadError, names_one_host},
    },
};

/// The most bytes of a connection that wait to be read: a request's head must fit.
const MAX_BUFFER: usize = 64 * 1024;

/// Answers requests for the files of a page; `None`: it is for something else.
pub type Pages = fn(&Parts) -> Option<Answer>;

/// The API of a pod.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    services: Arc<Services>,
    metrics: Arc<Exposition>,
    keyring: Keyring,
    board: StatusBoard,
    pages: Pages,
    callers: Arc<Callers>,
    refused: RareWarning,
    /// The pod ends: what was begun is answered, and nothing more is begun.
    ending: watch::Sender<bool>,
}

impl Api {
    /// An API for a pod. `servers`, `tree`: how what is beside it is; `pages`: those of the internal listener.
    #[must_use]
    pub fn new(
        services: Arc<Services>,
        metrics: Arc<Exposition>,
        (servers, tree): (Servers, Tree),
        pages: Pages,
    ) -> Self {
        let callers = Callers::new(!services.dialects.endpoints().is_empty(), &services.sockets);
        let keyring = Keyring::default();
        let (board, ending) = (StatusBoard::new(servers, tree), watch::Sender::new(false));
        Self(Arc::new(Shared {
            services,
            metrics,
            keyring,
            board,
            pages,
            callers,
            refused: RareWarning::new(),
            ending,
        }))
    }

    /// Looks at the pod for `/status`; to be called every second.
    pub fn look(&self) {
        self.0.board.look(&self.0.services, &self.0.metrics, Instant::now());
    }

    /// Answers what was begun, takes nothing more, and waits until all connections are closed.
    pub async fn end(&self) {
        self.0.ending.send_replace(true);
        while self.0.callers.count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Serves one listener until the pod ends. Needs a `LocalSet`.
    pub async fn serve(self, listener: TcpListener) {
        let mut ending = self.0.ending.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = ending.wait_for(|ends| *ends) => return,
            };
            match accepted {
                Ok((stream, _)) => match self.0.callers.take() {
                    Some(caller) => drop(tokio::task::spawn_local(self.clone().converse(stream, Rc::new(caller)))),
                    None => self.refuse(&stream),
                },
                Err(error) => {
                    if self.0.services.metrics.accept_failed("internal", &error) {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    fn refuse(&self, stream: &TcpStream) {
        // It fits an empty send buffer. If it is lost all the same, the caller sees the connection end.
        let _ = stream.try_write(
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        );
        self.note_refused();
    }

    fn note_refused(&self) {
        self.0.services.metrics.internal_refused.increment(1);
        if let Some(count) = self.0.refused.due(Instant::now()) {
            tracing::warn!(
                count,
                most = MOST_CALLERS,
                "connections to the internal listener were refused: there are as many as may be; do callers keep theirs?"
            );
        }
    }

    async fn answer(&self, request: Request<Incoming>, caller: &Caller) -> Answer {
        if session::of(request.uri().path()).is_some() && !caller.is_for_probe() {
            return session::answer(&self.0.services, request, caller).await;
        }
        let (parts, body) = request.into_parts();
        let has_place = caller.asks_the_api();
        // The pod of a probe that fails is killed, with all its clients, and backends go on as before.
        if !has_place && !is_probe(&parts.method, parts.uri.path()) {
            self.note_refused();
            body::discard(body);
            let full = ApiError::new(
                ApiCode::Unavailable,
                "as many connections call here as may: close those that are not used",
            );
            return closing(full.answer());
        }
        let mut body = Some(body);
        let result = if parts.version == Version::HTTP_11 && !names_one_host(&parts.headers) {
            Err(ApiError::bad_request(HeadError::Host.to_string()))
        } else {
            self.call(&parts, &mut body).await
        };
        if let Some(body) = body {
            body::discard(body);
        }
        let answer = result.unwrap_or_else(|error| error.answer());
        if has_place { answer } else { closing(answer) }
    }

    async fn call(&self, parts: &Parts, body: &mut Option<Incoming>) -> Result<Answer, ApiError> {
        let (method, path) = (&parts.method, parts.uri.path());
        let Shared { services, keyring, pages, .. } = &*self.0;
        if is_guarded(path) {
            let given = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
            if !keyring.of(&services.config).allow(given) {
                let message = "this call needs an API key: `Authorization: Bearer <api key>`";
                return Err(ApiError::new(ApiCode::Unauthorized, message));
            }
        }
        if services.config.load().internal_metrics
            && let Some(answer) = pages(parts)
        {
            return Ok(answer);
        }
        let (route, segment) = match find(method, path) {
            Found::Route(route, segment) => (route, segment),
            Found::Methods(methods) => return Ok(wrong_method(method, path, &methods)),
            Found::Nothing => return Err(ApiError::new(ApiCode::NotFound, format!("there is no {path} here"))),
        };
        let result = self.perform(route, segment, parts, body).await;
        if let Err(error) = &result {
            debug_assert!(route.errors().any(|code| code == error.code), "{} answers {:?}", route.path, error.code);
        }
        result
    }

    async fn perform(
        &self,
        route: &Route,
        segment: &str,
        parts: &Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Answer, ApiError> {
        let services = &*self.0.services;
        let query = Query::parse(parts.uri.query(), route.query)?;
        let segment = decode(segment).map_err(|error| error.within("the path"))?;
        let body = match (route.takes, body.take()) {
            (Takes::Nothing, untaken) => {
                *body = untaken;
                Bytes::new()
            }
            (_, Some(taken)) if is_encoded(&parts.headers) => {
                *body = Some(taken);
                return Err(ApiError::new(ApiCode::UnsupportedEncoding, ENCODED));
            }
            (_, Some(taken)) => body::read(taken, services.config.load().limits.api_body).await?,
            (_, None) => Bytes::new(),
        };
        let body = match route.takes {
            Takes::OptionalBody if body.is_empty() => Bytes::from_static(b"{}"),
            _ => body,
        };
        match route.operation {
            Operation::Publish => publish::publish(services, Publisher::Api(&parts.headers), &body).await,
            Operation::Broadcast => publish::broadcast(services, Publisher::Api(&parts.headers), &body).await,
            Operation::Health => Ok(ops::health()),
            Operation::CertificateHashes => Ok(ok(&Quic::certificate_hashes(services.quic.as_ref()))),
            Operation::Edges => Ok(ops::edges(&services.config.load().relay.edges)),
            Operation::PublicDocument => Ok(public_document(&services.config.load())),
            Operation::Accepting => Ok(ops::accepting(Readiness::of(services))),
            Operation::Ready => Ok(ops::ready(Readiness::of(services), false)),
            Operation::Metrics | Operation::Status if !services.config.load().internal_metrics => {
                Err(ApiError::new(ApiCode::NotFound, "the metrics are switched off (`internal_metrics`)"))
            }
            Operation::Status => self.0.board.answer(services, &self.0.metrics, &query).await,
            Operation::Metrics => Ok(ops::metrics(self.0.metrics.render())),
            Operation::Document => Ok(with_type(http::StatusCode::OK, "application/json", OPENAPI)),
            Operation::History => rooms::history(services, &Room::parse(&segment)?, &query).await,
            Operation::Presence => rooms::presence(services, &Room::parse(&segment)?, &query).await,
            Operation::Rooms => rooms::list(services, &query).await,
            Operation::DeleteEvent => delete::delete(services, Room::parse(&segment)?, &body).await,
            Operation::ForgetRoom => rooms::forget(services, &Room::parse(&segment)?).await,
            Operation::EraseUser => connections::erase(services, &segment).await.map(|done| ok(&done)),
            Operation::Room => rooms::detail(services, &Room::parse(&segment)?, &query).await,
            Operation::UserPresence => user_presence::list(services, &query).await,
            Operation::ChangeUserPresence => user_presence::change(services, &body).await,
            Operation::Stats => stats::stats(services, &query).await,
            Operation::Connections => connections::list(services, None, &query).await,
            Operation::User => connections::list(services, Some(&segment), &query).await,
            Operation::Unread => unread::unread(services, &segment, &query).await,
            Operation::Connection => connections::detail(services, &segment, &query).await,
            Operation::DisconnectConnection => {
                to_connection(services, &segment, connections::disconnect(&body)?).await.map(|done| ok(&done))
            }
            Operation::SubscribeConnection => {
                to_connection(services, &segment, connections::subscribe(&body)?).await.map(|done| ok(&done))
            }
            Operation::UnsubscribeConnection => {
                to_connection(services, &segment, connections::unsubscribe(&body)?).await.map(|done| ok(&done))
            }
            Operation::RefreshConnection => {
                to_connection(services, &segment, connections::refresh(&body)?).await.map(|done| ok(&done))
            }
            Operation::RefreshUser => {
                to_user(services, &segment, connections::refresh(&body)?).await.map(|done| ok(&done))
            }
            Operation::DisconnectUser => {
                to_user(services, &segment, connections::disconnect(&body)?).await.map(|done| ok(&done))
            }
            Operation::SubscribeUser => {
                to_user(services, &segment, connections::subscribe(&body)?).await.map(|done| ok(&done))
            }
            Operation::UnsubscribeUser => {
                to_user(services, &segment, connections::unsubscribe(&body)?).await.map(|done| ok(&done))
            }
        }
    }
}

/// An answer behind which the connection ends.
fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl Api {
    /// Serves one connection.
    async fn converse(self, stream: TcpStream, caller: Rc<Caller>) {
        let _ = stream.set_nodelay(true);
        let patience = if caller.is_for_probe() { Patience::brief() } else { Patience::new() };
        let service = {
            let (api, patience) = (self.clone(), patience.clone());
            service_fn(move |request| {
                let (api, patience, caller) = (api.clone(), patience.clone(), Rc::clone(&caller));
                async move {
                    patience.answering();
                    let mut answer = api.answer(request, &caller).await;
                    patience.answered();
                    if api.0.services.gate.is_draining() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                        // The next call is for another pod, or for one that stays.
                        answer = closing(answer);
                    }
                    Ok::<_, Infallible>(answer)
                }
            })
        };
        let io = Noting { inner: TokioIo::new(stream), patience: patience.clone() };
        let mut connection = pin!(
            hyper::server::conn::http1::Builder::new()
                .max_buf_size(MAX_BUFFER)
                .header_read_timeout(None)
                .serve_connection(io, service)
                .with_upgrades()
        );
        let mut ending = self.0.ending.subscribe();
        let ends = async move { drop(ending.wait_for(|ends| *ends).await) };
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = patience.is_over() => return,
            () = ends => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = patience.is_over() => {}
        }
    }
}

fn wrong_method(method: &Method, path: &str, methods: &str) -> Answer {
    let message = format!("{path} is not for {method}, but for {methods}");
    let mut answer = ApiError::new(ApiCode::MethodNotAllowed, message).answer();
    if let Ok(methods) = HeaderValue::from_str(methods) {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}
