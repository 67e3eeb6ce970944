//! What a pod answers the others of its fleet.
//!
//! Never asks. Always holds: what cannot be answered is left unanswered, so that the asking pod counts this one as silent.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Instant,
};

use crate::{
    broker::{FleetAnswer, FleetQuestion, Respond},
    hub::{
        absent::whereabouts::Whereabouts,
        users::erase::UserErasure,
        worker::{fleet_lists::FleetLists, services::Services},
    },
    metrics::RareWarning,
};

/// Other pods may ask as often as they like.
static UNANSWERED: RareWarning = RareWarning::new();

/// Answers other pods for as long as the pod lives.
pub struct Spokesman(Weak<Services>);

impl Spokesman {
    /// For a pod.
    #[must_use]
    pub fn new(services: &Arc<Services>) -> Self {
        Self(Arc::downgrade(services))
    }
}

impl Respond for Spokesman {
    fn respond(&self, ask: FleetQuestion) -> Pin<Box<dyn Future<Output = Option<FleetAnswer>> + Send>> {
        let services = self.0.upgrade();
        Box::pin(async move {
            let services = services?;
            let said = match ask {
                FleetQuestion::Order(order) => services.queues.obey(order).await.map(FleetAnswer::Done),
                FleetQuestion::Traffic(room) => {
                    services.traffic(room).await.map(|traffic| FleetAnswer::Traffic(Box::new(traffic)))
                }
                FleetQuestion::Users(users) => {
                    if let Some(presence) = &services.user_presence {
                        presence.changed_elsewhere(&users);
                    }
                    Ok(FleetAnswer::Done(None))
                }
                FleetQuestion::Present(users) => Whereabouts(&services).here(users).await.map(FleetAnswer::Present),
                FleetQuestion::Erase(user) => UserErasure(&services).erase_here(&user).await.map(FleetAnswer::Done),
                FleetQuestion::Connections(query) => FleetLists(&services).tell_connections(&query).await,
                FleetQuestion::Rooms(query) => FleetLists(&services).tell_rooms(&query).await,
                FleetQuestion::Traces(events) => {
                    if let Some(traces) = &services.traces {
                        traces.told_by_another(events);
                    }
                    return None;
                }
                FleetQuestion::Stats => services.stats().await.map(|stats| FleetAnswer::Stats(Box::new(stats))),
            };
            said.inspect_err(|error| {
                if let Some(count) = UNANSWERED.due(Instant::now()) {
                    tracing::warn!(%error, count, "questions of other pods were not answered");
                }
            })
            .ok()
        })
    }
}
