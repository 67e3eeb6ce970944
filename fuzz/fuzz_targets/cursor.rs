//! Whatever a client brings to a long-poll or an event stream as where it stands: it is read or refused, and what is read is
//! written as text that fits into a header and is read as the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::testing::model::{Cursor, Room, Since};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(since) = Since::parse(text) {
        let again = Since::parse(&format!("{}:{}", since.epoch.as_str(), since.offset)).expect("it is ours");
        assert_eq!((again.epoch, again.offset), (since.epoch, since.offset));
    }
    let Ok(cursor) = Cursor::parse(text) else { return };
    let written = cursor.to_string();
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written:?}");
    assert_eq!(Cursor::parse(&written).expect("it is ours"), cursor);
    for (part, (name, _)) in written.split('&').zip(form_urlencoded::parse(written.as_bytes())) {
        let room = Room::parse(&name).expect("it is ours");
        assert!(cursor.of(&room).is_some());
        assert!(part.len() <= Cursor::most_bytes(&room), "{part:?}");
        let mut left = cursor.clone();
        left.forget(&room);
        assert!(left.of(&room).is_none());
    }
});
