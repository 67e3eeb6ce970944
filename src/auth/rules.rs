//! From the claims of a token that was signed by a known key to what its user may do. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Claims, RoomRight, TokenError, object::Object};
use crate::{
    config::TokenSettings,
    dialect::{Pointer, Source, fits, text_of},
    model::{Room, UnixMillis, check_name, whole_digits},
};

/// The longest name of a user, in bytes.
pub const MAX_USER_BYTES: usize = 255;

/// The most entries of the `rooms` claim.
pub const MAX_ROOM_RIGHTS: usize = 64;

/// The most entries of the claim that names methods.
const MAX_METHODS: usize = 64;

/// The most rooms of one entry of `tokens.claim_rooms`.
const MAX_CLAIMED_ROOMS: usize = 1_000;

/// The end of the year 9999, in seconds: a time after it (milliseconds, for example) is taken for it.
const MAX_SECONDS: f64 = 253_402_300_799.0;

/// Reads the claims of a token by the configuration's rules.
///
/// # Errors
/// The first rule that they break.
pub(super) fn claims(payload: &[u8], settings: &TokenSettings, now: SystemTime) -> Result<Claims, TokenError> {
    let object =
        Object::parse(payload).ok_or(TokenError::Malformed("its payload is no JSON object with each name once"))?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let leeway = settings.leeway.as_secs_f64();

    let exp = seconds(&object, "exp")?;
    if exp.is_none() && settings.require_exp {
        return Err(wrong("exp", "is missing, and this pod takes no token without an end"));
    }
    if exp.is_some_and(|exp| now >= exp + leeway) {
        return Err(TokenError::Expired);
    }
    // When it was made (`iat`) is no rule of RFC 7519: a clock that is ahead keeps nobody out.
    if seconds(&object, "nbf")?.is_some_and(|from| now < from - leeway) {
        return Err(TokenError::NotYet("nbf"));
    }
    issuer(&object, settings)?;
    audience(&object, settings)?;
    let user = user(&object, settings)?;
    Ok(Claims {
        personal_room: settings.personal_room.as_ref().and_then(|template| template.of(&user)),
        rooms: named(&settings.rooms_claim, |claim| room_rights(&object, claim))?
            .into_iter()
            .chain(claimed_rooms(payload, settings))
            .collect(),
        given: Vec::new(),
        methods: named(&settings.methods_claim, |claim| method_patterns(&object, claim))?,
        receipts: settings.receipts_claim.as_ref().map_or(Ok(true), |claim| receipts(&object, claim))?,
        content: settings.keep_claims.then(|| String::from_utf8_lossy(payload).into()),
        expires_at: exp.map(|exp| millis(exp + leeway)),
        user: Some(user.into()),
    })
}

/// What a claim names, where the configuration says which one.
fn named<T>(
    claim: &Option<String>,
    read: impl FnOnce(&str) -> Result<Vec<T>, TokenError>,
) -> Result<Vec<T>, TokenError> {
    claim.as_deref().map_or(Ok(Vec::new()), read)
}

fn wrong(claim: &str, why: &'static str) -> TokenError {
    TokenError::Claim { claim: claim.into(), why }
}

/// Whether others are told what the user has read.
fn receipts(object: &Object<'_>, claim: &str) -> Result<bool, TokenError> {
    let Some(value) = object.get(claim) else { return Ok(true) };
    read(value).ok_or(wrong(claim, "is neither true nor false"))
}

/// A `NumericDate` (RFC 7519 section 2), from 1970 to [`MAX_SECONDS`].
fn seconds(object: &Object<'_>, name: &str) -> Result<Option<f64>, TokenError> {
    let Some(value) = object.get(name) else { return Ok(None) };
    match read::<f64>(value) {
        Some(seconds) => Ok(Some(seconds.clamp(0.0, MAX_SECONDS))),
        None => Err(wrong(name, "is not a number")),
    }
}

/// In range, because of [`MAX_SECONDS`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn millis(seconds: f64) -> UnixMillis {
    (seconds * 1000.0) as UnixMillis
}

fn issuer(object: &Object<'_>, settings: &TokenSettings) -> Result<(), TokenError> {
    let Some(expected) = &settings.issuer else { return Ok(()) };
    let value = object.get("iss").ok_or(wrong("iss", "is missing"))?;
    let issuer: String = read(value).ok_or(wrong("iss", "is not a string"))?;
    if issuer == *expected { Ok(()) } else { Err(TokenError::Issuer) }
}

fn audience(object: &Object<'_>, settings: &TokenSettings) -> Result<(), TokenError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Several(Vec<String>),
    }

    if settings.audiences.is_empty() {
        return Ok(());
    }
    let value = object.get("aud").ok_or(wrong("aud", "is missing"))?;
    let audiences = match read(value) {
        Some(Audience::One(audience)) => vec![audience],
        Some(Audience::Several(audiences)) => audiences,
        None => return Err(wrong("aud", "is neither a string nor a list of strings")),
    };
    if audiences.iter().any(|own| settings.audiences.contains(own)) { Ok(()) } else { Err(TokenError::Audience) }
}

fn user(object: &Object<'_>, settings: &TokenSettings) -> Result<String, TokenError> {
    // Other systems write an empty text for no user, and go on with the next claim.
    let there = |claim: &str| object.get(claim).filter(|value| value.get() != "\"\"");
    let found = settings.user_claims.iter().find_map(|claim| Some((claim, there(claim)?)));
    let Some((claim, value)) = found else {
        let first = settings.user_claims.first().map_or("sub", String::as_str);
        return Err(wrong(first, "is missing: it is to name the user"));
    };
    let user = match read::<String>(value) {
        Some(user) => user,
        None => whole_digits(value.get()).ok_or_else(|| wrong(claim, "is neither a string nor a whole number"))?,
    };
    if user.len() > MAX_USER_BYTES {
        Err(wrong(claim, "is longer than 255 bytes"))
    } else if user.chars().any(char::is_control) {
        Err(wrong(claim, "has a control character in it"))
    } else {
        Ok(user)
    }
}

/// One entry of the `rooms` claim.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Join(String),
    Rights(Rights),
}

/// A misspelt name must not pass as a right that is not asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rights {
    room: String,
    rights: Vec<Right>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Right {
    Join,
    Publish,
}

/// The rooms that a member of an object names, as the `rooms` claim does, with what may be done there.
///
/// # Errors
/// [`TokenError::Claim`]: what is wrong with it.
pub fn room_rights(object: &Object<'_>, claim: &str) -> Result<Vec<RoomRight>, TokenError> {
    let Some(value) = object.get(claim) else { return Ok(Vec::new()) };
    let entries: Vec<&RawValue> = read(value).ok_or(wrong(claim, "is not a list"))?;
    if entries.len() > MAX_ROOM_RIGHTS {
        return Err(wrong(claim, "has more than 64 entries: patterns with `*` cover many rooms"));
    }
    let right = |entry: &RawValue| {
        let (pattern, rights) = match read(entry) {
            Some(Entry::Join(pattern)) => (pattern, vec![Right::Join]),
            Some(Entry::Rights(Rights { room, rights })) => (room, rights),
            None => {
                let why = "has an entry that is neither a room nor {\"room\": …, \"rights\": [\"join\", \"publish\"]}";
                return Err(wrong(claim, why));
            }
        };
        // A star may be in a room's name, so that every pattern is one.
        if Room::parse(&pattern).is_err() {
            return Err(wrong(claim, "has an entry that no room's name can fit"));
        }
        Ok(RoomRight {
            pattern: pattern.into(),
            join: rights.contains(&Right::Join),
            publish: rights.contains(&Right::Publish),
        })
    };
    entries.into_iter().map(right).collect()
}

/// The methods that a member of an object names, by pattern.
///
/// # Errors
/// [`TokenError::Claim`]: what is wrong with it.
pub fn method_patterns(object: &Object<'_>, claim: &str) -> Result<Vec<Box<str>>, TokenError> {
    let Some(value) = object.get(claim) else { return Ok(Vec::new()) };
    let patterns: Vec<Box<str>> = read(value).ok_or(wrong(claim, "is not a list of texts"))?;
    if patterns.len() > MAX_METHODS {
        return Err(wrong(claim, "has more than 64 entries: patterns with `*` cover many methods"));
    }
    match patterns.iter().any(|pattern| check_name("method", pattern).is_err()) {
        true => Err(wrong(claim, "has an entry that no method's name can fit")),
        false => Ok(patterns),
    }
}

/// The texts of a claim.
enum Claimed {
    One(String),
    Each(Vec<String>),
}

impl Claimed {
    /// What has no text is empty.
    fn find(at: &Pointer, whole: &RawValue) -> Self {
        let text = |value: &RawValue| {
            let mut text = String::new();
            let _ = text_of(value, &mut text);
            text
        };
        let value = at.find(whole).ok().flatten();
        match value.and_then(read::<Vec<&RawValue>>) {
            Some(all) => Self::Each(all.into_iter().map(text).collect()),
            None => Self::One(value.map(text).unwrap_or_default()),
        }
    }

    fn text(&self, index: usize) -> Option<&str> {
        match self {
            Self::One(text) => Some(text),
            Self::Each(all) => all.get(index).map(String::as_str),
        }
    }
}

/// The rooms that are made of claims.
fn claimed_rooms(payload: &[u8], settings: &TokenSettings) -> Vec<RoomRight> {
    let Ok(whole) = serde_json::from_slice::<&RawValue>(payload) else { return Vec::new() };
    let publish = !settings.claim_publish.is_empty() && fits(&settings.claim_publish, whole, "");
    let mut rights = Vec::new();
    for template in &settings.claim_rooms {
        let pointers =
            template.sources().filter_map(|source| if let Source::Value(at) = source { Some(at) } else { None });
        let found: Vec<(&Pointer, Claimed)> = pointers.map(|at| (at, Claimed::find(at, whole))).collect();
        let lists = found
            .iter()
            .filter_map(|(_, claimed)| if let Claimed::Each(all) = claimed { Some(all.len()) } else { None });
        for index in 0..lists.max().unwrap_or(1).min(MAX_CLAIMED_ROOMS) {
            let filled = template.fill(|source, out| {
                let claimed = found.iter().find(|(at, _)| matches!(source, Source::Value(own) if own == *at));
                out.push_str(claimed.and_then(|(_, claimed)| claimed.text(index)).unwrap_or_default());
                Ok::<_, std::convert::Infallible>(true)
            });
            let Ok(filled) = filled;
            // A star of a claim would be a pattern for other rooms.
            if let Some(name) = filled.filter(|name| Room::parse(name).is_ok() && !name.contains('*')) {
                rights.push(RoomRight { pattern: name.into(), join: true, publish });
            }
        }
    }
    rights
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}
