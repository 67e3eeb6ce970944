//! The backend that all hooks of a pod call, and its limits.

use std::{future::Future, pin::Pin};

use http::HeaderValue;
use tokio::sync::mpsc;

use crate::{config::HookSettings, transport::fetch::Client};

/// What proves to the backend that a pod asks.
pub(super) fn authorization(settings: &HookSettings) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", settings.secret.as_ref()?.reveal())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A call to the backend.
pub(super) type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The backend, which all hooks call.
pub(super) struct Backend {
    pub(super) client: Client,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) settings: HookSettings,
    /// To the thread that makes the calls. Its capacity is the number of permits of all hooks.
    pub(super) calls: mpsc::Sender<Call>,
}
