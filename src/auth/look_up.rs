//! Tokens that an application keeps in the fleet's Redis: a look-up instead of a signature.
//!
//! Always holds: a token is a part of a key and cannot change the rest of it, whatever characters it has; neither a token nor its
//! object is logged.

use std::time::Instant;

use serde_json::Value;

use super::{Claims, RoomRight, TokenError};
use crate::{
    broker::LookUp,
    config::{LookUpTemplate, PersonalRoom, TokenLookUp},
    dialect::Pointer,
    metrics::{RareWarning, TokenMetrics},
    model::{Room, whole_digits},
};

/// The longest token that is looked up, in bytes.
const MAX_TOKEN_BYTES: usize = 512;

/// The most groups of a user.
const MAX_GROUPS: usize = 1_000;

/// Told of many clients at once, as often as they come.
static UNREACHABLE: RareWarning = RareWarning::new();
static FAULTY: RareWarning = RareWarning::new();

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
    match find(store, settings, token).await? {
        Some(object) if settings.accept_unknown => Ok(whoever(&object, settings, personal, metrics)),
        Some(object) => known(&object, settings, personal),
        None if settings.accept_unknown => Ok(nobody(settings)),
        None => Err(TokenError::Unknown),
    }
}

/// The user of a token; `None`: the token is unknown.
///
/// # Errors
/// The stored object cannot be read.
pub(super) async fn user(
    store: &dyn LookUp,
    settings: &TokenLookUp,
    token: &str,
) -> Result<Option<StoredUser>, TokenError> {
    let found = find(store, settings, token).await?;
    found.map(|object| read(&object, settings).map(|(user, _)| user)).transpose()
}

async fn find(store: &dyn LookUp, settings: &TokenLookUp, token: &str) -> Result<Option<bytes::Bytes>, TokenError> {
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES;
    let key =
        settings.key.as_ref().filter(|key| fits && (key.fill(|_| Some("")) != Some(String::new()) || is_tame(token)));
    let key = key.and_then(|key| key.fill(|_| Some(token)));
    let Some(key) = key else { return Ok(None) };
    store.look_up(&key).await.map_err(|error| {
        // The log line does not have the key, which holds the token.
        if let Some(count) = UNREACHABLE.due(Instant::now()) {
            tracing::warn!(count, %error, "tokens could not be looked up");
        }
        TokenError::Unreachable
    })
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

fn read(object: &[u8], settings: &TokenLookUp) -> Result<(StoredUser, Value), TokenError> {
    let object: Value =
        serde_json::from_slice(object).map_err(|_| TokenError::Stored("what is kept under it is not JSON"))?;
    let user = text(at(&object, &settings.user)).ok_or(TokenError::Stored("what is kept under it names no user"))?;
    let groups = match settings.groups.as_ref().map(|groups| at(&object, groups)) {
        None | Some(None | Some(Value::Null)) => Vec::new(),
        Some(Some(Value::Array(groups))) => {
            let named = groups.iter().take(MAX_GROUPS).map(|group| text(Some(group)));
            named
                .collect::<Option<Vec<_>>>()
                .ok_or(TokenError::Stored("one of its groups is neither text nor a whole number"))?
        }
        Some(Some(_)) => return Err(TokenError::Stored("its groups are no list")),
    };
    Ok((StoredUser { user, groups }, object))
}

fn known(object: &[u8], settings: &TokenLookUp, personal: Option<&PersonalRoom>) -> Result<Claims, TokenError> {
    let (StoredUser { user, groups }, object) = read(object, settings)?;
    Ok(somebody(user, &groups, &object, settings, personal))
}

/// The claims of whomever the object names, where clients without a known token are accepted: an application keeps an object for
/// visitors that have not logged in, too. What cannot be used of it gives nothing, and takes nothing else away.
fn whoever(object: &[u8], settings: &TokenLookUp, personal: Option<&PersonalRoom>, metrics: &TokenMetrics) -> Claims {
    let faulty = |what: &str| {
        metrics.faulty_objects.increment(1);
        // The log line has nothing of the object.
        if let Some(count) = FAULTY.due(Instant::now()) {
            tracing::warn!(count, "what is kept under a client's token is used only in part: {what}");
        }
    };
    let Ok(object) = serde_json::from_slice::<Value>(object) else {
        faulty("it is not JSON");
        return nobody(settings);
    };
    let mut groups = Vec::new();
    match settings.groups.as_ref().and_then(|groups| at(&object, groups)) {
        None | Some(Value::Null) => {}
        Some(Value::Array(all)) => {
            let all = all.get(..MAX_GROUPS).unwrap_or(all);
            groups.extend(all.iter().filter_map(|group| text(Some(group))));
            if groups.len() < all.len() {
                faulty("one of its groups is neither text nor a whole number");
            }
        }
        Some(_) => faulty("its groups are no list"),
    }
    match text(at(&object, &settings.user)) {
        Some(user) => somebody(user, &groups, &object, settings, personal),
        None => {
            let mut rooms = unknown_rooms(settings);
            rooms.extend(group_rooms(settings, None, &groups));
            grant(None, rooms, None, None)
        }
    }
}

fn somebody(
    user: String,
    groups: &[String],
    object: &Value,
    settings: &TokenLookUp,
    personal: Option<&PersonalRoom>,
) -> Claims {
    let own = settings.rooms.iter().filter(|template| !template.has("group"));
    let mut rooms: Vec<String> = own.filter_map(|template| template.fill(|_| Some(user.as_str()))).collect();
    rooms.extend(group_rooms(settings, Some(&user), groups));
    let own = personal.and_then(|template| template.of(&user));
    grant(Some(user), rooms, own, Some(object.to_string().into()))
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

fn at<'a>(object: &'a Value, pointer: &Pointer) -> Option<&'a Value> {
    object.pointer(&pointer.to_string())
}

fn text(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::String(text) => text.clone(),
        Value::Number(number) => whole_digits(&number.to_string())?,
        _ => return None,
    };
    let fits = !text.is_empty() && text.len() <= super::rules::MAX_USER_BYTES && !text.chars().any(char::is_control);
    fits.then_some(text)
}
