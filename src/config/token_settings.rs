//! `[tokens]`: which tokens of clients are good, and what they allow.

use std::{path::PathBuf, time::Duration};

use super::{
    section::section,
    tokens::{
        ClaimConditions, ClaimNames, HmacSecret, HmacSecretKind, JwksUrl, JwksUrlKind, PersonalRoom, PersonalRoomKind,
    },
    value::{File, List, Maybe, OrWord, Switch, TemplateKind, Text, Time},
};
use crate::dialect::{Condition, Offers, Template};

section! {
    /// Tokens of clients: JWTs (RFC 7519), signed by the application. Without a key no token is accepted.
    pub struct TokenSettings in "tokens" {
        /// Secrets that tokens are signed with (HS256; HS384 and HS512 from 48 and 64 bytes on): all bytes of the text are the key, also a line's end in a variable that `${…}`
        /// names. Several, while one replaces another.
        hmac_secrets: Vec<HmacSecret> = Vec::new(), List(HmacSecretKind), live, secret();
        /// Whether a secret in `hmac_secrets` may have fewer than 32 bytes. Such a secret can be found by trying, from any token that
        /// it signed; with it any token can be made. For a system that has one already, until it has a longer one.
        short_secrets: bool = false, Switch, live;
        /// Files with public keys (PEM, `PUBLIC KEY` sections): RSA for RS256 and its relatives, P-256, P-384 and P-521 for
        /// ES256, ES384 and ES512, Ed25519 for EdDSA. Looked at every 10 s and on SIGHUP.
        public_keys: Vec<PathBuf> = Vec::new(), List(File("PEM file")), live;
        /// A file with a key set (RFC 7517). Looked at every 10 s and on SIGHUP.
        jwks_file: Option<PathBuf> = None, Maybe(File("JSON file")), live, unset("none", "\"/etc/roomcast/jwks.json\"");
        /// Where a key set is fetched (RFC 7517). Each fetch replaces the keys of the one before.
        jwks_url: Option<JwksUrl> = None, Maybe(JwksUrlKind), live,
            unset("none", "\"https://login.example.com/.well-known/jwks.json\"");
        /// How often it is fetched. A token that names an unknown key has it fetched too, at most every 10 s.
        jwks_refresh: Duration = Duration::from_secs(300), Time(Duration::from_secs(10)..=Duration::from_secs(86_400)), live;
        /// CA certificates that the server of `jwks_url` is trusted by, beside the system's.
        jwks_ca: Option<PathBuf> = None, Maybe(File("PEM file")), live, unset("none", "\"/etc/roomcast/ca.pem\"");
        /// What a token's `iss` must be.
        issuer: Option<String> = None, Maybe(Text), live, unset("`iss` is not looked at", "\"https://login.example.com\"");
        /// Of these, a token's `aud` must name at least one. Empty: `aud` is not looked at.
        audiences: Vec<String> = Vec::new(), List(Text), live;
        /// How far clocks may differ: a token is good for this long beyond its `exp`, and before its `nbf`. When it was made (`iat`) is not looked at.
        leeway: Duration = Duration::from_secs(30), Time(Duration::ZERO..=Duration::from_secs(300)), live;
        /// Whether a token must say when it ends (`exp`). One that does not is good until its key is gone.
        require_exp: bool = true, Switch, live;
        /// The claims that may name the user: the first that a token has and that is no empty text. A string or a whole number.
        user_claims: Vec<String> = vec!["sub".to_owned()], ClaimNames, live;
        /// The claim that names rooms, for policies whose `join` or `publish` is `claim`. `none`: a claim of the application's own may have its name.
        rooms_claim: Option<String> = Some("rooms".to_owned()), OrWord("none", Text), live;
        /// Rooms that a token names beside those of `rooms_claim`: text with `{/json/pointer}` into the claims. Where a claim is a
        /// list, one room for each of its elements.
        claim_rooms: Vec<Template> = Vec::new(), List(TemplateKind(Offers::Message)), live,
            unset("none", "[\"session:{/sessions}\"]");
        /// What the claims must be for the rooms of `claim_rooms` to be published to as well: JSON pointers, each with a text, or
        /// `*` for any.
        claim_publish: Vec<Condition> = Vec::new(), ClaimConditions, live,
            unset("they are only joined", "{ \"/role\" = \"presenter\" }");
        /// The claim by which a user says that others are not told what it has read: `false`, where a policy says `acks = "receipts"`. `none`: no claim says it.
        receipts_claim: Option<String> = Some("receipts".to_owned()), OrWord("none", Text), live;
        /// The claim that names methods of the backend, for `hooks.rpc_access = "claim"`: a list of names, `*` for any characters. `none`: no claim does.
        methods_claim: Option<String> = Some("methods".to_owned()), OrWord("none", Text), live;
        /// Whether a token's claims are kept whole for the templates of `[[dialect]]`: as many bytes for each connection.
        keep_claims: bool = false, Switch, live;
        /// The room that is a user's own: each of the user's connections is put into it unasked, and policies whose `join`
        /// or `publish` is `owner` let only that user in.
        personal_room: Option<PersonalRoom> = None, Maybe(PersonalRoomKind), live, unset("none", "\"user:{user}\"");
    }
}

impl TokenSettings {
    /// Whether there is a key by which a token could be good.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.hmac_secrets.is_empty() || self.has_public_keys()
    }

    /// Whether there is a key that edges may have too.
    pub(super) fn has_public_keys(&self) -> bool {
        !self.public_keys.is_empty() || self.jwks_file.is_some() || self.jwks_url.is_some()
    }
}
