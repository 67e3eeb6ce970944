//! Serves the API on its listeners.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::{
    answer::{Answer, ApiError},
    ops::{self, Readiness},
    publish::{Keys, publish},
};
use crate::{hub::Services, metrics::Exposition};

/// The largest body.
const MAX_BODY: usize = 1024 * 1024;

/// How long a request's head may take, and a kept-alive connection be idle.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The API of a pod.
#[derive(Clone)]
pub struct Api {
    services: Arc<Services>,
    metrics: Arc<Exposition>,
}

impl Api {
    /// An API for a pod.
    #[must_use]
    pub fn new(services: Arc<Services>, metrics: Arc<Exposition>) -> Self {
        Self { services, metrics }
    }

    /// Serves one listener for ever. Needs a `LocalSet`.
    pub async fn serve(self, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed on the internal listener; trying again in 100 ms");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let api = self.clone();
            let service = service_fn(move |request| {
                let api = api.clone();
                async move { Ok::<_, Infallible>(api.answer(request).await) }
            });
            tokio::task::spawn_local(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match (&method, path.as_str()) {
            (&Method::GET, "/health") => ops::health(),
            (&Method::GET, "/ready") => ops::ready(Readiness::of(&self.services)),
            (&Method::GET, "/metrics") => ops::metrics(self.metrics.render()),
            (_, path) if path.starts_with("/api/") => self.call(request).await.unwrap_or_else(|error| error.answer()),
            (method, path) => ApiError::not_found(format!("there is no {method} {path} here")).answer(),
        }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<Answer, ApiError> {
        let config = self.services.config.load();
        let keys = Keys::new(config.api_keys.iter().map(crate::config::ApiKey::reveal));
        if !keys.allow(request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes)) {
            return Err(ApiError::unauthorized());
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match (&method, path.as_str()) {
            (&Method::POST, "/api/publish") => publish(&*self.services.broker, &body(request).await?).await,
            (method, path) => Err(ApiError::not_found(format!("there is no {method} {path} here"))),
        }
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_TIME, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(MAX_BODY)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiError::bad_request("the body did not come in 30 s")),
    }
}
