//! The keys of `[redis]`. What follows from them together is in [`redis`](super::redis).

use std::{path::PathBuf, time::Duration};

use super::{
    redis_url::{KeyPrefix, RedisPassword, RedisPasswordKind, RedisUrl, RedisUrlKind},
    section::section,
    value::{File, List, Maybe, OrWord, SHORTEST, Switch, Time},
};

section! {
    /// Redis or Valkey, in which the pods of a fleet share their rooms. Without an address a pod is alone.
    pub struct RedisSettings in "redis" {
        /// Where Redis is: a server, some nodes of a cluster (the others are found), or sentinels. Version 7 or newer.
        urls: Vec<RedisUrl> = Vec::new(), List(RedisUrlKind), restart, flag_is("redis"), secret(),
            unset("none: the embedded broker", "[\"redis://localhost:6379\"]");
        /// The password, if it should not stand in an address.
        password: Option<RedisPassword> = None, Maybe(RedisPasswordKind), restart, secret(), unset("none, or that of the address", "\"${REDIS_PASSWORD}\"");
        /// Whether the servers are a cluster. `auto`: they are asked.
        cluster: Option<bool> = None, OrWord("auto", Switch), restart;
        /// What the names of all keys and channels begin with: fleets with different prefixes share one Redis unseen.
        prefix: String = "roomcast".to_owned(), KeyPrefix, restart;
        /// CA certificates that the servers are trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/redis-ca.pem\"");
        /// The certificate chain that the pod shows to servers which ask for one (`tls-auth-clients`), PEM. To sentinels too.
        cert: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/redis/tls.crt\"");
        /// The private key of `redis.cert`, PEM, not encrypted.
        key: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/redis/tls.key\"");
        /// For a connection to a server, TLS included.
        connect_timeout: Duration = Duration::from_secs(1), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// For a command with its retries; then a publish is answered with 503 or, if it may have been carried out, 504.
        command_timeout: Duration = Duration::from_secs(5), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// How long the members of a pod that died are still listed. It says every quarter of this that it lives.
        lease: Duration = Duration::from_secs(10), Time(Duration::from_secs(1)..=Duration::from_secs(3600)), restart;
        /// How long the epoch and the retained values of an unused room are kept: a room without members and publishers.
        room_ttl: Duration = Duration::from_secs(7 * 86_400), Time(Duration::from_secs(60)..=Duration::from_secs(365 * 86_400)), restart;
        /// How long a repeated idempotency key is known.
        idempotency_age: Duration = Duration::from_secs(300), Time(Duration::from_secs(1)..=Duration::from_secs(86_400)), restart;
        /// Whether `/ready` on the public listeners (`public_health`) says 503 while Redis is degraded, for callers that know it so. The
        /// internal listeners never do: all pods would leave at once.
        unready_when_degraded: bool = false, Switch, live;
    }
}
