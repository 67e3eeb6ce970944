//! Tokens that an application keeps in the fleet's Redis: a look-up instead of a signature.
//!
//! Always holds: a token is a part of a key and cannot change the rest of it, whatever characters it has; neither a token nor its
//! object is logged.

use std::time::{Duration, Instant};

use roomcast_incident::Incident;
use serde_json::value::RawValue;

use super::{Claims, RoomRight, TokenError};
use crate::{
    broker::LookUp,
    config::{LookUpTemplate, PersonalRoom, TokenLookUp},
    dialect::Pointer,
    metrics::{RareWarning, TokenMetrics},
    model::{Room, whole_digits, with_whole_pairs},
};

/// The longest token that is looked up, in bytes.
const MAX_TOKEN_BYTES: usize = 512;

/// The most groups of a user.
const MAX_GROUPS: usize = 1_000;

/// Tokens cannot be looked up. Some may, and others not: those of one server.
static UNREACHABLE: Incident = Incident::calm(Duration::from_secs(10));

/// Told of many clients at once, as often as they come.
static FAULTY: [RareWarning; 4] = [const { RareWarning::new() }; 4];

/// What of a stored object cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NotJson,
    NoList,
    Group,
    TooMany,
}

impl Fault {
    const fn why(self) -> &'static str {
        match self {
            Self::NotJson => "what is kept under it is not JSON, or no string",
            Self::NoList => "its groups are no list",
            Self::Group => "one of its groups is neither text nor a whole number",
            Self::TooMany => "it has more than 1000 groups, and the others are left out",
        }
    }

    /// Counts it, and says it now and then.
    fn tell(self, metrics: &TokenMetrics) {
        metrics.faulty_objects.increment(1);
        // The log line has nothing of the object.
        if let Some(count) = FAULTY.get(self as usize).and_then(|warning| warning.due(Instant::now())) {
            tracing::warn!(count, "what is kept under a client's token is used only in part: {}", self.why());
        }
    }
}

/// The user of a token, and the user's groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUser {
    /// The user.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

/// The claims of the token's user.
///
/// # Errors
/// Why the token is refused.
pub(super) async fn claims(
    store: &dyn LookUp,
    settings: &TokenLookUp,
    personal: Option<&PersonalRoom>,
    token: &str,
    metrics: &TokenMetrics,
) -> Result<Claims, TokenError> {
    let Some(object) = find(store, settings, token).await? else {
        return if settings.accept_unknown { Ok(nobody(settings)) } else { Err(TokenError::Unknown) };
    };
    let object = StoredObject::read(&object, settings, metrics)?;
    if object.user.is_none() && !settings.accept_unknown {
        return Err(TokenError::Stored("what is kept under it names no user"));
    }
    Ok(object.claims(settings, personal))
}

/// The user of a token; `None`: the token is unknown, or its object names no user, where such clients are accepted.
///
/// # Errors
/// The stored object cannot be read.
pub(super) async fn user(
    store: &dyn LookUp,
    settings: &TokenLookUp,
    token: &str,
    metrics: &TokenMetrics,
) -> Result<Option<StoredUser>, TokenError> {
    let Some(object) = find(store, settings, token).await? else { return Ok(None) };
    let StoredObject { user, groups, .. } = StoredObject::read(&object, settings, metrics)?;
    Ok(user.map(|user| StoredUser { user, groups }))
}

async fn find(store: &dyn LookUp, settings: &TokenLookUp, token: &str) -> Result<Option<bytes::Bytes>, TokenError> {
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES;
    let key =
        settings.key.as_ref().filter(|key| fits && (key.fill(|_| Some("")) != Some(String::new()) || is_tame(token)));
    let key = key.and_then(|key| key.fill(|_| Some(token)));
    let Some(key) = key else { return Ok(None) };
    let found = store.look_up(&key).await;
    match &found {
        Ok(_) => {
            if let Some(over) = UNREACHABLE.succeeds(Instant::now()) {
                let (seconds, failures) = (over.seconds(), over.failures);
                tracing::info!(seconds, failures, "tokens are looked up again");
            }
        }
        // The log line does not have the key, which holds the token.
        Err(error) if UNREACHABLE.fails(Instant::now()) => tracing::warn!(%error, "tokens could not be looked up"),
        Err(_) => {}
    }
    found.map_err(|_| TokenError::Unreachable)
}

/// Whether a token that is the whole of a key, with nothing of the configuration around it, can name no key of roomcast's own.
fn is_tame(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}'))
}

/// The claims of a client without a known token, where such clients are accepted.
pub(super) fn nobody(settings: &TokenLookUp) -> Claims {
    grant(None, unknown_rooms(settings), None, None)
}

fn unknown_rooms(settings: &TokenLookUp) -> Vec<String> {
    settings.unknown_rooms.iter().filter_map(|room| room.fill(|_| None)).collect()
}

/// What an application keeps under a token, as far as it can be used.
#[derive(Debug, Default, PartialEq, Eq)]
struct StoredObject {
    /// `None`: a visitor who has not logged in, for whom an application keeps an object, too.
    user: Option<String>,
    groups: Vec<String>,
    /// `None`: it is not JSON.
    content: Option<Box<str>>,
}

impl StoredObject {
    /// Reads an object. Where clients without a known token are accepted, what cannot be used of it gives nothing, and takes nothing else
    /// away.
    fn read(object: &[u8], settings: &TokenLookUp, metrics: &TokenMetrics) -> Result<Self, TokenError> {
        let (object, faults) = Self::usable(object, settings);
        for fault in faults {
            if !settings.accept_unknown && fault != Fault::TooMany {
                return Err(TokenError::Stored(fault.why()));
            }
            fault.tell(metrics);
        }
        Ok(object)
    }

    fn usable(object: &[u8], settings: &TokenLookUp) -> (Self, Vec<Fault>) {
        let object = String::from_utf8_lossy(object);
        let object = with_whole_pairs(&object);
        // Whatever else is in it may be as deep and as odd as JSON can be: only what is named is read.
        let Ok(whole) = serde_json::from_str::<&RawValue>(&object) else {
            return (Self::default(), vec![Fault::NotJson]);
        };
        let at = |pointer: &Pointer| pointer.find(whole).ok().flatten().filter(|value| value.get() != "null");
        let (mut groups, mut faults) = (Vec::new(), Vec::new());
        match settings.groups.as_ref().and_then(at).map(|groups| serde_json::from_str::<Vec<&RawValue>>(groups.get())) {
            None => {}
            Some(Ok(all)) => {
                groups.extend(all.iter().take(MAX_GROUPS).filter_map(|group| text(group)));
                faults.extend((groups.len() < all.len().min(MAX_GROUPS)).then_some(Fault::Group));
                faults.extend((all.len() > MAX_GROUPS).then_some(Fault::TooMany));
            }
            Some(Err(_)) => faults.push(Fault::NoList),
        }
        let user = at(&settings.user).and_then(text);
        (Self { user, groups, content: Some(whole.get().into()) }, faults)
    }

    fn claims(self, settings: &TokenLookUp, personal: Option<&PersonalRoom>) -> Claims {
        let Some(user) = self.user else {
            let mut rooms = unknown_rooms(settings);
            rooms.extend(group_rooms(settings, None, &self.groups));
            return grant(None, rooms, None, None);
        };
        let own = settings.rooms.iter().filter(|template| !template.has("group"));
        let mut rooms: Vec<String> = own.filter_map(|template| template.fill(|_| Some(user.as_str()))).collect();
        rooms.extend(group_rooms(settings, Some(&user), &self.groups));
        let own = personal.and_then(|template| template.of(&user));
        grant(Some(user), rooms, own, self.content)
    }
}

/// The rooms of groups. Those that name the user as well need one.
fn group_rooms(settings: &TokenLookUp, user: Option<&str>, groups: &[String]) -> Vec<String> {
    let of =
        |template: &LookUpTemplate, group: &str| template.fill(|name| if name == "user" { user } else { Some(group) });
    let templates = settings.rooms.iter().filter(|template| template.has("group"));
    templates.flat_map(|template| groups.iter().filter_map(move |group| of(template, group))).collect()
}

fn grant(user: Option<String>, rooms: Vec<String>, personal_room: Option<Room>, content: Option<Box<str>>) -> Claims {
    let given: Vec<Room> = rooms.iter().filter_map(|room| Room::parse(room).ok()).collect();
    // A star in a group's name would be a pattern for other rooms.
    let rights = given.iter().filter(|room| !room.as_str().contains('*'));
    let rooms = rights.map(|room| RoomRight { pattern: room.as_str().into(), join: true, publish: false }).collect();
    let (user, methods) = (user.map(Into::into), Vec::new());
    Claims { user, expires_at: None, rooms, personal_room, given, methods, receipts: true, content }
}

/// The text of an id.
fn text(value: &RawValue) -> Option<String> {
    let text = match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(value.get()).ok()?,
        _ => whole_digits(value.get())?,
    };
    let fits = !text.is_empty() && text.len() <= super::rules::MAX_USER_BYTES && !text.chars().any(char::is_control);
    fits.then_some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn usable(object: &str) -> (StoredObject, Vec<Fault>) {
        let settings = TokenLookUp { groups: Some(Pointer::parse("/group_ids").unwrap()), ..TokenLookUp::default() };
        let (mut object, faults) = StoredObject::usable(object.as_bytes(), &settings);
        object.content = None;
        (object, faults)
    }

    #[test]
    fn what_can_be_used_of_an_object_counts() {
        let deep = format!(r#"{{"id":1,"group_ids":[7],"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (object, faults) in [
            (r#" {"id":1,"group_ids":[7]} "#, vec![]),
            (r#"{"id":1.0,"group_ids":[7e0]}"#, vec![]),
            (r#"{"id":"1","group_ids":["7"]}"#, vec![]),
            (r#"{"id":2,"id":1,"group_ids":[7]}"#, vec![]),
            (r#"{"id":1,"group_ids":[7,null]}"#, vec![Fault::Group]),
            (r#"{"id":1,"group_ids":[2.5,"",true,7]}"#, vec![Fault::Group]),
            (r#"{"id":1,"name":"\ud83d","\ud83d":2,"group_ids":[7]}"#, vec![]),
            (r#"{"id":1,"group_ids":[7],"x":1e999}"#, vec![]),
            (&deep, vec![]),
        ] {
            let whole = StoredObject { user: Some("1".to_owned()), groups: vec!["7".to_owned()], content: None };
            assert_eq!(usable(object), (whole, faults), "{:.60}", object);
        }
        let ids = |object: &str| usable(object).0.groups.len();
        for object in [r#"{"id":1,"group_ids":{"a":7}}"#, r#"{"id":1,"group_ids":"7"}"#] {
            let (found, faults) = usable(object);
            assert_eq!((found.user.as_deref(), found.groups.len(), faults), (Some("1"), 0, vec![Fault::NoList]));
        }
        for object in ["", "no JSON", r#"{"id":1"#] {
            assert_eq!(usable(object), (StoredObject::default(), vec![Fault::NotJson]), "{object}");
        }
        assert_eq!((usable(r#"{"id":true}"#).0.user, ids(r#"{"group_ids":null}"#)), (None, 0));
        let many = |count: usize| format!(r#"{{"id":1,"group_ids":{:?}}}"#, (1..=count).collect::<Vec<_>>());
        let (found, faults) = usable(&many(1_500));
        assert_eq!((found.groups.len(), faults), (MAX_GROUPS, vec![Fault::TooMany]));
        assert_eq!(usable(&many(1_000)).1, []);
    }

    #[test]
    fn what_is_kept_of_an_object_can_be_said_in_utf_8() {
        let (object, _) = StoredObject::usable(br#" {"id":1,"name":"a\ud83d"} "#, &TokenLookUp::default());
        assert_eq!(object.content.as_deref(), Some(r#"{"id":1,"name":"a\ufffd"}"#));
    }

    #[test]
    fn where_only_known_tokens_are_good_an_object_must_be_what_it_should() {
        let metrics = TokenMetrics::default();
        let mut settings =
            TokenLookUp { groups: Some(Pointer::parse("/group_ids").unwrap()), ..TokenLookUp::default() };
        for object in [r#"{"id":1,"group_ids":[null]}"#, r#"{"id":1,"group_ids":7}"#, "{"] {
            settings.accept_unknown = false;
            assert!(StoredObject::read(object.as_bytes(), &settings, &metrics).is_err(), "{object}");
            settings.accept_unknown = true;
            assert!(StoredObject::read(object.as_bytes(), &settings, &metrics).is_ok(), "{object}");
        }
    }
}
