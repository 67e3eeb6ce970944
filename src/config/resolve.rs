//! From what was set to what the pod does: the rules between keys, development mode above all. Pure.

use std::path::PathBuf;

use super::{
    acks::AckSettings,
    address::{Advertise, Bind, ListenAddress, repeated_addresses, shared_ports},
    addresses::AddressSettings,
    api_key::ApiKey,
    archive::ArchiveSettings,
    compression::Compression,
    customer::{CoreFacts, CustomerSettings},
    drain::Drain,
    grpc::Grpc,
    hooks::HookSettings,
    legacy::Legacy,
    logging::{LogFormat, LogLevel},
    look_up::TokenLookUp,
    machine::Machine,
    memory_broker::MemoryBroker,
    memory_ceiling::MemoryCeiling,
    origins::{OriginPattern, Origins},
    policies::{Policies, demo_rules, shared_logs},
    record_layer::RecordLayer,
    redis::{Redis, RedisUrlsDisagreeError},
    relay::Relay,
    settings::{Limits, Settings, Socket, Timeouts},
    settings_error::SettingsError,
    socketio::SocketIoSettings,
    tls::Tls,
    token_settings::TokenSettings,
    upstream::Upstream,
    user_presence::UserPresenceSettings,
    warnings::{absent, edges, memory, proxies, redis_parameters, rooms, tokens, unused_policies},
    webtransport::WebTransport,
};
use crate::dialect::{Description, Envelope};

/// Files that a pod has open beside its connections: 256 of its own (listeners, logs, the API, Redis), and 256 at least for sockets
/// that are no connections, so that a full pod can still say so.
const RESERVED_FILES: u64 = 512;

/// More connections than this have never been tried on one pod.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// What the pod does. Everything is decided: nothing in here stands for a default.
#[derive(Debug, Clone)]
pub struct Config {
    /// Development mode.
    pub dev: bool,
    /// TLS listeners; empty without a certificate.
    pub listen: Vec<Bind>,
    /// Listeners without TLS.
    pub plain_listen: Vec<Bind>,
    /// Listeners of the API, health and metrics.
    pub internal_listen: Vec<Bind>,
    /// The API over gRPC.
    pub grpc: Grpc,
    /// Where other pods find the internal listener; `None`: they do not.
    pub advertise: Option<Advertise>,
    /// Where the certificate comes from; `None`: no TLS.
    pub tls: Option<Tls>,
    /// What seals the records of established TLS 1.3 connections.
    pub tls_records: RecordLayer,
    /// The files with the keys of TLS tickets; empty: this pod makes its own.
    pub ticket_keys: Vec<PathBuf>,
    /// Keys of the API; empty: it refuses every call.
    pub api_keys: Vec<ApiKey>,
    /// Whether this process made the API key, and must print it.
    pub api_key_generated: bool,
    /// Which pages may connect.
    pub origins: Origins,
    /// Whether clients without a token may connect.
    pub anonymous: bool,
    /// Whether there is a page at `/`.
    pub page: bool,
    /// Whether the public listeners answer for health.
    pub public_health: bool,
    /// Whether they show the metrics.
    pub public_metrics: bool,
    /// Whether the internal ones do.
    pub internal_metrics: bool,
    /// The most connections.
    pub max_connections: usize,
    /// The most bytes that queues may really hold.
    pub memory_budget: usize,
    /// How much the whole process may use.
    pub memory_ceiling: MemoryCeiling,
    /// Threads that serve connections.
    pub workers: usize,
    /// How log lines look.
    pub log: LogFormat,
    /// The least important lines that are written.
    pub log_level: LogLevel,
    /// What one connection may do.
    pub limits: Limits,
    /// How long the pod waits.
    pub timeouts: Timeouts,
    /// What happens on SIGTERM.
    pub drain: Drain,
    /// How far users have read.
    pub acks: AckSettings,
    /// Which addresses clients have, and how much each may do.
    pub addresses: AddressSettings,
    /// The sockets of connections.
    pub socket: Socket,
    /// Which tokens are good.
    pub tokens: TokenSettings,
    /// Tokens that are kept in Redis.
    pub token_lookup: TokenLookUp,
    /// A backend that decides.
    pub hooks: HookSettings,
    /// WebTransport, on the addresses of `listen`.
    pub webtransport: WebTransport,
    /// Compression of broadcasts.
    pub compression: Compression,
    /// Socket.IO.
    pub socketio: SocketIoSettings,
    /// The presence of users.
    pub user_presence: UserPresenceSettings,
    /// The embedded broker, where there is no Redis.
    pub memory_broker: MemoryBroker,
    /// Redis; `None`: the embedded broker, or a home.
    pub redis: Option<Redis>,
    /// Edges that follow this pod.
    pub relay: Relay,
    /// The home that this pod is an edge of; `None`: it is none.
    pub upstream: Option<Upstream>,
    /// What rooms keep in PostgreSQL.
    pub archive: ArchiveSettings,
    /// Plain messages that are taken in.
    pub legacy: Vec<Legacy>,
    /// The dialects that are described.
    pub dialects: Vec<Description>,
    /// How rooms behave.
    pub policies: Policies,
    /// What the operator should know: worth a log line each.
    pub warnings: Vec<String>,
    /// What was set, for comparing after a reload.
    pub settings: Settings,
}

/// Applies the rules between keys.
///
/// Without a certificate (and unless `dev` says otherwise) the pod is in development mode: it listens on loopback
/// addresses unless told otherwise, also without TLS, lets in pages of this machine and anonymous clients, and makes
/// its certificate and an API key. Outside of development mode the pod makes nothing, and it accepts only the clients that the
/// settings allow.
///
/// # Errors
/// Everything that is [`SettingsError`].
pub fn resolve(settings: Settings, machine: &Machine) -> Result<Config, Vec<SettingsError>> {
    let general = &settings.general;
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let dev = general.dev.unwrap_or(general.cert.is_none() && general.key.is_none());

    let tls = match (&general.cert, &general.key) {
        (Some(cert), Some(key)) => Some(Tls::Files { cert: cert.clone(), key: key.clone() }),
        (Some(_), None) => {
            errors.push(SettingsError::Key);
            None
        }
        (None, Some(_)) => {
            errors.push(SettingsError::Cert);
            None
        }
        (None, None) if dev => {
            let state_dir = general.state_dir.clone().or_else(|| machine.state_dir.clone());
            Some(Tls::Development { state_dir })
        }
        (None, None) => None,
    };

    errors.extend(settings.tls.too_many_ticket_keys());
    let by_mode = |set: &Option<Vec<ListenAddress>>, development, otherwise: Option<ListenAddress>| match set {
        Some(set) => set.clone(),
        None if dev => vec![ListenAddress::Localhost(development)],
        None => otherwise.into_iter().collect(),
    };
    let everywhere = ListenAddress::Ip((std::net::Ipv6Addr::UNSPECIFIED, 8443).into());
    let listen = by_mode(&general.listen, 8443, tls.is_some().then_some(everywhere));
    let plain_listen = by_mode(&general.plain_listen, 8080, None);
    if errors.is_empty() {
        if tls.is_none() && !listen.is_empty() {
            errors.push(SettingsError::Certificate);
        } else if listen.is_empty() && plain_listen.is_empty() {
            errors.push(SettingsError::Listener);
        }
    }
    let binds = |addresses: &[ListenAddress]| addresses.iter().flat_map(|address| address.binds()).collect::<Vec<_>>();
    let (listen, plain_listen) = (binds(&listen), binds(&plain_listen));
    let internal_listen = binds(&general.internal_listen);
    if dev {
        for bind in listen.iter().chain(&plain_listen).filter(|bind| !bind.address.ip().is_loopback()) {
            warnings.push(format!(
                "development mode listens on {}: every client that reaches it may join without a token",
                bind.address
            ));
        }
    }

    if let Some(advertise) = &general.advertise
        && internal_listen.iter().all(|bind| bind.address.ip().is_loopback())
        && !(advertise.host == "localhost" || advertise.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()))
    {
        warnings.push(format!(
            "`advertise` is {advertise}, but `internal_listen` takes connections of this machine only: other pods will not \
             reach it"
        ));
    }

    let anonymous = general.anonymous.unwrap_or(dev);
    let judged = settings.tokens.has_keys() || settings.token_lookup.key.is_some() || settings.hooks.connect.is_some();
    if !anonymous && !judged {
        if dev {
            warnings.push("`anonymous` is false and `tokens` has no key, so no client can join".to_owned());
        } else {
            errors.push(SettingsError::Audience);
        }
    }

    let api_key_generated = dev && general.api_keys.is_none();
    let api_keys = match &general.api_keys {
        Some(keys) => keys.iter().flatten().cloned().collect(),
        None if dev => vec![machine.api_key.clone()],
        None => Vec::new(),
    };
    if api_keys.is_empty() {
        warnings.push(
            "there is no API key, so the HTTP publish API refuses every call: \
             set `api_keys` (--api-key KEY, ROOMCAST_API_KEY)"
                .to_owned(),
        );
    }

    let mut origins = general.origins.clone();
    if dev {
        origins.extend(OriginPattern::loopback());
    }
    if origins.is_empty() {
        warnings.push(
            "`origins` is empty, so no web page can connect: set it (--origin https://app.example.com, ROOMCAST_ORIGIN)"
                .to_owned(),
        );
    }

    let possible = machine.open_files.saturating_sub(RESERVED_FILES).clamp(1, MOST_CONNECTIONS);
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    let max_connections = general.max_connections.unwrap_or(possible);
    if max_connections > possible {
        warnings.push(format!(
            "`max_connections` is {max_connections}, but the open-file limit allows about {possible}: raise it (ulimit -Hn)"
        ));
    }

    let WebTransport { enabled, idle, keep_alive, .. } = &settings.webtransport;
    if *enabled && keep_alive >= idle {
        warnings.push(format!(
            "`webtransport.keep_alive` is {keep_alive:?}, but `webtransport.idle` ends a session after {idle:?} without a \
             packet: quiet clients are lost; set it to less than half of that"
        ));
    }

    let memory_budget = general.memory_budget.unwrap_or_else(|| machine.memory.budget());
    let max_bytes = settings.memory_broker.max_bytes.min(machine.memory.bytes / 4);
    warnings.extend(memory(&settings, &machine.memory));
    warnings.extend(rooms(&settings).into_iter().chain(settings.traces.warning()));
    warnings.extend(proxies(&settings).into_iter().chain(absent(&settings)).chain(redis_parameters(&settings)));
    warnings.extend(unused_policies(&settings.policies));

    let grpc = settings.grpc.decide(tls.as_ref(), general.api_keys.is_some(), &mut errors, &mut warnings);
    let relay = settings.relay.decide(tls.as_ref(), &settings.tokens, &mut errors, &mut warnings);
    let Settings { redis: with_redis, tokens: with_tokens, user_presence: presence, archive, .. } = &settings;
    let upstream = settings.upstream.decide(with_redis, with_tokens, presence, archive, &mut errors);
    warnings.extend(edges(&settings));
    let listeners: [&[Bind]; 5] = [&listen, &plain_listen, &internal_listen, &grpc.listen, &relay.listen];
    errors
        .extend(shared_ports(listeners).into_iter().map(|(one, two, port)| SettingsError::SharedPort(one, two, port)));
    errors.extend(
        repeated_addresses(listeners).into_iter().map(|(key, twice)| SettingsError::RepeatedAddress(key, twice)),
    );
    let redis = Redis::of(&settings.redis).unwrap_or_else(|RedisUrlsDisagreeError| {
        errors.push(SettingsError::Redis);
        None
    });
    let shows_certificate = settings.redis.cert.is_some();
    let has_certificate = redis.as_ref().is_some_and(|redis| redis.identity.is_some());
    if settings.redis.key.is_some() != shows_certificate || (shows_certificate && redis.is_some() && !has_certificate) {
        errors.push(SettingsError::RedisCertificate);
    }
    if redis.is_none() && settings.token_lookup.key.is_some() && settings.redis.urls.is_empty() {
        errors.push(SettingsError::LookUp);
    }
    if redis.is_none() && !settings.legacy.is_empty() && settings.redis.urls.is_empty() {
        errors.push(SettingsError::Legacy);
    }
    let every_policy = settings.policies.iter().map(|rule| &rule.policy).chain([&settings.default_policy]);
    settings.hooks.check(every_policy.clone(), &mut errors, &mut warnings);
    let is_edge = !settings.upstream.urls.is_empty();
    settings.archive.check(every_policy, settings.redis.idempotency_age, is_edge, &mut errors, &mut warnings);
    let core = CoreFacts {
        has_redis: redis.is_some() || !settings.redis.urls.is_empty(),
        looks_tokens_up: settings.token_lookup.key.is_some(),
    };
    settings.customers.check(&core, &mut errors, &mut warnings);
    for dialect in settings.dialects.iter().filter(|dialect| dialect.envelope == Envelope::Socketio) {
        let spoken = settings.socketio.enabled && settings.socketio.namespaces.iter().any(|name| dialect.is_for(name));
        if !spoken {
            errors.push(SettingsError::Namespace(dialect.name.clone()));
        }
    }
    if !settings.tokens.keep_claims && settings.token_lookup.key.is_none() {
        let names = settings.dialects.iter().filter(|dialect| dialect.names_claims());
        errors.extend(names.map(|dialect| SettingsError::Claims(dialect.name.clone())));
    }
    let named = settings.dialects.iter().flat_map(|dialect| {
        let requests = dialect.requests.iter().map(|request| &request.path);
        let http = dialect.poll_paths.iter().chain(&dialect.send_paths).chain(requests);
        dialect.paths.iter().chain(http).chain([&dialect.name])
    });
    let mut seen = std::collections::HashSet::from(["native", "/poll", "/events", "/send"]);
    errors.extend(named.filter(|name| !seen.insert(name)).cloned().map(SettingsError::Dialect));
    let mut rules: Vec<_> = settings
        .policies
        .iter()
        .map(|rule| (rule.patterns.iter().map(|pattern| pattern.matcher().clone()).collect(), rule.policy.clone()))
        .collect();
    if dev {
        rules.extend(demo_rules(&settings.default_policy));
    }
    let policies = Policies::new(rules, settings.default_policy.clone());
    let all = settings.policies.iter().map(|rule| &rule.policy).chain([&settings.default_policy]);
    errors.extend(shared_logs(&policies, all).into_iter().map(SettingsError::Log));
    if !errors.is_empty() {
        return Err(errors);
    }
    warnings.extend(tokens(&settings.tokens, &policies));
    warnings.extend(settings.user_presence.warnings(&policies));
    Ok(Config {
        dev,
        listen,
        plain_listen,
        internal_listen,
        grpc,
        advertise: general.advertise.clone(),
        tls,
        tls_records: settings.tls.records,
        ticket_keys: settings.tls.ticket_keys.clone(),
        api_keys,
        api_key_generated,
        origins: Origins::new(origins),
        anonymous,
        page: general.page.unwrap_or(dev),
        public_health: general.public_health,
        public_metrics: general.public_metrics,
        internal_metrics: general.internal_metrics,
        max_connections,
        memory_budget,
        memory_ceiling: machine.memory.clone(),
        workers: general.workers.unwrap_or(machine.cores.max(1)),
        log: general.log.unwrap_or(if dev { LogFormat::Text } else { LogFormat::Json }),
        log_level: general.log_level,
        limits: settings.limits.clone(),
        acks: settings.acks.clone(),
        addresses: settings.addresses.clone(),
        timeouts: settings.timeouts.clone(),
        drain: Drain::of(&settings.drain, dev),
        socket: settings.socket.clone(),
        tokens: settings.tokens.clone(),
        webtransport: settings.webtransport.clone(),
        token_lookup: settings.token_lookup.clone(),
        hooks: settings.hooks.clone(),
        compression: settings.compression.clone(),
        socketio: settings.socketio.clone(),
        user_presence: settings.user_presence.clone(),
        memory_broker: MemoryBroker { max_bytes },
        redis,
        relay,
        upstream,
        archive: settings.archive.clone(),
        legacy: settings.legacy.clone(),
        dialects: settings.dialects.clone(),
        policies,
        warnings,
        settings,
    })
}

#[cfg(test)]
mod tests;
