//! Settings that no pod could run with: something is missing, or two of them contradict each other.

use std::net::SocketAddr;

/// Why no pod could run with the settings. Each error says what to set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A certificate without its key.
    #[error("`cert` is set but `key` is not: set `key` (--key FILE, ROOMCAST_KEY) to the certificate's private key")]
    Key,
    /// A key without its certificate.
    #[error("`key` is set but `cert` is not: set `cert` (--cert FILE, ROOMCAST_CERT) to the certificate chain")]
    Cert,
    /// More ticket keys than a rotation needs.
    #[error(
        "`tls.ticket_keys` has {0} files, and at most 4 are taken: the key that makes tickets, the one before it and the next one"
    )]
    TicketKeys(usize),
    /// A TLS listener without a certificate.
    #[error(
        "`listen` is set, but a TLS listener needs a certificate: set `cert` and `key` (--cert FILE --key FILE), \
         or listen without TLS with `plain_listen` (--plain-listen ADDR), or use development mode (--dev)"
    )]
    Certificate,
    /// No listener for clients.
    #[error(
        "there is no listener for clients: set `cert` and `key` (--cert FILE --key FILE) for a TLS listener, \
         or `plain_listen` (--plain-listen ADDR) for one without, or use development mode (--dev)"
    )]
    Listener,
    /// Two kinds of listeners at one port.
    #[error(
        "`{0}` and `{1}` both listen on port {2}, so that what connects for one could reach the other: give each a port of its own"
    )]
    SharedPort(&'static str, &'static str, u16),
    /// One address twice.
    #[error("`{0}` has the address {1} twice: leave one of the two out, or give it the address that was meant")]
    RepeatedAddress(&'static str, SocketAddr),
    /// No client could join.
    #[error(
        "no client could join: set `anonymous = true` (--anonymous, ROOMCAST_ANONYMOUS) to let clients in without a token, \
         or the keys of their tokens: `tokens.public_keys`, `tokens.jwks_url`, `tokens.jwks_file` \
         or `tokens.hmac_secrets` (ROOMCAST_TOKENS_HMAC_SECRETS), or ask a backend: `hooks.connect`, \
         or use development mode (--dev)"
    )]
    Audience,
    /// Addresses of Redis that contradict each other.
    #[error(
        "the addresses in `redis.urls` (--redis) contradict each other or `redis.cluster`: scheme, user, password and \
         database must be the same in all, and `redis.cluster` must fit the scheme; a cluster has no database but 0"
    )]
    Redis,
    /// A certificate for Redis without its key, the reverse, or both without TLS.
    #[error(
        "`redis.cert` and `redis.key` (--redis-cert FILE --redis-key FILE) belong together and to addresses with TLS: set both or \
         none, and write the addresses in `redis.urls` as rediss://"
    )]
    RedisCertificate,
    /// A certificate for gRPC without its key, or none.
    #[error(
        "`grpc.tls`, `grpc.cert` and `grpc.key` do not fit: for TLS set `grpc.tls = true` and either both files \
         (`grpc.cert`, `grpc.key`) or those of the public listeners (`cert`, `key`); for none set none of them"
    )]
    GrpcCertificate,
    /// Edges over TLS without a certificate.
    #[error(
        "`relay.listen` takes edges over TLS, but there is no certificate: set `cert` and `key`, or `relay.tls = false` where the way \
         to the edges is protected otherwise"
    )]
    RelayCertificate,
    /// Edges are to show tokens that no key verifies.
    #[error(
        "`relay.verify_users` is true, but no key of `tokens` is set: nothing that edges do in a user's name could be allowed; give this \
         pod the keys of the tokens that its edges take (`tokens.public_keys`, `tokens.jwks_url` or `tokens.jwks_file`)"
    )]
    RelayUsers,
    /// What does not go with a home, in a sentence.
    #[error("{0}")]
    Upstream(&'static str),
    /// Tokens are looked up without Redis.
    #[error("`token_lookup.key` looks tokens up in Redis, but no Redis is set: set `redis.urls` (--redis URL)")]
    LookUp,
    /// A policy with a hook that is not set.
    #[error("a policy has `{0}_hook = true`, but no hook is set: set `hooks.{0}` to the URL of a backend")]
    Hook(&'static str),
    /// Two dialects with one name or path.
    #[error("two `[[dialect]]` have the same name or path, {0:?}: a path is one dialect's, and so is a name")]
    Dialect(String),
    /// A dialect that no namespace speaks.
    #[error(
        "the `[[dialect]]` {0:?} is for Socket.IO, but no namespace speaks it: set `socketio.enabled = true`, and `paths` to some of \
         `socketio.namespaces`"
    )]
    Namespace(String),
    /// Claims that are not kept.
    #[error(
        "the `[[dialect]]` {0:?} names claims of tokens (`{{claim:…}}`), but they are not kept: set `tokens.keep_claims = true`"
    )]
    Claims(String),
    /// A log that rooms cannot share.
    #[error("{0}")]
    Log(String),
    /// What a customer's settings lack, in a sentence.
    #[error("{0}")]
    Customer(&'static str),
    /// Rooms are archived, and there is no database.
    #[error(
        "a policy has `archive = \"postgres\"`, but there is no PostgreSQL: set `archive.url` (--archive-url URL, ROOMCAST_ARCHIVE_URL)"
    )]
    Archive,
    /// An archived room shares its log.
    #[error("a policy has `archive` and `log`: a room that shares its log cannot be archived; leave one of them out")]
    ArchiveLog,
    /// What is pending could not be told from what is forgotten.
    #[error(
        "`archive.repair_after` is {after:?}, which is not below half of the {known:?} for which a publish is known \
         (`redis.idempotency_age`): a pending event would be too old before any pod looks after it"
    )]
    ArchiveRepair {
        /// `archive.repair_after`.
        after: std::time::Duration,
        /// How long a key is known.
        known: std::time::Duration,
    },
    /// Plain messages without Redis.
    #[error("`[[legacy]]` takes messages from Redis, but no Redis is set: set `redis.urls` (--redis URL)")]
    Legacy,
}
