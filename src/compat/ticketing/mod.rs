//! A ticket shop (preset `ticketing`): its names for the pod's metrics, and the gRPC contract that its services call.
//!
//! Always holds: with neither `realtime_metrics` nor `grpc.realtime`, a pod has nothing of this.

mod metrics;
mod service;
pub mod settings;

pub use self::metrics::REALTIME_DESCRIPTIONS;

use std::{collections::BTreeSet, sync::Arc};

use self::{
    metrics::{ALIASES, RealtimeMetrics},
    service::{Realtime, RealtimeCalls},
};
use super::{ExtensionError, Extensions};
use crate::{
    config::{Config, RoomPattern},
    metrics::{DeliveryObserver, Exposition},
};

/// Adds what the settings ask for.
pub(super) fn extend(
    config: &Config,
    exposition: &Exposition,
    extensions: &mut Extensions,
) -> Result<(), ExtensionError> {
    let settings = &config.settings.customers.ticketing;
    let metrics = settings.metrics.realtime_metrics.then(|| {
        exposition.alias(&ALIASES);
        Arc::new(exposition.register(|| RealtimeMetrics::new(&namespaces(config))))
    });
    if let Some(metrics) = &metrics {
        extensions.observe(Arc::clone(metrics) as Arc<dyn DeliveryObserver>)?;
    }
    if settings.service.realtime {
        let (user_room, ack_timeout) = (settings.service.user_room.clone(), settings.service.ack_timeout);
        let everybody_in = everybody_in(config);
        let largest = config.limits.api_body;
        extensions.grpc_services.push(Box::new(move |services, _| {
            let service =
                Realtime::new(Arc::clone(services), user_room, everybody_in.clone(), ack_timeout, metrics.clone());
            Arc::new(RealtimeCalls::new(service, largest, metrics))
        }));
    }
    Ok(())
}

/// The rooms that every connection of some dialect is in: they are the pod's own, and none that a client joined.
fn everybody_in(config: &Config) -> Arc<[Box<str>]> {
    let templates = config.settings.dialects.iter().flat_map(|dialect| &dialect.rooms);
    templates.filter(|template| template.sources().next().is_none()).map(|template| template.as_str().into()).collect()
}

/// The namespaces of rooms that the policies name.
fn namespaces(config: &Config) -> Vec<String> {
    let patterns = config.settings.policies.iter().flat_map(|rule| &rule.patterns);
    let names: BTreeSet<&str> = patterns.filter_map(RoomPattern::namespace).collect();
    names.into_iter().map(str::to_owned).collect()
}
