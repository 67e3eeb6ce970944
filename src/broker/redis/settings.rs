//! How a pod uses Redis.

use std::{sync::Arc, time::Duration};

use roomcast_redis_subscriber::Endpoints;

use super::connection::Timeouts;
use crate::{
    broker::PlainMessageSink,
    config::{ChannelPattern, Legacy},
};

/// How a pod uses Redis.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is. The fleet's keys begin with its prefix.
    pub endpoints: Endpoints,
    /// The database of commands. Channels belong to none: fleets in two databases need two prefixes.
    pub database: u8,
    /// Whether a server that `endpoints` call standalone is asked whether it is a cluster.
    pub detect_cluster: bool,
    /// How long commands may take.
    pub timeouts: Timeouts,
    /// How long a pod's members count without a sign of the pod.
    pub lease: Duration,
    /// How long a room without members and publishes is known.
    pub room_ttl: Duration,
    /// How long a publisher's idempotency key is known.
    pub idempotency_age: Duration,
    /// How often each room is compared with its log.
    pub compare_every: Duration,
    /// Where other pods find this one's internal listener, as `HOST:PORT`; `None`: nowhere.
    pub advertise: Option<String>,
    /// Which plain messages of other publishers are taken in.
    pub legacy: Arc<[Legacy]>,
    /// Plain messages that become no events.
    pub elsewhere: Option<Elsewhere>,
}

/// Plain messages that become no events.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// The channels that they come on.
    pub channels: Arc<[ChannelPattern]>,
    /// Where they go.
    pub sink: Arc<dyn PlainMessageSink>,
}

impl Settings {
    /// Every channel on which plain messages are heard.
    pub(super) fn heard(&self) -> impl Iterator<Item = &ChannelPattern> {
        let events = self.legacy.iter().flat_map(|legacy| &legacy.channels);
        events.chain(self.elsewhere.iter().flat_map(|elsewhere| elsewhere.channels.iter()))
    }

    /// The defaults, with the Redis at `endpoints`.
    #[must_use]
    pub fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            database: 0,
            detect_cluster: false,
            timeouts: Timeouts::default(),
            lease: Duration::from_secs(10),
            room_ttl: Duration::from_secs(7 * 86_400),
            idempotency_age: Duration::from_secs(300),
            compare_every: Duration::from_secs(30),
            advertise: None,
            legacy: Arc::default(),
            elsewhere: None,
        }
    }
}
