//! Whatever body a client sends, its packets are read or refused; what is written as a payload is taken apart again as it was;
//! no text but one of ours names a session.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::testing::protocol::{
    MessageKind, Messages,
    engineio::{Asked, EngineioPacket, SessionKey, packets, unframe, write_payload},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut messages = Messages::default();
    for part in packets(text).flatten() {
        let message = part.message();
        if EngineioPacket::parse(message).is_ok() {
            match message {
                roomcast::testing::protocol::Message::Text(text) => {
                    messages.push(MessageKind::Text, |out| out.extend_from_slice(text.as_bytes()));
                }
                roomcast::testing::protocol::Message::Binary(bytes) => {
                    messages.push(MessageKind::Binary, |out| out.extend_from_slice(bytes));
                }
            }
        }
    }
    let (mut payload, mut again) = (Vec::new(), Messages::default());
    write_payload(&messages, &mut payload);
    unframe(&payload, &mut again);
    assert!(messages.iter().eq(again.iter()));
    let _ = Asked::parse(&http::Method::GET, Some(text), false);
    assert!(SessionKey::new(b"nobody's").read(text).is_none());
});
