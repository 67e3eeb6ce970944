//! `[relay]`: edges that follow this pod.

use super::{
    address::{Bind, ListenAddress, ListenAddressKind},
    api_key::{ApiKey, ApiKeyKind},
    edge_address::{EdgeAddress, EdgeAddressKind},
    policies::{RoomPattern, RoomPatternKind},
    section::section,
    settings_error::SettingsError,
    tls::Tls,
    token_settings::TokenSettings,
    value::{Bytes, GIB, KIB, List, MIB, Maybe, Switch},
};

section! {
    /// Edges: pods elsewhere that follow rooms of this one over one connection each, `[upstream]` on their side.
    pub struct RelaySettings in "relay" {
        /// Where edges connect, on listeners of their own. Empty: nowhere.
        listen: Vec<ListenAddress> = Vec::new(), List(ListenAddressKind), restart;
        /// Whether edges connect over TLS, with the certificate of `listen`. Without it anything on the path can read their key.
        tls: bool = true, Switch, restart;
        /// The keys that edges show. They are no keys of the API, and those are none of these. Several, while one replaces another: the
        /// link of an edge whose key is taken away ends within a second.
        keys: Vec<Option<ApiKey>> = Vec::new(), List(ApiKeyKind), live, secret();
        /// The rooms that edges may have: patterns on their names. Empty: every room.
        rooms: Vec<RoomPattern> = Vec::new(), List(RoomPatternKind), live;
        /// Whether edges may publish, and change what clients change. Otherwise they read only, and their clients' publishes are refused.
        publish: bool = true, Switch, live;
        /// Whether what an edge does in a user's name (publish, signal, acknowledge, be a member) needs a good token of that user: the edge shows
        /// it, and this pod verifies it with its own keys (`tokens`). Off, edges are believed: for users that only `hooks.connect` knows.
        verify_users: Option<bool> = None, Maybe(Switch), live,
            unset("on where `tokens` has public keys, off where it has none", "true");
        /// Whether edges may give orders about the connections of the whole fleet, list these, delete events, and have rooms and users
        /// forgotten: what the API of an edge does beside publishing, and what clients delete there.
        orders: bool = false, Switch, live;
        /// Where clients may connect, each with its region: what `GET /edges` lists, on the public listeners of this pod too. Give it to
        /// the home and its edges; a client that asks any of them takes the one that answers first.
        edges: Vec<EdgeAddress> = Vec::new(), List(EdgeAddressKind), live;
        /// Whether events are compressed on their way to edges, each behind those before it on the link: of rooms whose policies leave
        /// `shared_window` on and say a size in `compress_from`. The lengths of what crosses then tell whatever sees the network, and can
        /// publish to any of these rooms, whether their text was said in another one a moment ago. The links of edges begin anew when it changes.
        compress: bool = false, Switch, live;
        /// The most bytes that wait for one edge. What has no place is dropped, and the edge reads it from the log.
        queue: usize = 16 * MIB, Bytes(64 * KIB..=GIB), restart;
    }
}

/// The edges of a pod, decided.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its listeners.
    pub listen: Vec<Bind>,
    /// Whether they speak TLS.
    pub tls: bool,
    /// The keys of edges.
    pub keys: Vec<ApiKey>,
    /// The rooms that they may have; empty: all.
    pub rooms: Vec<RoomPattern>,
    /// Whether they may publish.
    pub publish: bool,
    /// Whether they need users' tokens to act in their names.
    pub verify_users: bool,
    /// Whether they may give orders.
    pub orders: bool,
    /// Where clients may connect.
    pub edges: Vec<EdgeAddress>,
    /// Whether events are compressed for them.
    pub compress: bool,
    /// The most bytes that wait for one.
    pub queue: usize,
}

impl RelaySettings {
    /// Whether users' tokens are asked for.
    pub(super) fn asks_for_tokens(&self, tokens: &TokenSettings) -> bool {
        self.verify_users.unwrap_or_else(|| tokens.has_public_keys())
    }

    /// What follows from it. `public`: the certificate of the public listeners.
    pub(super) fn decide(
        &self,
        public: Option<&Tls>,
        tokens: &TokenSettings,
        errors: &mut Vec<SettingsError>,
        warnings: &mut Vec<String>,
    ) -> Relay {
        let is_on = !self.listen.is_empty();
        if is_on && self.tls && public.is_none() {
            errors.push(SettingsError::RelayCertificate);
        }
        let verify_users = self.asks_for_tokens(tokens);
        if is_on && verify_users && !tokens.has_keys() {
            errors.push(SettingsError::RelayUsers);
        }
        let keys: Vec<ApiKey> = self.keys.iter().flatten().cloned().collect();
        if is_on && keys.is_empty() {
            warnings.push("`relay.listen` is set and `relay.keys` is not: every edge is refused".to_owned());
        }
        if is_on && !self.tls {
            warnings.push(
                "`relay.tls` is off: what edges read and publish, their key and their users' tokens can be read on the way".to_owned(),
            );
        }
        Relay {
            listen: self.listen.iter().flat_map(|address| address.binds()).collect(),
            tls: self.tls,
            keys,
            rooms: self.rooms.clone(),
            publish: self.publish,
            verify_users,
            orders: self.orders,
            edges: self.edges.clone(),
            compress: self.compress,
            queue: self.queue,
        }
    }
}
