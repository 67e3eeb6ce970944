//! The reader's rules, one by one, and the properties of the whole layer: however a stream is cut, the same messages come
//! out; what one side writes the other side reads.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    model::Disconnect,
    protocol::{MessageKind, Messages},
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMITS: MessageLimits = MessageLimits { max_message: 64 * 1024, max_fragments: 16 };

/// An owned [`Incoming`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Got {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_owned()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_owned()),
            Incoming::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

/// Reads chunk by chunk; checks that nothing is held whenever nothing is incomplete.
fn read_chunks<'a>(
    reader: &mut Reader,
    limits: &MessageLimits,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Got>, Result<(), Disconnect>) {
    let mut inflater = Inflater::new();
    let mut got = Vec::new();
    for chunk in chunks {
        let end = reader.read(&mut chunk.to_vec(), &mut inflater, limits, &mut |incoming| {
            got.push(incoming.into());
            ControlFlow::Continue(())
        });
        assert!(reader.is_mid_message() || reader.held_bytes() == 0, "{reader:?}");
        if end.is_err() {
            return (got, end);
        }
    }
    (got, Ok(()))
}

fn read(bytes: &[u8]) -> (Vec<Got>, Result<(), Disconnect>) {
    read_chunks(&mut Reader::new(Role::Server, true), &LIMITS, [bytes])
}

/// Frames as a client sends them.
fn client(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        frame.write_client(KEY, &mut out);
    }
    out
}

fn part(opcode: Opcode, payload: &[u8]) -> Frame<'_> {
    Frame { last: false, ..Frame::new(opcode, payload) }
}

fn compressed(frame: Frame<'_>) -> Frame<'_> {
    Frame { compressed: true, ..frame }
}

fn whole(opcode: Opcode, payload: &[u8]) -> Frame<'_> {
    Frame::new(opcode, payload)
}

fn refused(frames: &[Frame<'_>], limits: &MessageLimits) -> Disconnect {
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
        assert_eq!((got, end), (vec![], Err(Disconnect::ProtocolError)));
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
        assert_eq!(refused(frames, &LIMITS), Disconnect::ProtocolError, "{frames:?}");
    }
    // RSV1 without the extension.
    let mut reader = Reader::new(Role::Server, false);
    let bytes = client(&[compressed(whole(Opcode::Text, b"\0"))]);
    assert_eq!(read_chunks(&mut reader, &LIMITS, [&bytes[..]]).1, Err(Disconnect::ProtocolError));
    // RSV2, RSV3; reserved opcodes.
    let plain = client(&[data]);
    for first in [0xa1, 0x91].into_iter().chain((0x83..=0x87).chain(0x8b..=0x8f)) {
        let mut bytes = plain.clone();
        bytes[0] = first;
        assert_eq!(read(&bytes).1, Err(Disconnect::ProtocolError), "{first:x}");
    }
}

#[test]
fn messages_before_a_fault_are_handed_out_and_nothing_after_it() {
    let mut bytes = client(&[whole(Opcode::Text, b"good"), whole(Opcode::Text, b"\xff")]);
    let mut reader = Reader::new(Role::Server, true);
    assert_eq!(read_chunks(&mut reader, &LIMITS, [&bytes[..]]), (vec![text("good")], Err(Disconnect::InvalidData)));
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
        assert_eq!(refused(&[whole(Opcode::Text, bad)], &LIMITS), Disconnect::InvalidData);
        assert_eq!(read(&client(&[whole(Opcode::Binary, bad)])), (vec![Got::Binary(bad.to_vec())], Ok(())));
        let (start, end) = bad.split_at(1);
        let frames = [part(Opcode::Text, start), whole(Opcode::Continuation, end)];
        assert_eq!(refused(&frames, &LIMITS), Disconnect::InvalidData);
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
            (vec![], Err(Disconnect::ProtocolError))
        };
        assert_eq!(close(&code.to_be_bytes()), expected, "{code}");
    }
    assert_eq!(close(b"\x03"), (vec![], Err(Disconnect::ProtocolError)));
    assert_eq!(close(b"\x03\xe8\xff"), (vec![], Err(Disconnect::InvalidData)));
    let reason = [&b"\x0f\xa8"[..], &[b'x'; 123]].concat();
    assert_eq!(close(&reason), (vec![Got::Close(Some((4008, "x".repeat(123))))], Ok(())));
}

#[test]
fn what_is_too_big_is_refused_before_it_is_buffered() {
    let limits = MessageLimits { max_message: 10, max_fragments: 3 };
    let ten = client(&[whole(Opcode::Binary, &[7; 10])]);
    assert_eq!(read_chunks(&mut Reader::new(Role::Server, true), &limits, [&ten[..]]).1, Ok(()));
    assert_eq!(refused(&[whole(Opcode::Binary, &[7; 11])], &limits), Disconnect::TooBig);
    let frames = [part(Opcode::Binary, &[7; 5]), whole(Opcode::Continuation, &[7; 6])];
    assert_eq!(refused(&frames, &limits), Disconnect::TooBig);
    let next = part(Opcode::Continuation, b"");
    assert_eq!(refused(&[part(Opcode::Text, b""), next, next, next], &limits), Disconnect::TooBig);

    // The header alone is enough, and announces all there can be.
    for header in [b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x0b", b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let header = [&header[..], &KEY].concat();
        let mut reader = Reader::new(Role::Server, true);
        assert_eq!(read_chunks(&mut reader, &limits, header.chunks(3)).1, Err(Disconnect::TooBig));
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
    assert_eq!(refused(&[compressed(whole(Opcode::Text, &bomb))], &LIMITS), Disconnect::TooBig);
    assert_eq!(refused(&[compressed(whole(Opcode::Text, b"\xff\xff"))], &LIMITS), Disconnect::InvalidData);
    let latin = deflater.deflate(&[0xe9; 100]).unwrap().to_vec();
    assert_eq!(refused(&[compressed(whole(Opcode::Text, &latin))], &LIMITS), Disconnect::InvalidData);
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

/// A message in parts, perhaps compressed, with control frames between.
#[derive(Debug, Clone)]
struct Sent {
    kind: MessageKind,
    payload: Vec<u8>,
    compressed: bool,
    cuts: Vec<prop::sample::Index>,
    ping: Option<Vec<u8>>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        "[ -~µ𝄞]{0,60}".prop_map(|text| (MessageKind::Text, text.into_bytes())),
        vec(any::<u8>(), 0..300).prop_map(|bytes| (MessageKind::Binary, bytes)),
        (1..2000_usize).prop_map(|n| (MessageKind::Text, b"{\"offset\":1}".repeat(n / 12))),
    ];
    let cuts = vec(any::<prop::sample::Index>(), 0..6);
    (payload, any::<bool>(), cuts, prop::option::of(vec(any::<u8>(), 0..126)))
        .prop_map(|((kind, payload), compressed, cuts, ping)| Sent { kind, payload, compressed, cuts, ping })
}

impl Sent {
    fn write(&self, key: Option<[u8; 4]>, out: &mut Vec<u8>, expected: &mut Vec<Got>) {
        let mut deflater = Deflater::new(6, 15);
        let deflated = if self.compressed { deflater.deflate(&self.payload) } else { None };
        let payload = deflated.unwrap_or(&self.payload);
        let mut ends: Vec<usize> = self.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(payload.len());
        let mut start = 0;
        for (i, &end) in ends.iter().enumerate() {
            let opcode = match (i, self.kind) {
                (0, MessageKind::Text) => Opcode::Text,
                (0, MessageKind::Binary) => Opcode::Binary,
                _ => Opcode::Continuation,
            };
            let last = i + 1 == ends.len();
            let compressed = i == 0 && deflated.is_some();
            let frame = Frame { opcode, last, compressed, payload: &payload[start..end] };
            let ping = self.ping.as_ref().filter(|_| i == 0).map(|ping| Frame::new(Opcode::Ping, ping));
            for frame in [Some(frame), ping].into_iter().flatten() {
                match key {
                    Some(key) => frame.write_client(key, out),
                    None => frame.write_server(out),
                }
            }
            if let Some(ping) = ping.filter(|_| !last) {
                expected.push(Got::Ping(ping.payload.to_vec()));
            }
            start = end;
        }
        expected.push(match self.kind {
            MessageKind::Text => Got::Text(String::from_utf8(self.payload.clone()).unwrap()),
            MessageKind::Binary => Got::Binary(self.payload.clone()),
        });
        if let Some(ping) = self.ping.as_ref().filter(|_| ends.len() == 1) {
            expected.push(Got::Ping(ping.clone()));
        }
    }
}

/// The stream in chunks of the given sizes, again and again.
fn chunks<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = bytes.len().min(*sizes.next()?);
        let (chunk, rest) = bytes.split_at(size);
        bytes = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

proptest! {
    #[test]
    fn what_one_side_writes_the_other_reads_however_it_is_cut(
        messages in vec(sent(), 0..6),
        key in prop::option::of(any::<[u8; 4]>()),
        sizes in vec(1..200_usize, 1..10),
    ) {
        let role = if key.is_some() { Role::Server } else { Role::Client };
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            message.write(key, &mut bytes, &mut expected);
        }
        let one_shot = read_chunks(&mut Reader::new(role, true), &LIMITS, [&bytes[..]]);
        prop_assert_eq!(&one_shot, &(expected, Ok(())));
        let mut reader = Reader::new(role, true);
        prop_assert_eq!(&read_chunks(&mut reader, &LIMITS, chunks(&bytes, &sizes)), &one_shot);
        prop_assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn broken_streams_break_the_same_however_they_are_cut(
        messages in vec(sent(), 1..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        sizes in vec(1..50_usize, 1..10),
    ) {
        let mut bytes = Vec::new();
        for message in &messages {
            message.write(Some(KEY), &mut bytes, &mut Vec::new());
        }
        *at.get_mut(&mut bytes) = byte;
        let limits = MessageLimits { max_message: 1000, max_fragments: 5 };
        let one_shot = read_chunks(&mut Reader::new(Role::Server, true), &limits, [&bytes[..]]);
        let cut = read_chunks(&mut Reader::new(Role::Server, true), &limits, chunks(&bytes, &sizes));
        prop_assert_eq!(cut, one_shot);
    }

    #[test]
    fn a_run_of_frames_reads_back(
        payloads in vec(prop_oneof![vec(any::<u8>(), 0..200), vec(0..4_u8, 0..3000)], 0..5),
        window_bits in 9..=15_u8,
        min_size in 0..500_usize,
        compress in any::<bool>(),
    ) {
        let mut messages = Messages::default();
        for payload in &payloads {
            messages.push(MessageKind::Binary, |out| out.extend_from_slice(payload));
        }
        let mut deflaters = Deflaters::new(Deflater::DEFAULT_LEVEL);
        let mut out = Vec::new();
        let deflate = compress.then(|| (deflaters.window(window_bits), min_size));
        frame_messages(&messages, deflate, &mut out);
        let (got, end) = read_chunks(&mut Reader::new(Role::Client, compress), &LIMITS, [&out[..]]);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(got, payloads.into_iter().map(Got::Binary).collect::<Vec<_>>());
    }
}
