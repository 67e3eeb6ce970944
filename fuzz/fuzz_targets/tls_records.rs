//! rustls and `Records` get the same bytes, cut anywhere: records that rustls sealed, that `Records` sealed, or that neither
//! would seal; with flipped bits, and with records repeated, left out or in another order. Both hand out the same plaintext and
//! come to the same verdict. Where a header was changed, and for forged records, `Records` may be stricter, never more lenient.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_tls_records::KeyUpdateLimit;

#[path = "../../crates/tls-records/tests/records/support.rs"]
mod support;

use support::{Ours, Pair, Peer, SUITES, Side};

/// What the input decides, byte by byte; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn text(&mut self) -> Vec<u8> {
        let (len, seed) = (self.number() % 20_000, self.byte());
        (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect()
    }
}

/// The records that a side seals.
fn stream(input: &mut Input<'_>, by: &mut dyn Sender) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut updates = 0;
    for _ in 0..=input.byte() % 12 {
        let kind = input.byte();
        let bytes = match kind % 8 {
            6 if updates < KeyUpdateLimit::AT_ONCE => {
                updates += 1;
                by.key_update(kind >= 128)
            }
            7 if kind >= 128 => by.close(),
            _ => by.data(&input.text()),
        };
        // A message may be several records.
        let mut rest = &bytes[..];
        while rest.len() >= 5 {
            let len = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            let (record, behind) = rest.split_at(len);
            records.push(record.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty(), "whole records");
        if kind % 8 == 7 && kind >= 128 {
            break;
        }
    }
    records
}

trait Sender {
    fn data(&mut self, text: &[u8]) -> Vec<u8>;
    fn key_update(&mut self, request: bool) -> Vec<u8>;
    fn close(&mut self) -> Vec<u8>;
}

impl Sender for Peer {
    fn data(&mut self, text: &[u8]) -> Vec<u8> {
        self.seal(text)
    }

    fn key_update(&mut self, _: bool) -> Vec<u8> {
        self.seal_key_update()
    }

    fn close(&mut self) -> Vec<u8> {
        self.seal_close()
    }
}

impl Sender for Ours {
    fn data(&mut self, text: &[u8]) -> Vec<u8> {
        self.seal(text)
    }

    fn key_update(&mut self, request: bool) -> Vec<u8> {
        self.seal_key_update(request)
    }

    fn close(&mut self) -> Vec<u8> {
        self.seal_close()
    }
}

/// Records of any type, padding and content.
fn forged(input: &mut Input<'_>, pair: &Pair) -> Vec<Vec<u8>> {
    let mut forger = pair.forger(Side::Client);
    let mut records = Vec::new();
    for _ in 0..=input.byte() % 6 {
        let mut inner = match input.byte() % 4 {
            0 => vec![24, 0, 0, 1, input.byte()],
            1 => vec![input.byte(), input.byte()],
            2 => (0..input.byte() % 20).map(|_| input.byte()).collect(),
            _ => input.text(),
        };
        inner.push([23, 23, 22, 21, 20, 0, 24, 99][usize::from(input.byte() % 8)]);
        let zeros = [0, 1, 300, 16_000][usize::from(input.byte() % 4)];
        inner.extend(std::iter::repeat_n(0, zeros));
        inner.truncate(60_000);
        records.push(forger.seal(&inner));
    }
    records
}

/// Changes the stream; whether all headers are as they were.
fn change(input: &mut Input<'_>, mut records: Vec<Vec<u8>>) -> (Vec<u8>, bool) {
    let mut headers = true;
    for _ in 0..input.byte() % 3 {
        let (kind, at, bit) = (input.byte() % 8, input.number(), input.byte() % 8);
        if records.is_empty() {
            break;
        }
        let (one, other) = (at % records.len(), usize::from(bit) % records.len());
        match kind {
            0 => records.swap(one, other),
            1 => records.insert(one, records[other].clone()),
            2 => drop(records.remove(one)),
            _ => {
                let record = &mut records[one];
                let at = at / 7 % record.len();
                record[at] ^= 1 << bit;
                headers &= at >= 5;
            }
        }
    }
    (records.concat(), headers)
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut pair = Pair::new(SUITES[usize::from(input.byte()) % SUITES.len()]);
    let mode = input.byte() % 4;
    let to = if mode == 2 { Side::Client } else { Side::Server };
    let records = match mode {
        0 => stream(&mut input, &mut pair.client),
        1 => stream(&mut input, &mut pair.records(Side::Client)),
        2 => stream(&mut input, &mut pair.records(Side::Server)),
        _ => forged(&mut input, &pair),
    };
    let (wire, headers) = change(&mut input, records);

    let mut ours = pair.records(to);
    let theirs = if to == Side::Client { &mut pair.client } else { &mut pair.server };
    let (mut plain, mut reply, mut their_plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut verdict, mut their_verdict) = (Ok(false), Ok(false));
    let mut rest = &wire[..];
    while !rest.is_empty() {
        let size = match input.byte() {
            0 => rest.len(),
            size @ 1..=99 => usize::from(size),
            size => usize::from(size) * 37,
        };
        let (part, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        if verdict == Ok(false) {
            verdict = ours.open(part, &mut plain, &mut reply);
            // What lies behind a fault or the end of the connection is never looked at.
            assert!(verdict != Ok(false) || ours.incomplete.len() < roomcast_tls_records::MAX_RECORD);
        }
        if their_verdict == Ok(false) {
            their_verdict = theirs.open(part, &mut their_plain);
        }
    }
    if headers && mode < 3 {
        assert_eq!(plain, their_plain);
        assert_eq!(verdict.as_ref().ok(), their_verdict.as_ref().ok(), "{verdict:?} {their_verdict:?}");
    } else {
        assert!(their_plain.starts_with(&plain), "{verdict:?} {their_verdict:?}");
    }
    if mode == 3 && headers && verdict.is_ok() {
        assert_eq!((their_verdict, their_plain), (Ok(verdict == Ok(true)), plain));
    }
});
