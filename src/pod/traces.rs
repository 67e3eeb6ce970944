//! The traces of a pod, and the thread that sends them.
//!
//! Always holds: it ends with the pod, and sends what is left before.

use std::{sync::Arc, thread::JoinHandle};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    phase::{Phase, end_of},
    start_error::StartError,
};
use crate::{
    broker::Control,
    config::{Config, Policies},
    hub::Services,
    metrics::{Exposition, TraceMetrics},
    traces::{TraceExporter, TraceTeller, Tracer},
};

/// What publishes and fan-outs hand in to; `None`: nothing is traced.
pub(super) fn tracer(
    config: &Config,
    policies: &Arc<ArcSwap<Policies>>,
    exposition: &Exposition,
) -> Option<Arc<Tracer>> {
    Tracer::of(&config.settings.traces, config.redis.is_some(), policies, || exposition.register(TraceMetrics::default))
}

/// Starts the thread that sends, and tells the other pods over `control`, if anything is traced.
pub(super) fn start(
    services: &Services,
    control: Arc<dyn Control>,
    mut phase: watch::Receiver<Phase>,
) -> Result<Option<JoinHandle<()>>, StartError> {
    let Some(tracer) = services.traces.clone() else { return Ok(None) };
    let config = services.config.load();
    let teller = TraceTeller::new(Arc::clone(&tracer), control);
    let Some(mut exporter) = TraceExporter::new(tracer, &config.settings.traces, services.control.pod())? else {
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("traces".into()).spawn(move || {
        runtime.block_on(async move {
            let end = async move { end_of(&mut phase).await };
            tokio::select! {
                () = exporter.run(end) => {}
                () = teller.run() => {}
            }
        });
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(Some(thread))
}
