//! How long a key lasts, how often a peer may change its own, and what a schedule or a caller that fails leads to.

use std::time::{Duration, Instant};

use roomcast_tls_records::{
    Alert, CipherSuite, KeyError, KeySchedule, KeyUpdateLimit, RecordError, Records, TrafficKey, TrafficSecrets,
};

use crate::support::{Ours, Pair, SUITES, Side};

#[test]
fn too_many_key_updates_end_the_connection() {
    let mut pair = Pair::new(SUITES[0]);
    let (mut attacker, mut ours) = (pair.records(Side::Client), pair.records(Side::Server));
    // With data between, which rules that count updates in a row take for progress.
    for _ in 0..KeyUpdateLimit::AT_ONCE {
        let wire = [attacker.seal_key_update(false), attacker.seal(b"x")].concat();
        assert_eq!(ours.open(&wire, &mut Vec::new(), &mut Vec::new()), Ok(false));
    }
    let mut reply = Vec::new();
    let end = ours.open(&attacker.seal_key_update(false), &mut Vec::new(), &mut reply);
    assert_eq!(end, Err(RecordError::TooManyKeyUpdates));
    let told = rustls::Error::AlertReceived(rustls::AlertDescription::UnexpectedMessage);
    assert_eq!(pair.client.open(&reply, &mut Vec::new()), Err(told));
}

#[test]
fn a_flood_in_one_read_stops_at_the_limit() {
    let pair = Pair::new(SUITES[0]);
    let (mut attacker, mut ours) = (pair.records(Side::Client), pair.records(Side::Server));
    let wire: Vec<u8> = (0..2000).flat_map(|_| attacker.seal_key_update(true)).collect();
    let mut reply = Vec::new();
    let end = ours.open(&wire, &mut Vec::new(), &mut reply);
    assert_eq!(end, Err(RecordError::TooManyKeyUpdates));
    assert_eq!(reply.len(), 27 * KeyUpdateLimit::AT_ONCE as usize + 24, "the answers, and an alert");
}

#[test]
fn key_updates_that_take_their_time_go_on_for_ever() {
    let pair = Pair::new(SUITES[0]);
    let (mut peer, mut ours) = (pair.records(Side::Client), pair.records(Side::Server));
    let mut update = |ours: &mut Ours| ours.open(&peer.seal_key_update(false), &mut Vec::new(), &mut Vec::new());
    ours.step = KeyUpdateLimit::EACH;
    for _ in 0..500 {
        assert_eq!(update(&mut ours), Ok(false));
    }
    ours.step = KeyUpdateLimit::EACH - Duration::from_millis(100);
    let count = (0..500).take_while(|_| update(&mut ours).is_ok()).count();
    assert!((8..50).contains(&count), "somewhat too fast is too fast in the end: {count}");
}

/// Both sides of a connection whose keys have sealed `sequence` records.
fn used(suite: CipherSuite, sequence: u64) -> [Records<TrafficSecrets>; 2] {
    let key_len = if suite == CipherSuite::Aes128GcmSha256 { 16 } else { 32 };
    let key = |byte: u8| TrafficKey::new(suite, &vec![byte; key_len], &[byte; 12], sequence).unwrap();
    let (a, b) = (vec![1; suite.secret_len()], vec![2; suite.secret_len()]);
    let secrets = |send: &[u8], receive: &[u8]| TrafficSecrets::new(suite, send, receive).unwrap();
    [Records::new(key(1), key(2), secrets(&a, &b)), Records::new(key(2), key(1), secrets(&b, &a))]
}

#[test]
fn a_key_is_changed_before_it_is_used_up() {
    for suite in SUITES {
        let [sender, receiver] = used(suite, (1 << 24) - 3);
        let (mut sender, mut receiver) = (Ours::new(sender), Ours::new(receiver));
        let mut plain = Vec::new();
        for (message, key_update) in [(&b"one"[..], 0), (b"two", 0), (b"three", 27), (b"four", 0)] {
            let wire = sender.seal(message);
            assert_eq!(wire.len(), message.len() + 22 + key_update);
            receiver.open(&wire, &mut plain, &mut Vec::new()).unwrap();
        }
        assert_eq!(plain, b"onetwothreefour");
        assert_eq!(sender.records.sealed_records(), 1, "under the second key");
    }
}

#[test]
fn a_message_of_several_records_may_use_a_key_up() {
    let [sender, receiver] = used(SUITES[0], (1 << 24) - 2);
    let (mut sender, mut receiver) = (Ours::new(sender), Ours::new(receiver));
    let mut plain = Vec::new();
    receiver.open(&sender.seal(&[5; 50_000]), &mut plain, &mut Vec::new()).unwrap();
    receiver.open(&sender.seal(b"next"), &mut plain, &mut Vec::new()).unwrap();
    assert_eq!(plain, [&[5; 50_000][..], b"next"].concat());
}

#[test]
fn a_sequence_number_does_not_wrap() {
    let [_, receiver] = used(SUITES[0], u64::MAX);
    let wire = [&[23, 3, 3, 0, 20][..], &[0; 20]].concat();
    let end = Ours::new(receiver).open(&wire, &mut Vec::new(), &mut Vec::new());
    assert_eq!(end, Err(RecordError::UsedUp));
}

#[test]
fn a_buffer_of_another_length_is_refused_before_anything_is_sealed() {
    let [mut sender, _] = used(SUITES[0], 5);
    for len in [0, 26, 28] {
        assert_eq!(sender.seal(b"hello", &mut vec![0; len]), Err(RecordError::Buffer));
    }
    assert_eq!(sender.sealed_records(), 5);
}

#[test]
fn keys_and_secrets_have_the_suites_lengths() {
    for suite in SUITES {
        for len in [0, 31, 33, 64] {
            assert_eq!(TrafficSecrets::new(suite, &vec![0; len], &[0; 32]).err(), Some(KeyError::Length));
        }
        assert_eq!(TrafficKey::new(suite, &[0; 15], &[0; 12], 0).err(), Some(KeyError::Length));
    }
    let iv = TrafficKey::new(CipherSuite::Aes128GcmSha256, &[0; 16], &[0; 11], 0);
    assert_eq!(iv.err(), Some(KeyError::Length));
}

/// A schedule that has no next key.
struct Spent;

impl KeySchedule for Spent {
    fn next_send_key(&mut self) -> Result<TrafficKey, KeyError> {
        Err(KeyError::Schedule("spent".into()))
    }

    fn next_receive_key(&mut self) -> Result<TrafficKey, KeyError> {
        Err(KeyError::Schedule("spent".into()))
    }
}

#[test]
fn a_schedule_that_fails_ends_the_connection_with_an_internal_error() {
    let key = |byte: u8| TrafficKey::new(SUITES[0], &[byte; 16], &[byte; 12], 0).unwrap();
    let mut records = Records::new(key(1), key(2), Box::new(Spent) as Box<dyn KeySchedule>);
    let mut peer = Records::new(key(2), key(1), TrafficSecrets::new(SUITES[0], &[2; 32], &[1; 32]).unwrap());
    let (mut wire, mut reply, now) = (Vec::new(), Vec::new(), Instant::now());
    peer.seal_key_update(false, &mut wire).unwrap();
    let end = records.open(&mut wire, now, &mut Vec::new(), &mut reply);
    assert_eq!(end, Err(RecordError::Key(KeyError::Schedule("spent".into()))));
    let end = peer.open(&mut reply, now, &mut Vec::new(), &mut Vec::new());
    assert_eq!(end, Err(RecordError::Alert(Alert::INTERNAL_ERROR)));
}
