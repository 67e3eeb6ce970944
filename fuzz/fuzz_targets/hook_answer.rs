//! Whatever a backend answers to a question: it is read or it is none, with a sentence that can be logged and holds none of its
//! values; what is read keeps the bounds.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    auth::{MAX_ROOM_RIGHTS, MAX_USER_BYTES},
    hooks::{Allowed, Answered, ConnectAnswer, Denial, PublishAnswer, SubscribeAnswer, Verdict},
    model::{ErrorCode, Event, Payload},
};
use serde_json::value::RawValue;

/// What stands in a planted value, and must not be in a sentence.
const PLANTED: &str = "s3cret";

/// Every field that an answer may have.
const FIELDS: [&str; 13] = [
    "user",
    "rooms",
    "rights",
    "expires_at",
    "claims",
    "events",
    "topic",
    "key",
    "data",
    "data64",
    "code",
    "message",
    "cache_for",
];

fuzz_target!(|data: &[u8]| {
    all(data, None);
    let Some((choice, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    // From inside on, so that the fields are reached sooner: the bytes as fields, as a value, as a text.
    let (allow, field) = (choice & 0x80 == 0, FIELDS[usize::from(choice & 0x7f) % FIELDS.len()]);
    all(format!("{{\"allow\":{allow},{text}}}").as_bytes(), None);
    all(format!("{{\"allow\":{allow},\"{field}\":{text}}}").as_bytes(), None);
    let planted = serde_json::to_string(&format!("{PLANTED}{text}")).expect("a text is JSON");
    all(format!("{{\"allow\":{allow},\"{field}\":{planted}}}").as_bytes(), Some(PLANTED));
    all(format!("{{\"allow\":true,\"events\":[{{\"topic\":\"t\",{text}}}]}}").as_bytes(), None);
});

fn all(body: &[u8], hidden: Option<&str>) {
    if let Some(answer) = check::<ConnectAnswer>(body, hidden) {
        if let Some(user) = &answer.user {
            assert!((1..=MAX_USER_BYTES).contains(&user.len()) && !user.chars().any(char::is_control));
        }
        assert!(answer.rooms.len() <= 1_000 && answer.rights.len() <= MAX_ROOM_RIGHTS);
        assert!(answer.expires_at.is_none_or(|at| at >= 1_000_000_000_000));
        if let Some(claims) = &answer.claims {
            let raw: &RawValue = serde_json::from_str(claims).expect("claims are JSON");
            assert!(raw.get().starts_with('{'));
        }
    }
    if let Some(answer) = check::<SubscribeAnswer>(body, hidden) {
        assert!(answer.events.len() <= 1_000);
        for Event { topic, key, payload, .. } in &answer.events {
            publishable(Some(topic), key.as_deref(), Some(payload));
        }
    }
    if let Some(answer) = check::<PublishAnswer>(body, hidden) {
        publishable(answer.topic.as_deref(), answer.key.as_deref(), answer.payload.as_ref());
    }
}

/// Reads an answer, and checks what holds of each; what comes with a yes.
fn check<A: Allowed + PartialEq + std::fmt::Debug>(body: &[u8], hidden: Option<&str>) -> Option<A> {
    let read = Answered::<A>::read(body);
    assert_eq!(read, Answered::<A>::read(body));
    match read {
        Err(sentence) => {
            assert!(!sentence.is_empty() && sentence.len() < 1_200, "{sentence}");
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            assert!(hidden.is_none_or(|hidden| !sentence.contains(hidden)), "{sentence}");
            None
        }
        Ok(Answered { verdict, cache_for }) => {
            assert!(cache_for <= Duration::from_secs(86_400));
            match verdict {
                Verdict::Allow(answer) => Some(answer),
                Verdict::Deny(Denial { code, message }) => {
                    assert!(message.len() <= 1_024 && !message.chars().any(char::is_control), "{message:?}");
                    // Neither an outage nor what the pod itself knows better.
                    assert!(!matches!(code, ErrorCode::Unavailable | ErrorCode::Unknown | ErrorCode::NotSubscribed));
                    None
                }
            }
        }
    }
}

/// What a client may be sent as an event.
fn publishable(topic: Option<&str>, key: Option<&str>, payload: Option<&Payload>) {
    assert!(topic.is_none_or(|topic| (1..=255).contains(&topic.len())), "{topic:?}");
    assert!(key.is_none_or(|key| key.len() <= 255), "{key:?}");
    if let Some(Payload::Json(json)) = payload {
        let _: &RawValue = serde_json::from_str(json.get()).expect("it is JSON");
    }
}
