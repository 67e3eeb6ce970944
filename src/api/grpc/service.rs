//! A gRPC service that another part of the pod brings, served beside `roomcast.v1.Roomcast` under the same rules.

use std::{convert::Infallible, pin::Pin, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{body::Body, codegen::Service};

/// The answer to a call, when it is there.
pub type GrpcAnswer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers calls.
pub type GrpcHandler = Box<dyn Fn(Request<Incoming>) -> GrpcAnswer + Send + Sync>;

/// A service beside `roomcast.v1.Roomcast`. Its contract must be among `roomcast_proto::DESCRIPTORS`.
pub trait GrpcService: Send + Sync {
    /// Its name, `package.Service`.
    fn name(&self) -> &'static str;

    /// Its methods, `package.Service/Method` each: calls of others are counted as `other`.
    fn methods(&self) -> &'static [&'static str];

    /// Answers a call of it. The caller's key and deadline are the server's business.
    fn call(&self, request: Request<Incoming>) -> GrpcAnswer;

    /// A call of it is over, answered or refused before: the method without its service, how long it took, whether it failed.
    fn called(&self, method: &str, took: Duration, failed: bool);
}

/// What answers calls with a service that tonic made.
pub fn handler<S>(service: S) -> GrpcHandler
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    Box::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move { answer.await.unwrap_or_else(|never| match never {}) })
    })
}
