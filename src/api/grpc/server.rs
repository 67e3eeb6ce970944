//! Serves gRPC on its listeners: HTTP/2, with TLS or without; the caller's key, the service of a call, its deadline.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use roomcast_proto::DESCRIPTORS;
// By itself: a path that begins with `roomcast` is this crate's.
use roomcast_proto::roomcast::roomcast_server;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status, body::Body, codegen::Service as _};

use super::{
    native::RoomcastService,
    service::{GrpcHandler, GrpcService, handler},
};
use crate::{
    api::keys::Keyring,
    hub::Services,
    metrics::{Exposition, GrpcCalls},
    transport::unproven_sockets::{UnprovenPlace, UnprovenSockets},
};

/// The most connections of callers that may call; the calls of further ones are refused. As many beside them have not shown that yet
/// ([`UnprovenSockets`]).
const MAX_CONNECTIONS: usize = 1_024;

/// The most calls of one connection at once.
const MAX_CALLS: u32 = 128;

/// The largest metadata of a call.
const MAX_METADATA: u32 = 16 * 1024;

/// The largest question of the health service, which needs no key: it has the name of a service.
const MAX_CHECK: usize = 1024;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a call without a deadline may take, and one with a later deadline.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// After this long without a byte a caller is sent a ping, and after as long again it is gone.
const PING: Duration = Duration::from_secs(30);

/// The header of a call's status, and two of its values (`google.rpc.Code`).
const STATUS: &str = "grpc-status";
const OUT_OF_RANGE: &str = "11";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// The gRPC API of a pod.
#[derive(Clone)]
pub struct Grpc(Arc<Inner>);

struct Inner {
    services: Arc<Services>,
    keyring: Keyring,
    open: bool,
    roomcast: roomcast_server::RoomcastServer<RoomcastService>,
    others: Vec<Other>,
    reflection: Reflection,
    unproven: Arc<UnprovenSockets>,
    places: Arc<Semaphore>,
}

/// One connection's place: among the unproven sockets, then among those that may call.
struct GrpcCaller {
    unproven: Mutex<Option<UnprovenPlace>>,
    known: OnceLock<OwnedSemaphorePermit>,
}

/// A service beside `roomcast.v1.Roomcast`.
struct Other {
    service: Arc<dyn GrpcService>,
    calls: GrpcCalls,
}

/// Answers with the contracts; both versions of the protocol, because tools ask for either.
struct Reflection {
    v1: GrpcHandler,
    v1alpha: GrpcHandler,
}

impl Reflection {
    /// # Errors
    /// The contracts are not readable: never, a test makes them.
    fn new(others: &[Other]) -> Result<Self, tonic_reflection::server::Error> {
        let builder = || {
            let builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name("roomcast.v1.Roomcast")
                .with_service_name("grpc.health.v1.Health");
            others.iter().fold(builder, |builder, other| builder.with_service_name(other.service.name()))
        };
        let (v1, v1alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
        Ok(Self { v1: handler(v1), v1alpha: handler(v1alpha) })
    }
}

impl Grpc {
    /// The API as it was decided, and other services beside it.
    ///
    /// # Errors
    /// The contracts are not readable.
    pub fn new(
        services: Arc<Services>,
        exposition: &Exposition,
        others: Vec<Arc<dyn GrpcService>>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let config = services.config.load_full();
        let most = config.limits.api_body;
        let gzip = tonic::codec::CompressionEncoding::Gzip;
        let roomcast = roomcast_server::RoomcastServer::new(RoomcastService(Arc::clone(&services)))
            .max_decoding_message_size(most)
            .accept_compressed(gzip)
            .send_compressed(gzip);
        let counted = |service: Arc<dyn GrpcService>| Other {
            calls: exposition.register(|| GrpcCalls::new(service.methods())),
            service,
        };
        let others: Vec<Other> = others.into_iter().map(counted).collect();
        Ok(Self(Arc::new(Inner {
            services,
            keyring: Keyring::default(),
            open: config.grpc.open,
            roomcast,
            reflection: Reflection::new(&others)?,
            others,
            unproven: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })))
    }

    /// Serves one listener for ever. `tls`: what handshakes are made with.
    pub async fn serve(self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let acceptor = tls.map(TlsAcceptor::from);
        loop {
            match listener.accept().await {
                Ok((stream, address)) => match self.0.unproven.begin(Instant::now()) {
                    Some((place, over, is_for_another)) => {
                        self.0.services.metrics.internal_refused.increment(u64::from(is_for_another));
                        let caller = GrpcCaller { unproven: Mutex::new(Some(place)), known: OnceLock::new() };
                        let greet = self.clone().greet(stream, address, acceptor.clone(), caller);
                        tokio::spawn(async move {
                            tokio::select! {
                                () = greet => {}
                                // Once it may call it makes no place for another one any more.
                                () = over.notified() => {}
                            }
                        });
                    }
                    None => self.0.services.metrics.internal_refused.increment(1),
                },
                Err(error) => {
                    if self.0.services.metrics.accept_failed("grpc", &error) {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    async fn greet(self, stream: TcpStream, address: SocketAddr, tls: Option<TlsAcceptor>, caller: GrpcCaller) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.converse(stream, caller).await };
        match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.converse(stream, caller).await,
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed on the gRPC listener"),
            Err(_) => tracing::debug!(%address, "a TLS handshake took too long on the gRPC listener"),
        }
    }

    async fn converse(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, caller: GrpcCaller) {
        let caller = Arc::new(caller);
        let service = service_fn(move |request| {
            let (this, caller) = (self.clone(), Arc::clone(&caller));
            async move { Ok::<_, Infallible>(this.answer(request, &caller).await) }
        });
        // What a caller does to its own connection is not the pod's news.
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_CALLS)
            .max_header_list_size(MAX_METADATA)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>, caller: &GrpcCaller) -> Response<Body> {
        let (service, method) = split(request.uri().path());
        let other = self.other(service);
        let calls = other.map_or(&self.0.services.metrics.grpc_calls, |other| &other.calls);
        let counted = calls.of(&format!("{service}/{method}"));
        let (method, began) = (method.to_owned(), Instant::now());
        let mut answer = match self.perform(service.to_owned(), request, caller).await {
            Ok(answer) => answer,
            Err(status) => status.into_http(),
        };
        // A call that fails has no body, so that its status is among the headers. A message above its limit is
        // `OUT_OF_RANGE` to the codec and `RESOURCE_EXHAUSTED` to gRPC, whose client would not know the former.
        if answer.headers().get(STATUS).is_some_and(|status| status == OUT_OF_RANGE) {
            answer.headers_mut().insert(STATUS, RESOURCE_EXHAUSTED);
        }
        let failed = answer.headers().get(STATUS).is_some_and(|status| status != "0");
        if let Some(other) = other {
            other.service.called(&method, began.elapsed(), failed);
        }
        if failed {
            counted.failed.increment(1)
        } else {
            counted.ok.increment(1)
        }
        answer
    }

    fn other(&self, service: &str) -> Option<&Other> {
        self.0.others.iter().find(|other| other.service.name() == service)
    }

    async fn perform(
        &self,
        service: String,
        request: Request<Incoming>,
        caller: &GrpcCaller,
    ) -> Result<Response<Body>, Status> {
        if service == "grpc.health.v1.Health" {
            return self.health(request).await;
        }
        let Inner { services, keyring, open, .. } = &*self.0;
        let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if !*open && !keyring.of(&services.config).allow(given) {
            return Err(Status::unauthenticated("this call needs an API key: `authorization: Bearer <api key>`"));
        }
        caller.may_call(&self.0.places)?;
        // Reflection is a conversation without an end of its own.
        match service.as_str() {
            "grpc.reflection.v1.ServerReflection" => return Ok((self.0.reflection.v1)(request).await),
            "grpc.reflection.v1alpha.ServerReflection" => return Ok((self.0.reflection.v1alpha)(request).await),
            _ => {}
        }
        let patience = patience(request.headers())?;
        if patience.is_zero() {
            return Err(Status::deadline_exceeded("its deadline had passed when it came: nothing is done"));
        }
        let call = async {
            match (service.as_str(), self.other(&service)) {
                ("roomcast.v1.Roomcast", _) => self.0.roomcast.clone().call(request).await,
                (_, Some(other)) => Ok(other.service.call(request).await),
                _ => Ok(Status::unimplemented(format!("there is no service {service} here")).into_http()),
            }
        };
        match timeout(patience, call).await {
            Ok(answer) => Ok(answer.unwrap_or_else(|never| match never {})),
            Err(_) => Err(Status::deadline_exceeded(format!("not done within {patience:?}: it may be done later"))),
        }
    }

    /// The health service (`grpc.health.v1`), for probes and balancers of calls, which have no key: whether calls should come here,
    /// so neither from its beginning nor while it goes away. A pod that takes no more clients still takes calls.
    async fn health(&self, request: Request<Incoming>) -> Result<Response<Body>, Status> {
        use tonic_health::{ServingStatus, pb::health_server::HealthServer, server::HealthReporter};
        let reporter = HealthReporter::new();
        let readiness = crate::api::Readiness::of(&self.0.services);
        let well = readiness.serves() && readiness != crate::api::Readiness::Draining;
        let status = if well { ServingStatus::Serving } else { ServingStatus::NotServing };
        let others = self.0.others.iter().map(|other| other.service.name());
        for name in ["", "roomcast.v1.Roomcast"].into_iter().chain(others) {
            reporter.set_service_status(name, status).await;
        }
        if !request.uri().path().ends_with("/Check") {
            return Err(Status::unimplemented("only `Check`: ask again instead of watching"));
        }
        let mut server = HealthServer::new(tonic_health::server::HealthService::from_health_reporter(reporter))
            .max_decoding_message_size(MAX_CHECK);
        timeout(MOST_PATIENCE, server.call(request))
            .await
            .map(|answer| answer.unwrap_or_else(|never| match never {}))
            .map_err(|_| Status::deadline_exceeded("no whole request came"))
    }
}

impl GrpcCaller {
    /// It has shown that it may call.
    fn may_call(&self, places: &Arc<Semaphore>) -> Result<(), Status> {
        if self.known.get().is_none() {
            let full = |_| Status::resource_exhausted(format!("{MAX_CONNECTIONS} connections call here already"));
            let place = Arc::clone(places).try_acquire_owned().map_err(full)?;
            // Of two calls at once one is the first.
            let _ = self.known.set(place);
            self.unproven.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Ok(())
    }
}

/// A call's service and method, from `/package.Service/Method`.
fn split(path: &str) -> (&str, &str) {
    path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or((path, ""))
}

/// How long a call may take: its own deadline (gRPC over HTTP/2, `grpc-timeout`), at most [`MOST_PATIENCE`].
fn patience(metadata: &HeaderMap) -> Result<Duration, Status> {
    let Some(value) = metadata.get("grpc-timeout") else { return Ok(MOST_PATIENCE) };
    let refuse = || Status::new(Code::InvalidArgument, "grpc-timeout is not up to eight digits and one of H M S m u n");
    let text = value.to_str().map_err(|_| refuse())?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refuse)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse());
    }
    let count: u64 = digits.parse().map_err(|_| refuse())?;
    let given = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return Err(refuse()),
    };
    Ok(given.min(MOST_PATIENCE))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_protocol_says() {
        let of = |text: &str| {
            let headers =
                HeaderMap::from_iter([(header::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]);
            patience(&headers).ok()
        };
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("1S"), Some(Duration::from_secs(1)));
        assert_eq!(of("99999999H"), Some(MOST_PATIENCE));
        assert_eq!(patience(&HeaderMap::new()).ok(), Some(MOST_PATIENCE));
        for bad in ["", "S", "1", "1x", "-1S", "123456789S", "1é"] {
            let headers = HeaderMap::from_iter([(
                header::HeaderName::from_static("grpc-timeout"),
                HeaderValue::from_bytes(bad.as_bytes()).unwrap(),
            )]);
            assert!(patience(&headers).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_contracts_can_be_reflected() {
        assert!(Reflection::new(&[]).is_ok());
    }
}
