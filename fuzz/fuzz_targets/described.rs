//! Every dialect of every preset: any message is a command or an error with a sentence, and whatever JSON a publisher
//! writes, and whatever a client asks for when it comes, what the clients get is JSON.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    auth::Grant,
    config::{Flags, Preset, Variables, merge_over},
    model::{Batch, Command, Epoch, Event, IdempotencyKey, Limits, MAX_FIELD_BYTES, Payload, Room},
    protocol::{Described, Dialect, Message, Messages, Opening, ServerPush},
};
use serde_json::value::RawValue;

static DIALECTS: LazyLock<Vec<Described>> = LazyLock::new(|| {
    let settings = Preset::ALL.map(|preset| {
        merge_over(Some(&preset), &Flags::new(), &Variables::new(), None).expect("a good preset").settings
    });
    settings.into_iter().flat_map(|settings| settings.dialects).map(Described::new).collect()
});

fuzz_target!(|input: &str| {
    for dialect in DIALECTS.iter() {
        for message in [Message::Text(input), Message::Binary(input.as_bytes())] {
            match dialect.decode(message) {
                Ok(request) => {
                    if let Command::Publish { topic, key, event_id, idempotency_key, .. } = &request.command {
                        let once = idempotency_key.as_ref().map(IdempotencyKey::text);
                        let texts = [key.as_deref(), event_id.as_deref(), once];
                        assert!(!topic.is_empty() && topic.len() <= MAX_FIELD_BYTES);
                        assert!(texts.into_iter().flatten().all(|text| text.len() <= MAX_FIELD_BYTES));
                    }
                }
                Err(error) => assert!(!error.message.is_empty()),
            }
        }
        if let Ok(target) = format!("/?{input}").parse() {
            let limits = Limits { max_message_bytes: 1, max_rooms: 1, commands_per_second: 1, command_burst: 1 };
            let grant = &Grant::default();
            let resumes = true;
            let opening =
                &Opening { connection: "c", target: &target, grant, auth: None, ping_interval_ms: 1, limits, resumes };
            let mut out = Messages::default();
            let _ = dialect.open(opening, &mut out);
            dialect.push(&ServerPush::Greeting { opening, replayed: true }, &mut out);
            for (_, message) in out.iter() {
                serde_json::from_slice::<&RawValue>(message).expect("what clients get is JSON");
            }
        }
        let Ok(data) = serde_json::from_str::<&RawValue>(input) else { continue };
        let Ok(payload) = Payload::json(data.to_owned()) else { continue };
        let event = Event {
            offset: 1,
            room: None,
            time: 1,
            topic: input.chars().take(40).collect::<String>().into(),
            key: Some("k\"\\".into()),
            payload,
            user: None,
            id: None,
        };
        let room = Room::parse("trip:1\"").expect("a name");
        let batch = Batch { room, epoch: Epoch::new("e"), after: 0, offset: 1, events: vec![Arc::new(event)] };
        for spelling in 0..2 {
            let mut out = Messages::default();
            dialect.batch(&batch, spelling, &mut out);
            assert!(!out.is_empty());
            for (_, message) in out.iter() {
                serde_json::from_slice::<&RawValue>(message).expect("what clients get is JSON");
            }
        }
    }
});
