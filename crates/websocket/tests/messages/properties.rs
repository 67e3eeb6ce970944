//! However a stream is cut, the same messages come out; what one side writes the other side reads.

use proptest::{collection::vec, prelude::*};
use roomcast_websocket::{Deflater, Deflaters, Frame, MessageLimits, Opcode, Reader, Role, message_frame};

use crate::support::{Got, KEY, LIMITS, read_chunks};

/// A message in parts, perhaps compressed, with control frames between.
#[derive(Debug, Clone)]
struct Sent {
    opcode: Opcode,
    payload: Vec<u8>,
    compressed: bool,
    cuts: Vec<prop::sample::Index>,
    ping: Option<Vec<u8>>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        "[ -~µ𝄞]{0,60}".prop_map(|text| (Opcode::Text, text.into_bytes())),
        vec(any::<u8>(), 0..300).prop_map(|bytes| (Opcode::Binary, bytes)),
        (1..2000_usize).prop_map(|n| (Opcode::Text, b"{\"offset\":1}".repeat(n / 12))),
    ];
    let cuts = vec(any::<prop::sample::Index>(), 0..6);
    (payload, any::<bool>(), cuts, prop::option::of(vec(any::<u8>(), 0..126)))
        .prop_map(|((opcode, payload), compressed, cuts, ping)| Sent { opcode, payload, compressed, cuts, ping })
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
            let opcode = if i == 0 { self.opcode } else { Opcode::Continuation };
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
        expected.push(if self.opcode == Opcode::Text {
            Got::Text(String::from_utf8(self.payload.clone()).unwrap())
        } else {
            Got::Binary(self.payload.clone())
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
        let mut deflaters = Deflaters::new(Deflater::DEFAULT_LEVEL);
        let mut out = Vec::new();
        for payload in &payloads {
            let deflate = compress.then(|| (deflaters.window(window_bits), min_size));
            message_frame(Opcode::Binary, payload, deflate, &mut out);
        }
        let (got, end) = read_chunks(&mut Reader::new(Role::Client, compress), &LIMITS, [&out[..]]);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(got, payloads.into_iter().map(Got::Binary).collect::<Vec<_>>());
    }
}
