//! Plain messages of other publishers, by the descriptions of every preset and by templates that the input makes up: what comes
//! out keeps the rules for publishers, and its data is the message's own bytes.
//!
//! Lines of the input: the template of the room, that of the topic, a JSON pointer, the channel; the rest is the message.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    broker::legacy::{map, taker},
    config::{ChannelPattern, Encoding, Flags, Legacy, Preset, Variables, merge_over},
    dialect::{Offers, Pointer, Template},
    model::{IdempotencyKey, MAX_FIELD_BYTES, Payload, Publication, Room, check_topic, with_whole_pairs},
};

static DESCRIBED: LazyLock<Vec<Legacy>> = LazyLock::new(|| {
    let settings = Preset::ALL.map(|preset| {
        merge_over(Some(&preset), &Flags::new(), &Variables::new(), None).expect("a good preset").settings
    });
    let described: Vec<Legacy> = settings.into_iter().flat_map(|settings| settings.legacy).collect();
    assert!(!described.is_empty(), "some preset describes plain messages");
    described
});

fn check(legacy: &Legacy, message: &[u8], room: &Room, event: &Publication) {
    assert_eq!(Room::parse(room.as_str()).as_ref(), Ok(room));
    check_topic(&event.topic).expect("a topic that a publisher may write");
    for text in [&event.key, &event.id].into_iter().flatten() {
        assert!(text.len() <= MAX_FIELD_BYTES);
    }
    let key = event.idempotency_key.as_ref().map(IdempotencyKey::text);
    assert!(key == event.id.as_deref() && event.user.is_none());
    let Payload::Json(data) = &event.payload else { panic!("plain messages become JSON") };
    let (data, message) = (data.get(), std::str::from_utf8(message).expect("only text becomes an event"));
    match legacy.encoding {
        Encoding::Json => assert!(with_whole_pairs(message).contains(data), "{data} is not in {message}"),
        Encoding::Text => assert_eq!(serde_json::from_str::<String>(data).expect("a JSON text"), message),
    }
}

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(5, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (room, topic, data, channel, message) = (next(), next(), next(), next(), next().as_bytes());

    for legacy in DESCRIBED.iter() {
        for pattern in &legacy.channels {
            let Some((taker, captures)) = taker(&DESCRIBED, pattern.as_str(), channel) else { continue };
            if let Ok((room, event)) = map(taker, channel, &captures, message) {
                check(taker, message, &room, &event);
            }
        }
    }

    for offers in [Offers::Message, Offers::Request, Offers::Channel] {
        let Ok(template) = Template::parse(room, offers) else { continue };
        assert_eq!(template.as_str(), room);
        let filled = template.fill(|_, out| {
            out.push('x');
            Ok::<_, ()>(true)
        });
        assert_eq!(filled, Ok(Some(template.example())), "an example is the template, each placeholder an x");
    }
    let (Ok(room), Ok(topic), Ok(data), Ok(pattern)) = (
        Template::parse(room, Offers::Channel),
        Template::parse(topic, Offers::Channel),
        Pointer::parse(data),
        ChannelPattern::parse("*:*"),
    ) else {
        return;
    };
    let Some(captures) = pattern.captures(channel) else { return };
    for encoding in [Encoding::Json, Encoding::Text] {
        let key = Some(topic.clone());
        let legacy = Legacy {
            channels: vec![pattern.clone()],
            room: room.clone(),
            or_rooms: vec![topic.clone()],
            topic: topic.clone(),
            id: key.clone(),
            key,
            data: data.clone(),
            encoding,
        };
        if let Ok((room, event)) = map(&legacy, channel, &captures, message) {
            check(&legacy, message, &room, &event);
        }
    }
});
