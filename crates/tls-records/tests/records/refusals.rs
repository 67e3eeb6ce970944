//! What ends a connection, and with which alert.

use roomcast_tls_records::{Alert, MAX_PLAINTEXT, MAX_RECORD, RecordError};

use crate::support::{Pair, SUITES, Side};

/// How the server's side ends when it is given `wire`, and what rustls' client makes of its alert.
fn refused(pair: &mut Pair, wire: &[u8]) -> (RecordError, rustls::Error) {
    let mut reply = Vec::new();
    let error = pair.records(Side::Server).open(wire, &mut Vec::new(), &mut reply).unwrap_err();
    (error, pair.client.open(&reply, &mut Vec::new()).expect_err("a fatal alert"))
}

fn told(alert: rustls::AlertDescription) -> rustls::Error {
    rustls::Error::AlertReceived(alert)
}

#[test]
fn a_changed_byte_anywhere_opens_nothing() {
    let mut pair = Pair::new(SUITES[0]);
    let wire = pair.client.seal(b"hello");
    for at in 0..wire.len() {
        for bit in 0..8 {
            let mut changed = wire.clone();
            changed[at] ^= 1 << bit;
            let (mut plain, mut reply) = (Vec::new(), Vec::new());
            let end = pair.records(Side::Server).open(&changed, &mut plain, &mut reply);
            let len = usize::from(u16::from_be_bytes([changed[3], changed[4]]));
            let expected = match at {
                0 => Err(RecordError::Unprotected),
                _ if len + 5 > MAX_RECORD => Err(RecordError::TooLong),
                _ if len + 5 > wire.len() => Ok(false),
                _ => Err(RecordError::Sealed),
            };
            assert_eq!((end, plain), (expected, vec![]), "byte {at}, bit {bit}");
        }
    }
    let mut changed = wire;
    changed[7] ^= 0x80;
    let verdict = refused(&mut pair, &changed);
    assert_eq!(verdict, (RecordError::Sealed, told(rustls::AlertDescription::BadRecordMac)));
}

#[test]
fn unprotected_and_oversized_records_are_refused_by_their_header() {
    use rustls::AlertDescription::{RecordOverflow, UnexpectedMessage};
    let [high, low] = ((MAX_RECORD - 5 + 1) as u16).to_be_bytes();
    for (header, expected, alert) in [
        (&[21, 3, 3, 0, 2, 1, 0][..], RecordError::Unprotected, UnexpectedMessage),
        (&[20, 3, 3, 0, 1, 1], RecordError::Unprotected, UnexpectedMessage),
        (&[22, 3, 3, 0, 5], RecordError::Unprotected, UnexpectedMessage),
        (&[23, 3, 3, high, low], RecordError::TooLong, RecordOverflow),
        (&[23, 3, 3, 0xff, 0xff], RecordError::TooLong, RecordOverflow),
    ] {
        assert_eq!(refused(&mut Pair::new(SUITES[1]), header), (expected, told(alert)), "{header:?}");
    }
}

#[test]
fn the_content_is_judged_once_it_is_open() {
    let data = |len: usize| [&vec![7; len][..], &[23]].concat();
    let padded = |len: usize, zeros: usize| [&data(len)[..], &vec![0; zeros]].concat();
    let cases = [
        (data(0), Ok(0)),
        (data(10), Ok(10)),
        (padded(10, 1), Ok(10)),
        (padded(10, 200), Ok(10)),
        (padded(0, 200), Ok(0)),
        (data(MAX_PLAINTEXT), Ok(MAX_PLAINTEXT)),
        (padded(MAX_PLAINTEXT - 200, 200), Ok(MAX_PLAINTEXT - 200)),
        (padded(MAX_PLAINTEXT - 200, 201), Err(RecordError::TooLong)),
        (padded(0, MAX_PLAINTEXT + 1), Err(RecordError::TooLong)),
        (data(MAX_PLAINTEXT + 1), Err(RecordError::TooLong)),
        (vec![], Err(RecordError::NoContentType)),
        (vec![0; 20], Err(RecordError::NoContentType)),
        // A KeyUpdate of an unknown kind, in pieces, with another beside it; another message of the handshake; another type.
        (vec![24, 0, 0, 1, 2, 22], Err(RecordError::UnexpectedMessage)),
        (vec![24, 0, 0, 22], Err(RecordError::UnexpectedMessage)),
        (vec![24, 0, 0, 1, 0, 24, 0, 0, 1, 0, 22], Err(RecordError::UnexpectedMessage)),
        (vec![4, 0, 0, 0, 22], Err(RecordError::UnexpectedMessage)),
        (vec![1, 20], Err(RecordError::UnexpectedMessage)),
    ];
    let pair = Pair::new(SUITES[2]);
    for (inner, expected) in cases {
        let wire = pair.forger(Side::Client).seal(&inner);
        let mut plain = Vec::new();
        let end = pair.records(Side::Server).open(&wire, &mut plain, &mut Vec::new());
        assert_eq!(end.map(|_| plain.len()), expected, "{} bytes", inner.len());
    }
}

#[test]
fn alerts_of_the_peer_end_the_connection() {
    let pair = Pair::new(SUITES[0]);
    for (inner, expected) in [
        (vec![1, 0, 21], Ok(true)),
        // The level says nothing in TLS 1.3 (RFC 8446 section 6), but must be one of the two.
        (vec![2, 0, 21], Ok(true)),
        (vec![3, 0, 21], Err(RecordError::UnexpectedMessage)),
        (vec![2, 40, 21], Err(RecordError::Alert(Alert(40)))),
        // user_canceled: close_notify would follow it.
        (vec![1, 90, 21], Err(RecordError::Alert(Alert(90)))),
        (vec![1, 21], Err(RecordError::UnexpectedMessage)),
        (vec![1, 0, 1, 0, 21], Err(RecordError::UnexpectedMessage)),
    ] {
        let mut forger = pair.forger(Side::Client);
        let wire = [forger.seal(&inner), forger.seal(b"behind\x17")].concat();
        let mut plain = Vec::new();
        let end = pair.records(Side::Server).open(&wire, &mut plain, &mut Vec::new());
        assert_eq!((end, plain), (expected, vec![]), "nothing behind it is handed out");
    }
}
