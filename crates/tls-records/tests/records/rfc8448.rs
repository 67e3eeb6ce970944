//! The application data of RFC 8448 section 3 ("Simple 1-RTT Handshake"): keys from secrets, and each record of both sides.

use std::time::Instant;

use roomcast_tls_records::{CipherSuite, Opened, Records, TrafficKey, TrafficSecrets};

use crate::support::hex;

const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256;
const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
const CLIENT_KEY: (&str, &str) = ("17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9");
const SERVER_KEY: (&str, &str) = ("9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984");

/// 50 bytes, 00 to 31, of each side.
const CLIENT_DATA: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a62\
                           92a2977014bd1e3deae63aeebb21694915e4";
const SERVER_DATA: &str = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5\
                           f0a21c0047c2abf332540dd032e167c2955d";
/// close_notify of each side.
const CLIENT_CLOSE: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
const SERVER_CLOSE: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

fn key((key, iv): (&str, &str), sequence: u64) -> TrafficKey {
    TrafficKey::new(SUITE, &hex(key), &hex(iv), sequence).unwrap()
}

fn secrets(send: &str, receive: &str) -> TrafficSecrets {
    TrafficSecrets::new(SUITE, &hex(send), &hex(receive)).unwrap()
}

fn plain() -> Vec<u8> {
    (0..50).collect()
}

/// Seals the data and the close of one side, and opens those of the other.
fn exchange(mut records: Records<TrafficSecrets>, seals: [&str; 2], opens: [&str; 2]) {
    let mut sealed = vec![0; records.sealed_len(50)];
    records.seal(&plain(), &mut sealed).unwrap();
    assert_eq!(sealed, hex(seals[0]));
    let mut sealed = Vec::new();
    records.seal_close(&mut sealed).unwrap();
    assert_eq!(sealed, hex(seals[1]));

    let mut received = hex(&opens.concat());
    let (mut opened, mut reply) = (Vec::new(), Vec::new());
    let end = records.open(&mut received, Instant::now(), &mut opened, &mut reply).unwrap();
    assert_eq!(end, Opened { used: received.len(), closed: true });
    assert_eq!((opened, reply), (plain(), Vec::new()));
}

#[test]
fn each_record_of_the_client() {
    // A session ticket was the server's first record under its key.
    let schedule = secrets(CLIENT_SECRET, SERVER_SECRET);
    let records = Records::new(key(CLIENT_KEY, 0), key(SERVER_KEY, 1), schedule);
    exchange(records, [CLIENT_DATA, CLIENT_CLOSE], [SERVER_DATA, SERVER_CLOSE]);
}

#[test]
fn each_record_of_the_server() {
    let schedule = secrets(SERVER_SECRET, CLIENT_SECRET);
    let records = Records::new(key(SERVER_KEY, 1), key(CLIENT_KEY, 0), schedule);
    exchange(records, [SERVER_DATA, SERVER_CLOSE], [CLIENT_DATA, CLIENT_CLOSE]);
}

#[test]
fn keys_come_from_secrets() {
    let secrets = secrets(CLIENT_SECRET, SERVER_SECRET);
    let (send, receive) = secrets.keys().unwrap();
    let mut records = Records::new(send, receive, secrets);
    let mut sealed = vec![0; records.sealed_len(50)];
    records.seal(&plain(), &mut sealed).unwrap();
    assert_eq!(sealed, hex(CLIENT_DATA));
}
