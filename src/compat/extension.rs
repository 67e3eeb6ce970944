//! What a customer's module may add to a pod at start.
//!
//! Owns the shapes of the seam and nothing of a customer. Always holds: an observer and a sink have one taker each, so that a second
//! one is an error at start and never a silent loss.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::{
    api::GrpcService,
    broker::redis::Elsewhere,
    hub::Services,
    metrics::{DeliveryObserver, Exposition},
    transport::fetch::FetchError,
};

/// Requests on the public listeners that a customer's module answers.
pub trait Route: Send + Sync {
    /// Whether the request is for it.
    fn takes(&self, request: &Request<Incoming>) -> bool;

    /// Answers a request that it takes. Runs on a worker's thread, so it must not block.
    fn answer<'a>(
        &'a self,
        services: &'a Services,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + 'a>>;
}

/// Every route of a pod, asked in order.
pub type Routes = Arc<[Arc<dyn Route>]>;

/// Makes a gRPC service when the pod's parts are there.
pub type MakeGrpcService = Box<dyn FnOnce(&Arc<Services>, &Arc<Exposition>) -> Arc<dyn GrpcService> + Send>;

/// Starts a background task in the `LocalSet` of the thread that it is called on; the task ends with the pod.
pub type Task = Box<dyn FnOnce() + Send>;

/// What the customers' modules add to a pod.
#[derive(Default)]
pub struct Extensions {
    /// Hears what the hub delivers.
    pub observer: Option<Arc<dyn DeliveryObserver>>,
    /// Takes plain messages in Redis that become no events.
    pub plain_messages: Option<Elsewhere>,
    /// Answers requests on the public listeners.
    pub routes: Vec<Arc<dyn Route>>,
    /// Served on the gRPC listeners.
    pub grpc_services: Vec<MakeGrpcService>,
    /// Run beside the workers.
    pub tasks: Vec<Task>,
}

/// Why a customer's module cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// Two modules want what one can have.
    #[error("the settings of two customers' systems are on at once, and both want {0}: one of them can have them")]
    Taken(&'static str),
    /// The CA certificates of a server that it calls.
    #[error("`{called}` cannot be called: {error}")]
    Fetch {
        /// The key of the server's certificates.
        called: &'static str,
        /// Why.
        error: FetchError,
    },
}

impl Extensions {
    /// Observes what the hub delivers.
    ///
    /// # Errors
    /// [`ExtensionError::Taken`].
    pub(super) fn observe(&mut self, observer: Arc<dyn DeliveryObserver>) -> Result<(), ExtensionError> {
        if self.observer.replace(observer).is_some() {
            return Err(ExtensionError::Taken("the counts of deliveries"));
        }
        Ok(())
    }

    /// Takes plain messages in Redis that become no events.
    ///
    /// # Errors
    /// [`ExtensionError::Taken`].
    pub(super) fn take_plain_messages(&mut self, taken: Elsewhere) -> Result<(), ExtensionError> {
        if self.plain_messages.replace(taken).is_some() {
            return Err(ExtensionError::Taken("plain messages of Redis"));
        }
        Ok(())
    }
}
