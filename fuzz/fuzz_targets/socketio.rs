//! Whatever messages a client sends, packets are put together or refused, and what an event asks for is understood or
//! answered with an error; offsets that are read are written as they were.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    model::{Batch, ErrorCode},
    protocol::{
        Dialect, Message,
        socketio::{Assembly, Kind, Rooms, SocketioPacket, StreamOffset},
    },
};

fuzz_target!(|data: &[u8]| {
    let mut assembly = Assembly::default();
    for message in data.split(|byte| *byte == 0xff) {
        let message = match std::str::from_utf8(message) {
            Ok(text) if !text.starts_with('b') => Message::Text(text),
            _ => Message::Binary(message),
        };
        let taken = assembly.take(message, 1_000, |heard| {
            assert!(heard.packet.namespace.starts_with('/'));
            assert_eq!(heard.parts.len(), heard.packet.attachments);
            assert!(heard.parts.len() <= SocketioPacket::MAX_ATTACHMENTS);
            if heard.packet.kind == Kind::Event
                && !heard.packet.data.is_empty()
                && let Err(error) = Rooms.decode_parts(Message::Text(heard.packet.data), &heard.parts)
            {
                assert!(!error.message.is_empty() && ErrorCode::ALL.contains(&error.code));
            }
        });
        if taken.is_err() {
            return;
        }
    }
    if let Some(text) = std::str::from_utf8(data).ok()
        && let Some(StreamOffset { time, position, room }) = StreamOffset::parse(text)
    {
        let (epoch, offset) = (position.epoch, position.offset);
        let batch = Batch { room, epoch, after: 0, offset, events: Vec::new() };
        let mut json = Vec::new();
        StreamOffset::write_json(&batch, offset, time, &mut json);
        let again: String = serde_json::from_slice(&json).expect("a string");
        assert_eq!(StreamOffset::parse(&again).map(|again| (again.time, again.position.offset)), Some((time, offset)));
    }
});
