//! `[upstream]`: the home that this pod is an edge of.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use http::Uri;

use super::{
    api_key::{ApiKey, ApiKeyKind},
    archive::ArchiveSettings,
    network::{Network, NetworkKind},
    redis_settings::RedisSettings,
    section::section,
    settings_error::SettingsError,
    token_settings::TokenSettings,
    user_presence::UserPresenceSettings,
    value::{Bytes, Count, File, GIB, List, MIB, Maybe, SHORTEST, TextKind, Time},
};

section! {
    /// The home that this pod is an edge of: a pod, or a fleet, with `[relay]`. An edge has no Redis and no log of its own.
    pub struct UpstreamSection in "upstream" {
        /// The home's pods. Each room goes over one of them; where one cannot be reached, its rooms go over the others.
        urls: Vec<UpstreamUrl> = Vec::new(), List(UpstreamUrlKind), restart, flag_is("upstream"),
            unset("none: this pod is no edge", "[\"wss://home-0.example.com:9443\", \"wss://home-1.example.com:9443\"]");
        /// The key that this edge shows: one of the home's `relay.keys`.
        key: Option<Option<ApiKey>> = None, Maybe(ApiKeyKind), restart, secret(), unset("none", "\"${EDGE_KEY}\"");
        /// CA certificates that the home is trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/home-ca.pem\"");
        /// For a connection to the home, TLS included.
        connect_timeout: Duration = Duration::from_secs(3), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// For what the home is asked; then a publish is answered with 503 or, if it may have been carried out, 504.
        call_timeout: Duration = Duration::from_secs(5), Time(SHORTEST..=Duration::from_secs(60)), restart;
        /// The most questions to the home under way. One more is refused (503).
        calls: usize = 4_096, Count(1..=1_000_000), restart;
        /// The most bytes of the newest events of all followed rooms, by which clients that join or come back are served here. Of each
        /// room as much is kept as its policy keeps; at the limit the room that has had them longest loses them.
        tail_bytes: usize = 64 * MIB, Bytes(0..=64 * GIB), restart;
        /// The most bytes of users' tokens that are kept to be shown to the home (`relay.verify_users` there), about 200 more than the token
        /// has for each user. At the limit the token that was used longest ago goes: what its user publishes is refused until it connects anew.
        token_bytes: usize = 128 * MIB, Bytes(MIB..=64 * GIB), restart;
        /// The networks in which the other edges of this region are. A polling request of a Socket.IO session of theirs is handed over to the one
        /// that has it, where both have `advertise` and one `socketio.secret`: then nothing needs sticky sessions. Empty: nothing is handed over.
        peers: Vec<Network> = Vec::new(), List(NetworkKind), restart;
    }
}

/// The address of a home's pod. Always holds: nothing on the path can read the key (wss, or this machine).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl(String);

impl UpstreamUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Err("it has a user or a password in it: set `upstream.key`".to_owned());
        }
        let uri: Uri = text.parse().map_err(|error| format!("it is not a URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("it is not a URL with a scheme and a host".to_owned());
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it has a path: a home is `wss://HOST:PORT`".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match scheme {
            "wss" => Ok(Self(text.trim_end_matches('/').to_owned())),
            "ws" if loopback => Ok(Self(text.trim_end_matches('/').to_owned())),
            "ws" => Err("over ws, anything on the path can read the key: use wss".to_owned()),
            _ => Err("it is neither wss nor ws".to_owned()),
        }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// [`UpstreamUrl`] as a value of a key.
pub(crate) struct UpstreamUrlKind;

impl TextKind for UpstreamUrlKind {
    type Value = UpstreamUrl;
    const NAME: &'static str = "URL";
    const ALLOWED: &'static str = "`wss://HOST:PORT`; `ws://` on this machine's loopback addresses only";

    fn read(&self, text: &str) -> Result<UpstreamUrl, String> {
        UpstreamUrl::parse(text)
    }

    fn write(&self, value: &UpstreamUrl) -> String {
        value.0.clone()
    }
}

/// A home, decided.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its pods.
    pub urls: Vec<UpstreamUrl>,
    /// The key to show.
    pub key: ApiKey,
    /// CA certificates beside the system's.
    pub ca: Option<PathBuf>,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a question with its repetitions.
    pub call_timeout: Duration,
    /// The most questions under way.
    pub calls: usize,
    /// The most bytes of the newest events.
    pub tail_bytes: usize,
    /// The most bytes of users' tokens.
    pub token_bytes: usize,
    /// Where other edges are.
    pub peers: Vec<Network>,
}

impl UpstreamSection {
    /// What follows from it; `None`: this pod is no edge.
    pub(super) fn decide(
        &self,
        redis: &RedisSettings,
        tokens: &TokenSettings,
        presence: &UserPresenceSettings,
        archive: &ArchiveSettings,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Upstream> {
        if self.urls.is_empty() {
            return None;
        }
        let mut refuse = |is_so: bool, why| {
            if is_so {
                errors.push(SettingsError::Upstream(why));
            }
        };
        refuse(
            !redis.urls.is_empty(),
            "`upstream.urls` and `redis.urls` are both set: an edge keeps nothing of its own, its rooms are its home's; leave one out",
        );
        refuse(
            !tokens.hmac_secrets.is_empty(),
            "`upstream.urls` and `tokens.hmac_secrets` are both set: with such a \
             secret an edge that is taken over could make any token; give edges public keys only: `tokens.public_keys`, `tokens.jwks_url` or `tokens.jwks_file`",
        );
        refuse(
            presence.room.is_some(),
            "`upstream.urls` and `user_presence.room` are both set: the presence of users does not reach over edges yet",
        );
        refuse(
            archive.url.is_some(),
            "`upstream.urls` and `archive.url` are both set: an edge's rooms are its home's, which archives them; leave `archive.url` \
             out at the edge",
        );
        let key = self.key.clone().flatten();
        refuse(
            key.is_none(),
            "`upstream.urls` is set but `upstream.key` is not: set it (ROOMCAST_UPSTREAM_KEY) to one of the home's `relay.keys`",
        );
        Some(Upstream {
            urls: self.urls.clone(),
            key: key?,
            ca: self.ca.clone(),
            connect_timeout: self.connect_timeout,
            call_timeout: self.call_timeout,
            calls: self.calls,
            tail_bytes: self.tail_bytes,
            token_bytes: self.token_bytes,
            peers: self.peers.clone(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{HmacSecret, PersonalRoom, PostgresUrl, RedisUrl};

    #[test]
    fn a_home_is_reached_in_secret() {
        for good in
            ["wss://home.example.com", "wss://home:9443/", "ws://localhost:9443", "ws://[::1]:1", "ws://127.0.0.1:1"]
        {
            assert!(UpstreamUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ws://home:9443",
            "https://home",
            "home:9443",
            "wss://home/relay",
            "wss://me:secret@home",
            "wss://home?a=b",
        ] {
            let why = UpstreamUrl::parse(bad).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn what_an_edge_must_not_have_is_refused() {
        let key = Some(ApiKey::new("key".to_owned()));
        let urls = vec![UpstreamUrl::parse("wss://home").unwrap()];
        let edge = UpstreamSection { urls, key, ..UpstreamSection::default() };
        let archive = ArchiveSettings::default();
        let errors =
            |edge: &UpstreamSection,
             change: &dyn Fn(&mut RedisSettings, &mut TokenSettings, &mut UserPresenceSettings)| {
                let (mut redis, mut tokens, mut presence, mut errors) = Default::default();
                change(&mut redis, &mut tokens, &mut presence);
                let decided = edge.decide(&redis, &tokens, &presence, &archive, &mut errors);
                assert_eq!(decided.is_some(), edge.key.is_some());
                errors.len()
            };
        assert_eq!(errors(&edge, &|_, _, _| {}), 0);
        assert_eq!(errors(&edge, &|redis, _, _| redis.urls = vec![RedisUrl::parse("redis://a").unwrap()]), 1);
        assert_eq!(
            errors(&edge, &|_, tokens, _| tokens.hmac_secrets = vec![HmacSecret::new(&"x".repeat(32)).unwrap()]),
            1
        );
        assert_eq!(
            errors(&edge, &|_, _, presence| presence.room = Some(PersonalRoom::parse("presence:{user}").unwrap())),
            1
        );
        let url = Some(PostgresUrl::parse("postgres://ann:s3cret@db.example/chat").unwrap());
        let archives = ArchiveSettings { url, ..ArchiveSettings::default() };
        let mut refused = Vec::new();
        let (redis, tokens, presence) = Default::default();
        edge.decide(&redis, &tokens, &presence, &archives, &mut refused);
        assert_eq!(refused.len(), 1);
        let why = refused[0].to_string();
        assert!(why.contains("`upstream.urls` and `archive.url` are both set") && !why.contains("s3cret"), "{why}");
        assert_eq!(errors(&UpstreamSection { key: None, ..edge }, &|_, _, _| {}), 1);
    }
}
