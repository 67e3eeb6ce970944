//! A connection that rustls lets go of after the handshake, as a server and as a client.

use std::{sync::Arc, time::Instant};

use roomcast_tls_records::{KeySchedule, Records};
use rustls::{
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, UnbufferedStatus},
};

use crate::support::{SUITES, client_config, server_config, server_name};

/// Runs one side's states until it waits; answers what it has to send.
macro_rules! advance {
    ($connection:expr, $input:expr) => {{
        let (mut sent, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
        loop {
            let UnbufferedStatus { discard, state } = $connection.process_tls_records(&mut $input);
            let waits = match state.unwrap() {
                ConnectionState::EncodeTlsData(mut data) => {
                    let written = data.encode(&mut buffer).unwrap();
                    sent.extend_from_slice(&buffer[..written]);
                    false
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    false
                }
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => true,
                other => panic!("{other:?}"),
            };
            $input.drain(..discard);
            if waits {
                break sent;
            }
        }
    }};
}

fn passes<A: KeySchedule, B: KeySchedule>(from: &mut Records<A>, to: &mut Records<B>, message: &[u8]) {
    let mut wire = vec![0; from.sealed_len(message.len())];
    from.seal(message, &mut wire).unwrap();
    let (mut plain, mut reply) = (Vec::new(), Vec::new());
    to.open(&mut wire, Instant::now(), &mut plain, &mut reply).unwrap();
    assert_eq!((&plain[..], reply.len()), (message, 0));
}

#[test]
fn both_sides_go_on_and_change_their_keys() {
    for suite in SUITES {
        let mut client = UnbufferedClientConnection::new(Arc::new(client_config(suite)), server_name()).unwrap();
        let mut server = UnbufferedServerConnection::new(Arc::new(server_config(suite))).unwrap();
        let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
        while client.is_handshaking() || server.is_handshaking() {
            to_server.extend(advance!(client, to_client));
            to_client.extend(advance!(server, to_server));
        }
        assert_eq!((to_client.len(), to_server.len()), (0, 0));
        let mut client = Records::take_over(client.dangerous_into_kernel_connection().unwrap()).unwrap();
        let mut server = Records::take_over(server.dangerous_into_kernel_connection().unwrap()).unwrap();
        for round in [&b"first"[..], b"second", b"third"] {
            passes(&mut client, &mut server, round);
            passes(&mut server, &mut client, round);
            let (mut wire, mut reply) = (Vec::new(), Vec::new());
            server.seal_key_update(true, &mut wire).unwrap();
            client.open(&mut wire, Instant::now(), &mut Vec::new(), &mut reply).unwrap();
            server.open(&mut reply, Instant::now(), &mut Vec::new(), &mut Vec::new()).unwrap();
        }
    }
}
