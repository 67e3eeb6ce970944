//! What is allowed, but probably not meant: sentences for the log and for `check-config`. Pure.

use super::{
    memory_broker::MemoryBroker,
    memory_ceiling::MemoryCeiling,
    policies::{Policies, Rule},
    settings::{Limits, Settings},
    token_settings::TokenSettings,
    tokens::HmacSecret,
    value::MIB,
};
use crate::model::{Access, Policy};

/// More rooms than a client can change at once.
pub(super) fn rooms(settings: &Settings) -> Option<String> {
    let Limits { max_rooms, command_burst, .. } = settings.limits;
    let lets_in = |policy: &Policy| policy.join != Access::Nobody;
    let mut policies = settings.policies.iter().map(|rule| &rule.policy).chain([&settings.default_policy]);
    (max_rooms > command_burst as usize && policies.any(lets_in)).then(|| {
        format!(
            "`limits.max_rooms` is {max_rooms}, but `limits.command_burst` is {command_burst}: a client comes back to all of its rooms, but \
             one that then changes them all at once, with an `unsubscribe` and a `subscribe` for each, is told `rate_limited`; if clients \
             do so, set `limits.command_burst` to at least {max_rooms}"
        )
    })
}

/// More memory than there is.
pub(super) fn memory(settings: &Settings, ceiling: &MemoryCeiling) -> Vec<String> {
    let mut warnings = Vec::new();
    let usable = ceiling.bytes.saturating_sub(ceiling.reserve());
    if let Some(budget) = settings.general.memory_budget.filter(|budget| *budget > usable) {
        warnings.push(format!(
            "`memory_budget` is {} MiB, but this process may use {ceiling}: clients are refused before the budget is spent; raise the \
             limit of the memory or lower the budget",
            budget / MIB
        ));
    }
    let logs = settings.memory_broker.max_bytes;
    if logs > ceiling.bytes / 4 && logs != MemoryBroker::default().max_bytes && settings.redis.urls.is_empty() {
        warnings.push(format!(
            "`memory_broker.max_bytes` is {} MiB, but this process may use {ceiling}: a quarter of that is taken for the rooms' logs",
            logs / MIB
        ));
    }
    warnings
}

/// What an address says to another library than ours.
pub(super) fn redis_parameters(settings: &Settings) -> Option<String> {
    let mut names: Vec<&str> = settings.redis.urls.iter().flat_map(|url| &url.passed_by).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "`redis.urls` has parameters that mean nothing to roomcast and are passed by: {}; the keys of `[redis]` say what it does instead",
            names.join(", ")
        )
    })
}

/// In whose names edges may act.
fn users_of_edges(settings: &Settings) -> Option<&'static str> {
    let (relay, tokens) = (&settings.relay, &settings.tokens);
    let is_unsaid = relay.verify_users.is_none();
    if relay.listen.is_empty() || !relay.publish {
        return None;
    }
    if !settings.upstream.urls.is_empty() && !relay.asks_for_tokens(tokens) {
        return Some(
            "this pod is an edge and has edges, and does not ask them for their users' tokens, so that it has none to show its own home: \
             where that has `relay.verify_users`, their users can do nothing; give this pod the same keys of tokens",
        );
    }
    if is_unsaid && !relay.asks_for_tokens(tokens) {
        return Some(
            "`relay.listen` is set, and no public key of `tokens` is: whoever takes an edge over can act under any user's name; give this \
             pod the keys of the tokens that its edges take, or say `relay.verify_users = false` if users have none",
        );
    }
    (is_unsaid && settings.hooks.connect.is_some()).then_some(
        "`hooks.connect` is set, and edges may act in the names of users with tokens only: what clients do at edges that `hooks.connect` \
         alone gives a user is refused; say `relay.verify_users = true` if there are none, `false` if edges are to be believed",
    )
}

/// What an edge counts and finds for itself alone.
pub(super) fn edges(settings: &Settings) -> Vec<String> {
    let mut warnings: Vec<String> = users_of_edges(settings).into_iter().map(str::to_owned).collect();
    if settings.upstream.urls.is_empty() {
        return warnings;
    }
    if settings.limits.user_connections.is_some() {
        warnings.push(
            "`limits.user_connections` is set on an edge: it counts a user's connections to this pod, and not those elsewhere".to_owned(),
        );
    }
    if settings.socketio.enabled {
        warnings.push(
            "`socketio.enabled` is on, on an edge: edges do not find each other, so that a balancer must bring each polling session to \
             the pod that opened it"
                .to_owned(),
        );
    }
    warnings
}

/// PROXY headers that no connection may bring.
pub(super) fn proxies(settings: &Settings) -> Option<String> {
    let addresses = &settings.addresses;
    (addresses.proxy_protocol && addresses.trusted_proxies.is_empty()).then(|| {
        "`addresses.proxy_protocol` is on, but `addresses.trusted_proxies` is empty, so that no connection's header is read: name the \
         networks of the proxies"
            .to_owned()
    })
}

/// Policies that others hide.
pub(super) fn unused_policies(policies: &[Rule]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, rule) in policies.iter().enumerate() {
        let earlier = || policies.iter().take(index).flat_map(|rule| &rule.patterns);
        if rule.patterns.iter().all(|p| earlier().any(|e| e == p || e.as_str() == "*")) {
            let patterns: Vec<_> = rule.patterns.iter().map(|pattern| format!("`{}`", pattern.as_str())).collect();
            warnings.push(format!(
                "the policy for {} is never used: policies above it match the same rooms, and the first one wins",
                patterns.join(", ")
            ));
        }
    }
    warnings
}

/// A backend that is never told of users that are away.
pub(super) fn absent(settings: &Settings) -> Option<String> {
    (settings.hooks.absent.is_some() && settings.tokens.personal_room.is_none()).then(|| {
        "`hooks.absent` is set, but `tokens.personal_room` is not: no room belongs to a user, so that nothing is told".to_owned()
    })
}

/// What is allowed in `[tokens]`, but probably not meant.
pub(super) fn tokens(tokens: &TokenSettings, policies: &Policies) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(room) = tokens.personal_room.as_ref().and_then(|template| template.of("ann")) {
        let join = policies.of(&room).join;
        if matches!(join, Access::Anyone | Access::User) {
            warnings.push(format!(
                "`tokens.personal_room` is set, but others may join such a room too: the policy of {room}, for example, \
                 has no `join = \"owner\"`"
            ));
        }
    }
    if tokens.jwks_url.is_some() && tokens.audiences.is_empty() {
        warnings.push(
            "`tokens.jwks_url` is set but `tokens.audiences` is not: a token that its issuer made for any other \
             application is good here too"
                .to_owned(),
        );
    }
    if let Some(bytes) = tokens.hmac_secrets.iter().find_map(HmacSecret::too_short) {
        warnings.push(format!(
            "`tokens.hmac_secrets` has a secret of {bytes} bytes, which `tokens.short_secrets` allows: from any token that it signed, \
             the secret can be found by trying, and then any token can be made"
        ));
    }
    if tokens.hmac_secrets.iter().any(|secret| secret.reveal().trim() != secret.reveal()) {
        warnings.push(
            "`tokens.hmac_secrets` has a secret with white space at its begin or its end, which is a part of the key: if the signatures of \
             all tokens are wrong, those who sign leave it off"
                .to_owned(),
        );
    }
    if !tokens.require_exp {
        warnings.push("`tokens.require_exp` is false: a token without `exp` is good for ever".to_owned());
    }
    warnings
}
