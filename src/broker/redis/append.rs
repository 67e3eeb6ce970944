//! An event as the script `publish` takes it: the words of a call with several, and what the answer says of each.
//!
//! Pure. Always holds: an event whose answer cannot be read counts as one that may be in its log.

use std::time::Duration;

use bytes::Bytes;
use fred::{interfaces::Resp3Frame, types::Value};

use super::{
    arguments::{count, millis},
    reply::{ReplyError, ReplyFields},
};
use crate::model::Fingerprint;

/// What an event costs in a call beside its own bytes: its room, its key, and what the protocol puts around each word.
const WORDS: usize = 200;

/// How a room's log is kept: events of one kind share these words in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogKind {
    /// How long the room is known after its last event.
    pub(super) ttl: Duration,
    /// The log's most events; 0: there is no log.
    pub(super) size: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
    /// How long a key of the event is known.
    pub(super) key_age: Duration,
    /// The most retained values; 0: there are none.
    pub(super) values: usize,
}

/// The key of an event: what has the key of an event of before is that event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventKey {
    /// Its name below the place.
    pub(super) name: String,
    /// What an event with this key must be the same in; `None`: in nothing.
    pub(super) fingerprint: Option<Fingerprint>,
}

/// An event on its way into its room's log.
#[derive(Debug)]
pub(super) struct AppendedEvent {
    /// What the room's keys begin with.
    pub(super) place: String,
    pub(super) room: String,
    pub(super) once: Option<EventKey>,
    /// `None`: it enters no log, and `event` is the message about it.
    pub(super) kind: Option<LogKind>,
    /// Names this publish, so that it is found again in the log.
    pub(super) attempt: [u8; 12],
    /// `+` and the name of the retained value that it sets, or `-` and that of the one that it removes.
    pub(super) value: Option<String>,
    pub(super) event: Bytes,
}

impl AppendedEvent {
    /// Its bytes in a call, about.
    pub(super) fn bytes(&self) -> usize {
        self.event.len() + self.value.as_ref().map_or(0, String::len) + WORDS
    }

    /// The record of its room.
    pub(super) fn record(&self) -> String {
        format!("{}room:{}", self.place, self.room)
    }

    /// Whether it may be sent again after a call of which nothing is known.
    pub(super) fn can_be_found_again(&self) -> bool {
        self.kind.is_some()
    }
}

/// The arguments of a call with these events. An event that may be in its log already comes with the time since it was sent first.
pub(super) fn arguments<'a>(
    base: String,
    publish: &'static str,
    events: impl Iterator<Item = (&'a AppendedEvent, Option<Duration>)> + Clone,
) -> Vec<Value> {
    let mut kinds: Vec<LogKind> = Vec::new();
    for kind in events.clone().filter_map(|(event, _)| event.kind) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let mut words = Vec::with_capacity(3 + kinds.len() * 6 + events.size_hint().0 * 5);
    words.extend([Value::from(base), Value::from_static_str(publish), count(kinds.len())]);
    for kind in &kinds {
        let LogKind { ttl, size, bytes, age, key_age, values } = *kind;
        words.extend([millis(ttl), count(size), count(bytes), millis(age), millis(key_age), count(values)]);
    }
    for (event, tried) in events {
        let kind = event.kind.and_then(|kind| kinds.iter().position(|known| *known == kind)).map_or(0, |at| at + 1);
        let kind = match (&event.once, &event.value) {
            (None, None) => count(kind),
            (Some(_), None) => Value::from(format!("{kind}k")),
            (None, Some(_)) => Value::from(format!("{kind}v")),
            (Some(_), Some(_)) => Value::from(format!("{kind}kv")),
        };
        let mut attempt = event.attempt.to_vec();
        if let Some(tried) = tried {
            attempt.extend((tried.as_millis() + 1).to_string().into_bytes());
        }
        words.extend([
            Value::from(event.place.as_str()),
            Value::from(event.room.as_str()),
            kind,
            Value::Bytes(attempt.into()),
            Value::Bytes(event.event.clone()),
        ]);
        if let Some(EventKey { name, fingerprint }) = &event.once {
            words.push(Value::from(name.as_str()));
            words.push(Value::from(fingerprint.map_or_else(String::new, |print| print.to_string())));
        }
        words.extend(event.value.as_ref().map(|word| Value::from(word.as_str())));
    }
    words
}

/// What a call says of one of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AppendAnswer {
    /// It has been published, at this position if it is in a log; what Redis refused of it beside.
    Done { position: Option<String>, refused: Option<String> },
    /// Nothing was done: the error.
    Refused(String),
    /// Nothing was done: its key is another event's.
    Conflict,
    /// It may have been published before, and the log does not tell.
    Unknown,
}

/// What a call says of its events, of which there were so many.
///
/// # Errors
/// [`ReplyError`]: it is not the script's answer.
pub(super) fn answers(frame: Resp3Frame, events: usize) -> Result<Vec<AppendAnswer>, ReplyError> {
    let texts = ReplyFields::of(frame)?.rest()?;
    if texts.len() != events {
        return Err(ReplyError);
    }
    Ok(texts.into_iter().map(answer).collect())
}

fn answer(text: String) -> AppendAnswer {
    if let Some(error) = text.strip_prefix('-') {
        return AppendAnswer::Refused(error.to_owned());
    }
    match &*text {
        "?" => return AppendAnswer::Unknown,
        "!" => return AppendAnswer::Conflict,
        _ => {}
    }
    let (position, refused) = text.split_once('\n').map_or((&*text, None), |(position, why)| (position, Some(why)));
    AppendAnswer::Done { position: (position != "+").then(|| position.to_owned()), refused: refused.map(str::to_owned) }
}

/// Whether the keys of an event are on another server, or on their way there. Redis says so of a command in a script, and does not
/// say where they are. Redis 6 begins with "Lua script attempted to", Redis 7 with
/// "Script attempted to", Valkey 9 with "Attempted to", or says only that the cluster is down.
pub(super) fn is_elsewhere(error: &str) -> bool {
    error.contains("ttempted to") || error.contains("cluster is down")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(room: &str, kind: Option<LogKind>) -> AppendedEvent {
        AppendedEvent {
            place: "p:{0}:".to_owned(),
            room: room.to_owned(),
            once: None,
            kind,
            attempt: *b"abcdefghijkl",
            value: None,
            event: Bytes::from_static(b"event"),
        }
    }

    fn kind(size: usize) -> LogKind {
        let second = Duration::from_secs(1);
        LogKind { ttl: second, size, bytes: 9, age: second, key_age: second, values: 0 }
    }

    fn texts(words: Vec<Value>) -> Vec<String> {
        words.into_iter().map(|word| word.into_string().expect("a text")).collect()
    }

    #[test]
    fn events_of_one_kind_share_its_words() {
        let print = Fingerprint::of([Some(&b"t"[..]), None]);
        let key = |name: &str, fingerprint| Some(EventKey { name: name.to_owned(), fingerprint });
        let events = [
            event("a", Some(kind(5))),
            AppendedEvent { once: key("once:b k", Some(print)), ..event("b", Some(kind(7))) },
            AppendedEvent { once: key("try:c n", None), value: Some("+r".to_owned()), ..event("c", Some(kind(5))) },
            event("d", None),
        ];
        let all = events.iter().zip([None, Some(Duration::from_millis(20)), None, None]);
        let words = texts(arguments("base".to_owned(), "SPUBLISH", all));
        assert_eq!(words[..3], ["base", "SPUBLISH", "2"]);
        assert_eq!(words[3..15].join(" "), "1000 5 9 1000 1000 0 1000 7 9 1000 1000 0");
        assert_eq!(
            words[15..].join("|"),
            "p:{0}:|a|1|abcdefghijkl|event|p:{0}:|b|2k|abcdefghijkl21|event|once:b k|04SXq891|p:{0}:|c|1kv|abcdefghijkl|event|\
             try:c n||+r|p:{0}:|d|0|abcdefghijkl|event"
        );
    }

    #[test]
    fn each_event_has_an_answer_of_its_own() {
        let frame = |texts: &[&str]| Resp3Frame::Array {
            data: texts
                .iter()
                .map(|text| Resp3Frame::BlobString { data: Bytes::copy_from_slice(text.as_bytes()), attributes: None })
                .collect(),
            attributes: None,
        };
        let done = |position: Option<&str>, refused: Option<&str>| AppendAnswer::Done {
            position: position.map(str::to_owned),
            refused: refused.map(str::to_owned),
        };
        let said = answers(frame(&["b.r 7", "-OOM no", "?", "b.r 8\nNOPERM so", "+", "!"]), 6).expect("answers");
        let refused = AppendAnswer::Refused("OOM no".to_owned());
        let partly = done(Some("b.r 8"), Some("NOPERM so"));
        let (unlogged, conflict) = (done(None, None), AppendAnswer::Conflict);
        assert_eq!(said, [done(Some("b.r 7"), None), refused, AppendAnswer::Unknown, partly, unlogged, conflict]);
        assert_eq!(answers(frame(&["b.r 7"]), 2), Err(ReplyError));
    }

    #[test]
    fn an_event_of_another_server_is_told_from_one_that_is_refused() {
        for (error, elsewhere) in [
            ("ERR Script attempted to access a non local key in a cluster node", true),
            ("ERR Attempted to access a non local key in a cluster node", true),
            ("ERR Error running script: @user_script:1: Lua script attempted to access a non local key", true),
            ("ERR Script attempted to execute a command while the cluster is down", true),
            ("ERR Can not execute a command 'xadd' while the cluster is down", true),
            ("OOM command not allowed when used memory > 'maxmemory'", false),
        ] {
            assert_eq!(is_elsewhere(error), elsewhere, "{error}");
        }
    }
}
