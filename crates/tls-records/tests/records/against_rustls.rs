//! rustls at the other end: in every chunking, for every cipher suite, in both directions; and rustls beside, given the same
//! bytes.

use proptest::{collection::vec, prelude::*};

use crate::support::{Pair, SUITES, Side};

/// Text that shows where it is cut.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}

#[test]
fn what_rustls_seals_is_opened_in_every_chunking() {
    for suite in SUITES {
        for chunk in [1, 2, 3, 5, 7, 64, 1000, 16_406, 1_000_000] {
            let mut pair = Pair::new(suite);
            let mut ours = pair.records(Side::Server);
            for len in [1, 700, 16_384, 16_385, 50_000] {
                let wire = pair.client.seal(&text(len));
                let (mut plain, mut reply) = (Vec::new(), Vec::new());
                for part in wire.chunks(chunk) {
                    assert_eq!(ours.open(part, &mut plain, &mut reply), Ok(false));
                }
                assert_eq!(plain, text(len), "{suite:?} in chunks of {chunk}");
                assert_eq!((ours.incomplete.len(), reply.len()), (0, 0));
            }
        }
    }
}

#[test]
fn every_cut_of_a_short_stream_is_the_same_stream() {
    let mut pair = Pair::new(SUITES[0]);
    let wire = [pair.client.seal(b"one"), pair.client.seal_key_update(), pair.client.seal(b"two")].concat();
    for cut in 0..=wire.len() {
        let mut ours = pair.records(Side::Server);
        let (mut plain, mut reply) = (Vec::new(), Vec::new());
        for part in [&wire[..cut], &wire[cut..]] {
            assert_eq!(ours.open(part, &mut plain, &mut reply), Ok(false));
        }
        assert_eq!((&plain[..], ours.incomplete.len()), (&b"onetwo"[..], 0), "cut at {cut}");
        assert_eq!(reply.len(), 27, "a KeyUpdate of its own");
    }
}

#[test]
fn rustls_opens_what_is_sealed() {
    for suite in SUITES {
        for side in [Side::Client, Side::Server] {
            let mut pair = Pair::new(suite);
            let mut ours = pair.records(side);
            let peer = if side == Side::Client { &mut pair.server } else { &mut pair.client };
            for len in [1, 700, 16_384, 16_385, 50_000] {
                let mut plain = Vec::new();
                assert_eq!(peer.open(&ours.seal(&text(len)), &mut plain), Ok(false));
                assert_eq!(plain, text(len));
            }
            assert!(ours.seal(b"").is_empty(), "nothing to say, no record");
            assert_eq!(peer.open(&ours.seal_close(), &mut Vec::new()), Ok(true));
        }
    }
}

#[test]
fn both_seal_the_same_bytes() {
    for suite in SUITES {
        let mut pair = Pair::new(suite);
        let mut ours = pair.records(Side::Client);
        for len in [1, 100, 16_000] {
            assert_eq!(ours.seal(&text(len)), pair.client.seal(&text(len)));
        }
        assert_eq!(ours.seal_key_update(true), pair.client.seal_key_update());
        assert_eq!(ours.seal(b"under the next key"), pair.client.seal(b"under the next key"));
        assert_eq!(ours.seal_close(), pair.client.seal_close());
    }
}

#[test]
fn keys_change_when_either_side_asks_for_it() {
    for suite in SUITES {
        let mut pair = Pair::new(suite);
        let mut ours = pair.records(Side::Server);
        for round in 0..4_u8 {
            let mut wire = pair.client.seal_key_update();
            wire.extend(pair.client.seal(&[round]));
            let (mut plain, mut reply) = (Vec::new(), Vec::new());
            ours.open(&wire, &mut plain, &mut reply).unwrap();
            assert_eq!((plain, reply.len()), (vec![round], 27));
            reply.extend(ours.seal(b"still here"));
            reply.extend(ours.seal_key_update(round % 2 == 0));
            reply.extend(ours.seal(b"and here"));
            let mut plain = Vec::new();
            assert_eq!(pair.client.open(&reply, &mut plain), Ok(false));
            assert_eq!(plain, b"still hereand here");
            // rustls answers the request.
            ours.open(&pair.client.wire(), &mut Vec::new(), &mut Vec::new()).unwrap();
        }
    }
}

/// What rustls' client sends.
#[derive(Debug, Clone)]
enum Sent {
    Data(usize),
    KeyUpdate,
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![4 => (1..3000_usize).prop_map(Sent::Data), 1 => Just(Sent::KeyUpdate)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The bytes of rustls' client, perhaps with a flipped bit, go to rustls' server and to `Records`.
    #[test]
    fn a_flipped_bit_has_the_same_verdict_as_in_rustls(
        suite in prop::sample::select(&SUITES[..]),
        messages in vec(sent(), 1..6),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        flips in any::<bool>(),
        sizes in vec(1..2000_usize, 1..5),
    ) {
        let mut pair = Pair::new(suite);
        let mut ours = pair.records(Side::Server);
        let (mut wire, mut starts) = (Vec::new(), Vec::new());
        for message in &messages {
            starts.push(wire.len());
            wire.extend(match message {
                Sent::Data(len) => pair.client.seal(&text(*len)),
                Sent::KeyUpdate => pair.client.seal_key_update(),
            });
        }
        let at = at.index(wire.len());
        if flips {
            wire[at] ^= 1 << bit;
        }
        let in_header = starts.iter().any(|start| (*start..start + 5).contains(&at));
        let (mut plain, mut reply, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut verdict, mut their_verdict) = (Ok(false), Ok(false));
        let mut rest = &wire[..];
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            rest = behind;
            if verdict.is_ok() {
                verdict = ours.open(part, &mut plain, &mut reply);
            }
            if their_verdict.is_ok() {
                their_verdict = pair.server.open(part, &mut theirs);
            }
        }
        if flips && in_header {
            // rustls overlooks a changed version, and waits for a longer record than RFC 8446 allows.
            prop_assert!(theirs.starts_with(&plain));
            prop_assert!(verdict.is_err() || !ours.incomplete.is_empty());
        } else {
            prop_assert_eq!(plain, theirs);
            prop_assert_eq!(verdict.is_err(), their_verdict.is_err());
            prop_assert_eq!(verdict.is_err(), flips);
        }
    }
}
