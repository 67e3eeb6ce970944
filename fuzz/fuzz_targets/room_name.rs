//! A room's name that is accepted keeps the rules; one that is refused breaks the rule that the error names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::testing::model::{Room, RoomNameError};

fuzz_target!(|name: &str| {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || c == '{' || c == '}';
    match Room::parse(name) {
        Ok(room) => {
            assert_eq!(room.as_str(), name);
            assert!((1..=Room::MAX_BYTES).contains(&name.len()) && !name.contains(forbidden));
            assert!(name.starts_with(room.namespace()) && !room.namespace().contains(':'));
        }
        Err(RoomNameError::Empty) => assert!(name.is_empty()),
        Err(RoomNameError::TooLong(bytes)) => assert!(bytes == name.len() && bytes > Room::MAX_BYTES),
        Err(RoomNameError::Character(c)) => assert!(forbidden(c) && name.contains(c)),
        Err(RoomNameError::Invisible(c)) => assert!(!forbidden(c) && !c.is_ascii() && name.contains(c)),
    }
});
