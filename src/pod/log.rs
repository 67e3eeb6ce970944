//! Which broker a pod has: Redis or a home where the configuration names one, otherwise the embedded one.
//!
//! Never another one while the pod runs. Always holds: all that is asked of a pod's broker is asked of the same one, but for what an edge
//! keeps for itself.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use roomcast_redis_subscriber::{Endpoints, Password, Topology};

use super::start_error::StartError;
use crate::{
    api::Servers,
    auth::Authority,
    broker::{
        Acks, Broker, Condition, Control, Deliver, Erasure, KeyMemory, KeyValue, KeysBesideLog, Presence, UserPlaces,
        UserRecords, memory,
        redis::{Elsewhere, Redis, Settings, Timeouts},
        relay::message::Ancestry,
        upstream::{Upstream, UpstreamSettings},
    },
    config::{self, Config, Policies, RedisKind, UserPresenceSettings},
    hub::{Budget, UserPresence, unix_millis},
    metrics::{Exposition, Metrics, UpstreamMetrics},
    model::LinkStatus,
    transport::trust,
};

/// What each of them is by itself.
trait Store: Broker + Presence + Control + KeyValue + Acks {}

impl<T: Broker + Presence + Control + KeyValue + Acks> Store for T {}

/// A pod's broker.
#[derive(Clone)]
pub(super) enum Log {
    /// In this process.
    Memory(Arc<memory::MemoryBroker>),
    /// Shared by the fleet.
    Redis(Arc<Redis>),
    /// At a home. Beside it what an edge keeps for itself alone: the places of users.
    Home(Arc<Upstream>, Arc<memory::MemoryBroker>),
}

/// What an edge keeps for itself alone has no rooms.
const EDGE_BYTES: usize = 1024 * 1024;

impl Log {
    /// `internal`: the port of the internal listener, if there is one; `budget`: the account of what queues hold.
    pub(super) fn start(
        config: &Config,
        policies: Arc<ArcSwap<Policies>>,
        deliver: Arc<dyn Deliver>,
        exposition: &Exposition,
        internal: Option<u16>,
        plain_messages: Option<Elsewhere>,
        budget: &Arc<Budget>,
    ) -> Result<Self, StartError> {
        let embedded = |max_bytes, policies, deliver| {
            let limits = memory::MemoryLimits { max_bytes, ..memory::MemoryLimits::default() };
            memory::MemoryBroker::new(limits, policies, deliver, Arc::new(unix_millis)).map(Arc::new)
        };
        if let Some(upstream) = &config.upstream {
            let own = embedded(EDGE_BYTES, Arc::clone(&policies), Arc::clone(&deliver))?;
            let metrics = exposition.register(UpstreamMetrics::default);
            let edge = Upstream::start(
                upstream_settings(upstream, advertised(config, internal))?,
                policies,
                deliver,
                metrics,
                Arc::clone(budget) as _,
            )?;
            return Ok(Self::Home(Arc::new(edge), own));
        }
        let Some(redis) = &config.redis else {
            return Ok(Self::Memory(embedded(config.memory_broker.max_bytes, policies, deliver)?));
        };
        let (subscriptions, commands) = exposition.redis();
        let redis = Redis::start(
            settings(config, redis, internal, plain_messages)?,
            policies,
            deliver,
            subscriptions,
            commands,
        )?;
        Ok(Self::Redis(Arc::new(redis)))
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(memory) => Arc::clone(memory) as _,
            Self::Redis(redis) => Arc::clone(redis) as _,
            Self::Home(home, _) => Arc::clone(home) as _,
        }
    }

    pub(super) fn broker(&self) -> Arc<dyn Broker> {
        self.store()
    }

    pub(super) fn presence(&self) -> Arc<dyn Presence> {
        self.store()
    }

    pub(super) fn control(&self) -> Arc<dyn Control> {
        self.store()
    }

    pub(super) fn values(&self) -> Arc<dyn KeyValue> {
        self.store()
    }

    pub(super) fn acks(&self) -> Arc<dyn Acks> {
        self.store()
    }

    pub(super) fn keys(&self) -> Arc<dyn KeyMemory> {
        match self {
            Self::Memory(memory) => Arc::new(memory::key_memory::MemoryKeys(Arc::clone(memory))),
            Self::Redis(_) | Self::Home(..) => Arc::new(KeysBesideLog),
        }
    }

    pub(super) fn erasure(&self) -> Arc<dyn Erasure> {
        match self {
            Self::Memory(memory) => Arc::new(memory::erasure::MemoryErasure(Arc::clone(memory))),
            Self::Redis(redis) => Arc::clone(&redis.erasure),
            Self::Home(home, _) => Arc::clone(home) as _,
        }
    }

    /// The presence of users, if it is switched on. `broker`: by which it is announced.
    pub(super) fn user_presence(
        &self,
        settings: &UserPresenceSettings,
        metrics: &Metrics,
        broker: Arc<dyn Broker>,
    ) -> Option<Arc<UserPresence>> {
        let records: Arc<dyn UserRecords> = match self {
            Self::Memory(memory) => Arc::clone(memory) as _,
            Self::Redis(redis) => Arc::clone(&redis.users),
            // The settings refuse it.
            Self::Home(_, own) => Arc::clone(own) as _,
        };
        let metrics = metrics.statuses.clone();
        UserPresence::new(settings, self.control(), broker, records, metrics).map(Arc::new)
    }

    pub(super) fn places(&self) -> Arc<dyn UserPlaces> {
        Arc::clone(match self {
            Self::Memory(memory) => &memory.places,
            Self::Redis(redis) => &redis.places,
            Self::Home(_, own) => &own.places,
        })
    }

    /// What verifies tokens, with what this broker has to do with them: those that it stores are looked up, and those of users are kept to be
    /// shown to a home.
    pub(super) fn join(&self, authority: Authority, settings: &config::TokenLookUp) -> Authority {
        match self {
            Self::Memory(_) => authority,
            Self::Redis(redis) => authority.with_look_up(Some(Arc::clone(redis) as _), settings),
            Self::Home(home, _) => authority.with_witness(Some(Arc::clone(home) as _)),
        }
    }

    pub(super) fn condition(&self) -> Condition {
        match self {
            Self::Memory(_) => Condition::Well,
            Self::Redis(redis) => redis.condition(),
            Self::Home(home, _) => home.condition(),
        }
    }

    /// How the servers are, whenever it is asked.
    pub(super) fn servers(&self) -> Servers {
        match self.clone() {
            Self::Memory(_) | Self::Home(..) => Box::new(|| None),
            Self::Redis(redis) => Box::new(move || Some(redis.status())),
        }
    }

    /// The links to a home, where there is one.
    pub(super) fn links(&self) -> Option<Vec<LinkStatus>> {
        match self {
            Self::Memory(_) | Self::Redis(_) => None,
            Self::Home(home, _) => Some(home.links(Instant::now())),
        }
    }

    /// The pods between this one and the log, where they are others.
    pub(super) fn ancestry(&self) -> Ancestry {
        match self {
            Self::Memory(_) | Self::Redis(_) => Ancestry::default(),
            Self::Home(home, _) => home.ancestry(),
        }
    }

    /// To be called about once a second.
    pub(super) fn tick(&self) {
        if let Self::Memory(memory) = self {
            memory.sweep();
        }
    }
}

/// Where other pods find this one's internal listener.
fn advertised(config: &Config, internal: Option<u16>) -> Option<String> {
    config.advertise.as_ref().zip(internal).map(|(advertise, port)| advertise.resolved(port))
}

/// What connections to the home are made with.
///
/// # Errors
/// [`StartError::Home`].
pub(super) fn upstream_settings(
    upstream: &config::Upstream,
    advertise: Option<String>,
) -> Result<UpstreamSettings, StartError> {
    let config::Upstream { urls, key, ca, connect_timeout, call_timeout, calls, tail_bytes, token_bytes, peers } =
        upstream;
    let urls: Vec<String> = urls.iter().map(|url| url.as_str().to_owned()).collect();
    let is_tls = urls.iter().any(|url| url.starts_with("wss:"));
    let tls = is_tls.then(|| trust::client_config(ca.as_deref())).transpose().map_err(StartError::Home)?;
    let tls = tls.map(|(tls, _)| Arc::new(tls));
    Ok(UpstreamSettings {
        urls,
        key: key.reveal().to_owned(),
        tls,
        connect_timeout: *connect_timeout,
        call_timeout: *call_timeout,
        calls: *calls,
        tail_bytes: *tail_bytes,
        token_bytes: *token_bytes,
        advertise,
        peers: peers.clone(),
    })
}

/// What the TLS of connections to Redis is made with; `None`: they have none.
///
/// # Errors
/// [`StartError::Trust`].
pub(super) fn redis_tls(redis: &config::Redis) -> Result<Option<rustls::ClientConfig>, StartError> {
    let ca = redis.ca.as_deref();
    Ok(match (&redis.identity, redis.tls) {
        (_, false) => None,
        (None, true) => Some(trust::client_config(ca)?.0),
        (Some((cert, key)), true) => Some(trust::client_config_with_identity(ca, cert, key)?.0),
    })
}

fn settings(
    config: &Config,
    redis: &config::Redis,
    internal: Option<u16>,
    plain_messages: Option<Elsewhere>,
) -> Result<Settings, StartError> {
    let password = |password: &config::RedisPassword| Password::new(password.reveal());
    let tls = redis_tls(redis)?.map(Arc::new);
    let topology = match &redis.kind {
        RedisKind::Server => Topology::Standalone,
        RedisKind::Cluster => Topology::Cluster,
        RedisKind::Sentinel { master, user, password: own } => {
            Topology::Sentinel { master: master.clone(), user: user.clone(), password: own.as_ref().map(password) }
        }
    };
    let endpoints = Endpoints {
        nodes: redis.nodes.clone(),
        topology,
        tls,
        user: redis.user.clone(),
        password: redis.password.as_ref().map(password),
        client_name: "roomcast".to_owned(),
        // Channels are the same in all databases of a server.
        prefix: match redis.database {
            0 => redis.prefix.clone(),
            database => format!("{}:db{database}", redis.prefix),
        },
    };
    let command = redis.command_timeout;
    Ok(Settings {
        database: redis.database,
        detect_cluster: redis.detect_cluster,
        timeouts: Timeouts { connect: redis.connect_timeout, attempt: command * 2 / 5, command },
        lease: redis.lease,
        room_ttl: redis.room_ttl,
        idempotency_age: redis.idempotency_age,
        advertise: advertised(config, internal),
        legacy: config.legacy.as_slice().into(),
        elsewhere: plain_messages,
        ..Settings::new(endpoints)
    })
}
