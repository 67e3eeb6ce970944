//! Whatever lies in Redis is read at once or refused; what is read is written back as the same event.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    broker::redis::entry::{self, ChannelMessage},
    model::{Event, Publication},
};

fuzz_target!(|data: &[u8]| {
    let data = Bytes::copy_from_slice(data);
    if let Ok(event) = entry::decode(&data, 7, 1) {
        round_trip(event);
    }
    if let Ok(ChannelMessage::Event(_, event)) = entry::message(&data) {
        assert!(event.offset < 1 << 53);
        round_trip(event);
    }
});

fn round_trip(event: Event) {
    let (offset, time) = (event.offset, event.time);
    let Event { room, topic, key, payload, user, id, .. } = event.clone();
    let publication = Publication { topic, key, payload, user, id, idempotency_key: None };
    let stored = entry::encode(&publication, room.as_ref()).expect("it was stored before");
    assert_eq!(entry::decode(&stored, offset, time).as_ref(), Ok(&event));
}
