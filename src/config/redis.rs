//! What follows from the keys of `[redis]` together.

use std::{path::PathBuf, time::Duration};

use super::{
    redis_settings::RedisSettings,
    redis_url::{RedisKind, RedisPassword, RedisUrl},
};

/// How the pod uses Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Hosts and ports.
    pub nodes: Vec<(String, u16)>,
    /// What they are.
    pub kind: RedisKind,
    /// Whether a cluster is recognised by itself.
    pub detect_cluster: bool,
    /// With TLS.
    pub tls: bool,
    /// CA certificates beside the system's.
    pub ca: Option<PathBuf>,
    /// The certificate chain that the pod shows, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The ACL user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<RedisPassword>,
    /// The database.
    pub database: u8,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a command with its retries.
    pub command_timeout: Duration,
    /// How long a pod's members count without a sign of it.
    pub lease: Duration,
    /// How long the state of an unused room is kept.
    pub room_ttl: Duration,
    /// How long idempotency keys are known.
    pub idempotency_age: Duration,
    /// Whether the public listeners' `/ready` is 503 while Redis is degraded.
    pub unready_when_degraded: bool,
}

/// The addresses contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RedisUrlsDisagreeError;

impl Redis {
    /// The decisions that follow from the settings; `None`: there is no Redis.
    pub(crate) fn of(settings: &RedisSettings) -> Result<Option<Self>, RedisUrlsDisagreeError> {
        let Some(first) = settings.urls.first() else { return Ok(None) };
        let alike = |url: &RedisUrl| {
            url.tls == first.tls
                && url.kind == first.kind
                && url.user == first.user
                && url.password == first.password
                && url.database == first.database
        };
        if !settings.urls.iter().all(alike) {
            return Err(RedisUrlsDisagreeError);
        }
        let kind = match (&first.kind, settings.cluster) {
            (RedisKind::Sentinel { .. } | RedisKind::Cluster, Some(cluster))
                if cluster != (first.kind == RedisKind::Cluster) =>
            {
                return Err(RedisUrlsDisagreeError);
            }
            (RedisKind::Server, Some(true)) if first.database != 0 => return Err(RedisUrlsDisagreeError),
            (RedisKind::Server, Some(true)) => RedisKind::Cluster,
            (kind, _) => kind.clone(),
        };
        Ok(Some(Self {
            nodes: settings.urls.iter().flat_map(|url| url.nodes.clone()).collect(),
            detect_cluster: kind == RedisKind::Server && settings.cluster.is_none(),
            kind,
            tls: first.tls,
            ca: settings.ca.clone(),
            identity: settings.cert.clone().zip(settings.key.clone()).filter(|_| first.tls),
            user: first.user.clone(),
            password: settings.password.clone().or_else(|| first.password.clone()),
            database: first.database,
            prefix: settings.prefix.clone(),
            connect_timeout: settings.connect_timeout,
            command_timeout: settings.command_timeout,
            lease: settings.lease,
            room_ttl: settings.room_ttl,
            idempotency_age: settings.idempotency_age,
            unready_when_degraded: settings.unready_when_degraded,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{raw::Raw, redis_url::RedisPasswordKind, value::Kind};

    fn settings(urls: &[&str]) -> RedisSettings {
        RedisSettings {
            urls: urls.iter().map(|url| RedisUrl::parse(url).unwrap()).collect(),
            ..RedisSettings::default()
        }
    }

    #[test]
    fn addresses_must_agree() {
        assert_eq!(Redis::of(&settings(&[])), Ok(None));
        let both = Redis::of(&settings(&["redis://:x@a", "redis://:x@b:7"])).unwrap().unwrap();
        assert_eq!((both.nodes.len(), both.kind, both.detect_cluster), (2, RedisKind::Server, true));
        for other in ["redis://:x@b/1", "rediss://:x@b", "redis://:y@b", "redis-cluster://:x@b", "redis://u:x@b"] {
            assert_eq!(Redis::of(&settings(&["redis://:x@a", other])), Err(RedisUrlsDisagreeError), "{other}");
        }
        let cluster = RedisSettings { cluster: Some(true), ..settings(&["redis://a"]) };
        assert_eq!(Redis::of(&cluster).unwrap().unwrap().kind, RedisKind::Cluster);
        let numbered = RedisSettings { cluster: Some(true), ..settings(&["redis://a/1"]) };
        assert_eq!(Redis::of(&numbered), Err(RedisUrlsDisagreeError));
        let not = RedisSettings { cluster: Some(false), ..settings(&["redis-cluster://a"]) };
        assert_eq!(Redis::of(&not), Err(RedisUrlsDisagreeError));
        let password = RedisSettings {
            password: Some(RedisPasswordKind.parse(&Raw::Text("other".to_owned())).unwrap()),
            ..settings(&["redis://:x@a"])
        };
        assert_eq!(
            Redis::of(&password).unwrap().unwrap().password.map(|p| p.reveal().to_owned()).as_deref(),
            Some("other")
        );
    }
}
