//! Kinds of value in `[tokens]`.

use std::{fmt, net::IpAddr};

use http::Uri;

use super::{
    raw::Raw,
    value::{ConditionsKind, Kind, List, Text, TextKind},
};
use crate::{
    dialect::{Condition, Expected},
    model::Room,
};

/// A secret that tokens are signed with (HMAC). Never shows itself.
///
/// Always holds: it is not empty.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacSecret(Box<str>);

impl HmacSecret {
    /// The shortest secret that cannot be found by trying: as long as the hash (RFC 7518 section 3.2).
    pub const MIN_BYTES: usize = 32;

    /// A secret; `None` if it is empty.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        (!secret.is_empty()).then(|| Self(secret.into()))
    }

    /// Its length, if it is too short for HS256.
    pub(crate) fn too_short(&self) -> Option<usize> {
        Some(self.0.len()).filter(|bytes| *bytes < Self::MIN_BYTES)
    }

    /// The secret itself, whose bytes are the key.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret(…)")
    }
}

/// [`HmacSecret`] as a value of a key.
pub(crate) struct HmacSecretKind;

impl TextKind for HmacSecretKind {
    type Value = HmacSecret;
    const NAME: &'static str = "secret";
    const ALLOWED: &'static str = "any text of 32 bytes or more (with `tokens.short_secrets`, any number), each byte of which counts, a line's end \
         too; written as one text with commas between, it has no comma and no white space around it";

    fn read(&self, text: &str) -> Result<HmacSecret, String> {
        // Whether it is long enough is decided when all layers are read: another key may allow a short one.
        HmacSecret::new(text).ok_or_else(|| "it is empty".to_owned())
    }

    fn write(&self, _: &HmacSecret) -> String {
        "…".to_owned()
    }
}

/// The URL of a key set. Always holds: nothing on the path can change the answer (https, or this machine), and it has no
/// password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl(Uri);

impl JwksUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("it is not a URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("it is not a URL with a scheme and a host".to_owned());
        };
        // In the path too: behind a `/` or `?` in a password that was not encoded, the rest of it stands there.
        if text.contains('@') {
            return Err("it has a user or a password in it (an `@` of another part is written `%40`)".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match scheme {
            "https" => Ok(Self(uri)),
            "http" if loopback => Ok(Self(uri)),
            "http" => Err("over http, anything on the path can replace the keys: use https".to_owned()),
            _ => Err("it is neither https nor http".to_owned()),
        }
    }

    /// The address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

/// For people and logs: without the query, in which some servers want a secret.
impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }
}

/// [`JwksUrl`] as a value of a key.
pub(crate) struct JwksUrlKind;

impl TextKind for JwksUrlKind {
    type Value = JwksUrl;
    const NAME: &'static str = "URL";
    const ALLOWED: &'static str = "an https URL; http on this machine's loopback addresses only";

    fn read(&self, text: &str) -> Result<JwksUrl, String> {
        JwksUrl::parse(text)
    }

    fn write(&self, value: &JwksUrl) -> String {
        value.to_string()
    }
}

/// The room that is a user's own, by the user's name.
///
/// Always holds: the name stands in it exactly once, so that two users never share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalRoom {
    before: Box<str>,
    after: Box<str>,
}

impl PersonalRoom {
    const PLACE: &str = "{user}";

    /// Reads a template such as `user:{user}`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((before, after)) = text.split_once(Self::PLACE) else {
            return Err("it has no `{user}`, so that all users would share one room".to_owned());
        };
        let template = Self { before: before.into(), after: after.into() };
        match Room::parse(&template.name("ann")) {
            Ok(_) => Ok(template),
            Err(error) => Err(format!("it makes no room names: {error}")),
        }
    }

    /// The room of `user`; `None` if a name like this makes no room.
    #[must_use]
    pub fn of(&self, user: &str) -> Option<Room> {
        Room::parse(&self.name(user)).ok()
    }

    /// The user whose room this is; `None`: it is no user's.
    #[must_use]
    pub fn user_of<'a>(&self, room: &'a Room) -> Option<&'a str> {
        let user = room.as_str().strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        (!user.is_empty()).then_some(user)
    }

    fn name(&self, user: &str) -> String {
        format!("{}{user}{}", self.before, self.after)
    }
}

impl Default for PersonalRoom {
    /// `user:{user}`
    fn default() -> Self {
        Self { before: "user:".into(), after: "".into() }
    }
}

/// [`PersonalRoom`] as a value of a key.
pub(crate) struct PersonalRoomKind;

impl TextKind for PersonalRoomKind {
    type Value = PersonalRoom;
    const NAME: &'static str = "room";
    const ALLOWED: &'static str = "a room's name with `{user}` once in it";

    fn read(&self, text: &str) -> Result<PersonalRoom, String> {
        PersonalRoom::parse(text)
    }

    fn write(&self, value: &PersonalRoom) -> String {
        value.name(PersonalRoom::PLACE)
    }
}

/// Names of claims, at least one.
pub(crate) struct ClaimNames;

impl Kind for ClaimNames {
    type Value = Vec<String>;

    fn parse(&self, raw: &Raw) -> Result<Vec<String>, String> {
        let names = List(Text).parse(raw)?;
        if names.is_empty() { Err("it names no claim, so that no token could be good".to_owned()) } else { Ok(names) }
    }

    fn render(&self, value: &Vec<String>) -> Option<String> {
        List(Text).render(value)
    }

    fn name(&self) -> String {
        "list of text".to_owned()
    }

    fn allowed(&self) -> String {
        "names of claims; several as a list, or with commas between".to_owned()
    }

    fn is_list(&self) -> bool {
        true
    }
}

/// What claims must be: [`ConditionsKind`], of which none can be on a topic.
pub(crate) struct ClaimConditions;

impl Kind for ClaimConditions {
    type Value = Vec<Condition>;

    fn parse(&self, raw: &Raw) -> Result<Vec<Condition>, String> {
        let conditions = ConditionsKind.parse(raw)?;
        if conditions.iter().any(|condition| condition.is == Expected::Topic) {
            return Err("a token has no topic".to_owned());
        }
        Ok(conditions)
    }

    fn render(&self, value: &Vec<Condition>) -> Option<String> {
        ConditionsKind.render(value)
    }

    fn name(&self) -> String {
        ConditionsKind.name()
    }

    fn allowed(&self) -> String {
        ConditionsKind.allowed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_show_themselves() {
        let text = |text: &str| Raw::Text(text.to_owned());
        let length = |bytes: usize| HmacSecretKind.parse(&text(&"x".repeat(bytes))).map(|secret| secret.too_short());
        assert_eq!((length(32), length(31), length(1)), (Ok(None), Ok(Some(31)), Ok(Some(1))));
        assert!(HmacSecretKind.parse(&text("")).is_err() && HmacSecretKind.parse(&Raw::Integer(7)).is_err());
        // As the system that signs takes it: nothing is cut off, nothing is too odd.
        for odd in ["a b", " a", "a\n", "é", "a,b"] {
            let key = HmacSecretKind.parse(&text(odd)).map(|secret| secret.reveal().to_owned());
            assert_eq!(key.as_deref(), Ok(odd));
        }
        let secret = HmacSecret::new(&"s3cret".repeat(6)).expect("long enough");
        assert!(!format!("{secret:?}{:?}", HmacSecretKind.render(&secret)).contains("s3cret"));
    }

    #[test]
    fn key_sets_come_from_where_nobody_can_change_them() {
        for good in [
            "https://login.example.com/.well-known/jwks.json",
            "https://10.0.0.1:8443/keys?tenant=a",
            "http://localhost:8080/keys",
            "http://127.0.0.1/keys",
            "http://127.9.9.9:1/",
            "http://[::1]:8080/keys",
        ] {
            assert!(JwksUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "login.example.com",
            "/keys",
            "file:///etc/keys",
            "ftp://example.com/keys",
            "http://example.com/keys",
            "http://localhost.example.com/keys",
            "http://[::ffff:127.0.0.1]/keys",
            "http://0.0.0.0/keys",
            "http://127.0.0.1@example.com/keys",
            "https://me:pass@example.com/keys",
            "https://",
        ] {
            assert!(JwksUrl::parse(bad).is_err(), "{bad}");
        }
        let url = JwksUrl::parse("https://example.com/keys?secret=1").expect("good");
        assert_eq!(url.to_string(), "https://example.com/keys");
    }

    #[test]
    fn personal_rooms_are_of_one_user() {
        let template = PersonalRoom::parse("user:{user}").expect("good");
        assert_eq!(template.of("ann").as_ref().map(Room::as_str), Some("user:ann"));
        assert_eq!(template.of("ann").as_ref().and_then(|room| template.user_of(room)), Some("ann"));
        for other in ["user:", "team:ann"] {
            assert_eq!(template.user_of(&Room::parse(other).expect("a name")), None, "{other}");
        }
        assert_eq!(template.of("ann lee"), None);
        assert_eq!(template.of(&"x".repeat(255)), None);
        for bad in ["", "user", "user:{name}", "user {user}", "{user}{user}", "{{user}}"] {
            assert!(PersonalRoom::parse(bad).is_err(), "{bad}");
        }
    }
}
