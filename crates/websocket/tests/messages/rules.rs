//! The reader's rules, one by one.

use std::ops::ControlFlow;

use roomcast_websocket::{Deflater, Frame, Inflater, MessageLimits, Opcode, ReadError, Reader, Role};

use crate::support::{Got, KEY, LIMITS, client, compressed, part, read, read_chunks, text, whole};

fn refused(frames: &[Frame<'_>], limits: &MessageLimits) -> ReadError {
    let bytes = client(frames);
    let (_, end) = read_chunks(&mut Reader::new(Role::Server, true), limits, [&bytes[..]]);
    let mut reader = Reader::new(Role::Server, true);
    assert_eq!(read_chunks(&mut reader, limits, bytes.chunks(1)).1, end, "byte by byte");
    end.unwrap_err()
}

#[test]
fn a_reader_is_small() {
    assert!(size_of::<Reader>() <= 64, "{} bytes", size_of::<Reader>());
}

#[test]
fn fragments_join_and_control_frames_come_between() {
    let bytes = client(&[
        whole(Opcode::Text, b"one"),
        part(Opcode::Text, b"tw"),
        whole(Opcode::Ping, b"ping"),
        part(Opcode::Continuation, b""),
        whole(Opcode::Pong, b""),
        whole(Opcode::Continuation, b"o"),
        part(Opcode::Binary, b""),
        whole(Opcode::Continuation, b""),
        whole(Opcode::Close, b"\x03\xe8bye"),
        whole(Opcode::Text, b"ignored"),
    ]);
    let expected = [
        text("one"),
        Got::Ping(b"ping".to_vec()),
        Got::Pong(vec![]),
        text("two"),
        Got::Binary(vec![]),
        Got::Close(Some((1000, "bye".to_owned()))),
    ];
    for size in 1..bytes.len() {
        let (got, end) = read_chunks(&mut Reader::new(Role::Server, true), &LIMITS, bytes.chunks(size));
        assert_eq!((&got[..], end), (&expected[..], Ok(())), "in chunks of {size}");
    }
}

#[test]
fn a_break_stops_after_its_message() {
    let mut bytes = client(&[whole(Opcode::Text, b"one"), whole(Opcode::Text, b"two")]);
    let mut reader = Reader::new(Role::Server, true);
    let mut count = 0;
    for _ in 0..2 {
        let end = reader.read(&mut bytes.clone(), &mut Inflater::new(), &LIMITS, &mut |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert_eq!((end, count), (Ok(()), 1));
    }
    bytes.clear();
    assert!(!reader.is_mid_message());
}

#[test]
fn roles_want_and_refuse_masks() {
    let mut from_server = Vec::new();
    Frame::new(Opcode::Text, b"x").write_server(&mut from_server);
    let from_client = client(&[whole(Opcode::Text, b"x")]);
    for (role, good, bad) in [(Role::Server, &from_client, &from_server), (Role::Client, &from_server, &from_client)] {
        assert_eq!(read_chunks(&mut Reader::new(role, false), &LIMITS, [&good[..]]), (vec![text("x")], Ok(())));
        let (got, end) = read_chunks(&mut Reader::new(role, false), &LIMITS, [&bad[..]]);
        assert_eq!((got, end), (vec![], Err(ReadError::Protocol)));
    }
}

#[test]
fn headers_that_break_the_rules_are_refused() {
    let data = whole(Opcode::Text, b"x");
    for frames in [
        &[whole(Opcode::Continuation, b"nothing to continue")][..],
        &[part(Opcode::Text, b"a"), data],
        &[part(Opcode::Text, b"a"), whole(Opcode::Binary, b"b")],
        &[part(Opcode::Ping, b"fragmented")],
        &[whole(Opcode::Ping, &[0; 126])],
        &[whole(Opcode::Close, &[0; 126])],
        &[compressed(whole(Opcode::Ping, b""))],
        &[compressed(part(Opcode::Text, b"")), compressed(whole(Opcode::Continuation, b"\0"))],
        &[part(Opcode::Text, b"a"), compressed(whole(Opcode::Continuation, b"b"))],
    ] {
        assert_eq!(refused(frames, &LIMITS), ReadError::Protocol, "{frames:?}");
    }
    // RSV1 without the extension.
    let mut reader = Reader::new(Role::Server, false);
    let bytes = client(&[compressed(whole(Opcode::Text, b"\0"))]);
    assert_eq!(read_chunks(&mut reader, &LIMITS, [&bytes[..]]).1, Err(ReadError::Protocol));
    // RSV2, RSV3; reserved opcodes.
    let plain = client(&[data]);
    for first in [0xa1, 0x91].into_iter().chain((0x83..=0x87).chain(0x8b..=0x8f)) {
        let mut bytes = plain.clone();
        bytes[0] = first;
        assert_eq!(read(&bytes).1, Err(ReadError::Protocol), "{first:x}");
    }
}

#[test]
fn messages_before_a_fault_are_handed_out_and_nothing_after_it() {
    let mut bytes = client(&[whole(Opcode::Text, b"good"), whole(Opcode::Text, b"\xff")]);
    let mut reader = Reader::new(Role::Server, true);
    assert_eq!(read_chunks(&mut reader, &LIMITS, [&bytes[..]]), (vec![text("good")], Err(ReadError::InvalidData)));
    bytes.truncate(10);
    assert_eq!(read_chunks(&mut reader, &LIMITS, [&bytes[..]]), (vec![], Ok(())));
}

#[test]
fn text_is_utf8() {
    let message = "Hello-µ@ßöäüàá-UTF-8!!𝄞";
    for cut in 0..message.len() {
        let (start, end) = message.as_bytes().split_at(cut);
        let bytes = client(&[part(Opcode::Text, start), whole(Opcode::Continuation, end)]);
        assert_eq!(read(&bytes), (vec![text(message)], Ok(())));
    }
    for bad in [&b"\xce\xba\xed\xa0\x80"[..], b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82"] {
        assert_eq!(refused(&[whole(Opcode::Text, bad)], &LIMITS), ReadError::InvalidData);
        assert_eq!(read(&client(&[whole(Opcode::Binary, bad)])), (vec![Got::Binary(bad.to_vec())], Ok(())));
        let (start, end) = bad.split_at(1);
        let frames = [part(Opcode::Text, start), whole(Opcode::Continuation, end)];
        assert_eq!(refused(&frames, &LIMITS), ReadError::InvalidData);
    }
}

#[test]
fn close_frames_are_checked() {
    let close = |payload: &[u8]| read(&client(&[whole(Opcode::Close, payload)]));
    assert_eq!(close(b""), (vec![Got::Close(None)], Ok(())));
    let valid = (1000..=1003).chain(1007..=1013).chain(3000..=4999);
    for code in 0..=u16::MAX {
        let expected = if valid.clone().any(|valid| valid == code) {
            (vec![Got::Close(Some((code, String::new())))], Ok(()))
        } else {
            (vec![], Err(ReadError::Protocol))
        };
        assert_eq!(close(&code.to_be_bytes()), expected, "{code}");
    }
    assert_eq!(close(b"\x03"), (vec![], Err(ReadError::Protocol)));
    assert_eq!(close(b"\x03\xe8\xff"), (vec![], Err(ReadError::InvalidData)));
    let reason = [&b"\x0f\xa8"[..], &[b'x'; 123]].concat();
    assert_eq!(close(&reason), (vec![Got::Close(Some((4008, "x".repeat(123))))], Ok(())));
}

#[test]
fn what_is_too_big_is_refused_before_it_is_buffered() {
    let limits = MessageLimits { max_message: 10, max_fragments: 3 };
    let ten = client(&[whole(Opcode::Binary, &[7; 10])]);
    assert_eq!(read_chunks(&mut Reader::new(Role::Server, true), &limits, [&ten[..]]).1, Ok(()));
    assert_eq!(refused(&[whole(Opcode::Binary, &[7; 11])], &limits), ReadError::TooBig);
    let frames = [part(Opcode::Binary, &[7; 5]), whole(Opcode::Continuation, &[7; 6])];
    assert_eq!(refused(&frames, &limits), ReadError::TooBig);
    let next = part(Opcode::Continuation, b"");
    assert_eq!(refused(&[part(Opcode::Text, b""), next, next, next], &limits), ReadError::TooBig);

    // The header alone is enough, and announces all there can be.
    for header in [b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x0b", b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let header = [&header[..], &KEY].concat();
        let mut reader = Reader::new(Role::Server, true);
        assert_eq!(read_chunks(&mut reader, &limits, header.chunks(3)).1, Err(ReadError::TooBig));
        assert_eq!(reader.held_bytes(), 0);
    }
}

#[test]
fn what_is_announced_is_not_reserved() {
    let limits = MessageLimits { max_message: 1 << 20, max_fragments: 3 };
    let frame = client(&[whole(Opcode::Binary, &[7; 1 << 20])]);
    let mut reader = Reader::new(Role::Server, true);
    let (got, end) = read_chunks(&mut reader, &limits, [&frame[..1000]]);
    assert_eq!((got, end), (vec![], Ok(())));
    assert!(reader.held_bytes() < 2048, "{}", reader.held_bytes());
    // And at the end there is no more than the message.
    let rest = &frame[1000..frame.len() - 1];
    assert_eq!(read_chunks(&mut reader, &limits, rest.chunks(777)), (vec![], Ok(())));
    assert_eq!(reader.held_bytes(), 1 << 20);
}

#[test]
fn a_message_in_many_pieces_is_copied_a_few_times_only() {
    let limits = MessageLimits { max_message: 1 << 20, max_fragments: 1 << 20 };
    let one_frame = client(&[whole(Opcode::Binary, &[7; 100_000])]);
    let many_frames: Vec<u8> = (0..100_000)
        .flat_map(|i| client(&[part(if i == 0 { Opcode::Binary } else { Opcode::Continuation }, b"7")]))
        .collect();
    for bytes in [&one_frame[..one_frame.len() - 1], &many_frames] {
        let mut reader = Reader::new(Role::Server, true);
        let mut moves = 0;
        for chunk in bytes.chunks(7) {
            let before = reader.held_bytes();
            assert_eq!(read_chunks(&mut reader, &limits, [chunk]), (vec![], Ok(())));
            moves += usize::from(reader.held_bytes() != before);
        }
        assert!(moves <= 20, "{moves} reallocations");
    }
}

#[test]
fn a_bomb_is_too_big_and_garbage_is_invalid() {
    let mut deflater = Deflater::new(9, 15);
    let bomb = deflater.deflate(&vec![b' '; 10 << 20]).unwrap().to_vec();
    assert!(bomb.len() < LIMITS.max_message);
    assert_eq!(refused(&[compressed(whole(Opcode::Text, &bomb))], &LIMITS), ReadError::TooBig);
    assert_eq!(refused(&[compressed(whole(Opcode::Text, b"\xff\xff"))], &LIMITS), ReadError::InvalidData);
    let latin = deflater.deflate(&[0xe9; 100]).unwrap().to_vec();
    assert_eq!(refused(&[compressed(whole(Opcode::Text, &latin))], &LIMITS), ReadError::InvalidData);
    assert_eq!(read(&client(&[compressed(whole(Opcode::Binary, b""))])), (vec![Got::Binary(vec![])], Ok(())));
}

#[test]
fn a_window_is_honoured() {
    // Noise that repeats itself after 1,500 bytes: windows of 512 and 1,024 bytes must not see it, larger ones should.
    let mut random = 1_u32;
    let unit: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    })
    .take(1500)
    .collect();
    let message = unit.repeat(20);
    for level in 1..=9 {
        for window_bits in 9..=15 {
            let mut deflater = Deflater::new(level, window_bits);
            let size = deflater.deflate(&message).map_or(message.len(), <[u8]>::len);
            assert_eq!(size < message.len() / 3, window_bits >= 11, "level {level}, {window_bits} bits: {size}");
        }
    }
}
