//! Sessions over the loopback, with `web-transport-quinn` as the client.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    future::poll_fn,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use quinn::{ConnectionError, Endpoint, EndpointConfig, Runtime, TokioRuntime, VarInt};
use roomcast_webtransport::{
    AddressValidation, AmplificationGuard, EndpointSettings, Request, SendState, bind, server_config, write_message,
    write_some,
};
use tokio::time::timeout;
use web_transport_quinn::{
    ClientError, Session, SessionError, WebTransportError,
    proto::{ConnectRequest, Settings, error_to_http3},
};

const SOON: Duration = Duration::from_secs(10);

/// A server on a free port, and a client that trusts it.
struct Pair {
    server: Endpoint,
    validation: Arc<AddressValidation>,
    client: Endpoint,
    trusting: quinn::ClientConfig,
    address: SocketAddr,
}

impl Pair {
    fn new(settings: &EndpointSettings) -> Self {
        let (tls, trusting) = support::tls();

        let socket = bind((Ipv4Addr::LOCALHOST, 0).into(), 64 << 10).unwrap();
        let address = socket.local_addr().unwrap();
        let validation = Arc::new(AddressValidation::default());
        let socket = TokioRuntime.wrap_udp_socket(socket).unwrap();
        let socket = Arc::new(AmplificationGuard::new(socket, Arc::clone(&validation)));
        let config = server_config(tls, settings).unwrap();
        let server =
            Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime));
        let client = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { server: server.unwrap(), validation, client, trusting, address }
    }

    async fn request(&self) -> Request {
        let incoming = self.server.accept().await.unwrap();
        let handshake = self.validation.begin(incoming.remote_address());
        let connection = incoming.await.unwrap();
        drop(handshake.succeeded());
        Request::read(connection).await.unwrap()
    }

    async fn connect(&self, path: &str) -> Result<Session, ClientError> {
        let connection = self.client.connect_with(self.trusting.clone(), self.address, "localhost").unwrap();
        let url = url::Url::parse(&format!("https://localhost{path}")).unwrap();
        let request = ConnectRequest::new(url).with_protocol("example.v1");
        timeout(SOON, Session::connect(connection.await.unwrap(), request)).await.unwrap()
    }
}

#[tokio::test]
async fn a_session_carries_commands_streams_and_datagrams_and_is_closed_with_a_reason() {
    let pair = Pair::new(&EndpointSettings::default());
    let server = async {
        let request = pair.request().await;
        assert_eq!((request.path(), request.query()), ("/news", Some("a=b")));
        assert_eq!(request.protocols(), ["example.v1"]);
        assert!(request.address().ip().is_loopback());
        let mut session = request.accept(Some("example.v1"), 0).await.unwrap();
        let (_send, mut commands) = session.commands().await.unwrap();
        assert_eq!(commands.read_to_end(100).await.unwrap(), b"hello");
        let mut message = Vec::new();
        let mut stream = session.open(&mut message).unwrap();
        write_message(b"whole", &mut message);
        let mut bytes = Bytes::from(message);
        poll_fn(|cx| match write_some(&mut stream, &mut bytes, cx).unwrap() {
            SendState::Full => std::task::Poll::Pending,
            _ => std::task::Poll::Ready(()),
        })
        .await;
        stream.finish().unwrap();
        assert!(session.send_datagram(&Bytes::from_static(b"\0datagram")));
        assert!(!session.is_closing());
        // The client has read everything.
        assert_eq!(session.commands().await.unwrap().1.read_to_end(9).await.unwrap(), b"read");
        session.close(4000, "that was all");
        assert!(session.is_closing());
        timeout(SOON, poll_fn(|cx| session.poll_end(cx))).await.unwrap();
    };
    let client = async {
        let session = pair.connect("/news?a=b").await.unwrap();
        let (mut send, _recv) = session.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        send.finish().unwrap();
        let mut stream = session.accept_uni().await.unwrap();
        assert_eq!(stream.read_to_end(100).await.unwrap(), b"\0\0\0\x05whole");
        assert_eq!(&session.read_datagram().await.unwrap()[..], b"datagram");
        let (mut send, _recv) = session.open_bi().await.unwrap();
        send.write_all(b"read").await.unwrap();
        send.finish().unwrap();
        let end = timeout(SOON, session.closed()).await.unwrap();
        let SessionError::WebTransportError(WebTransportError::Closed(code, reason)) = end else { panic!("{end:?}") };
        assert_eq!((code, reason.as_str()), (4000, "that was all"));
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_refused_request_hears_its_status() {
    let pair = Pair::new(&EndpointSettings::default());
    let server = async { pair.request().await.refuse(StatusCode::FORBIDDEN).await };
    let (result, ()) = tokio::join!(pair.connect("/"), server);
    let error = format!("{:?}", result.err().unwrap());
    assert!(error.contains("403"), "{error}");
}

#[tokio::test]
async fn a_client_bounds_the_streams_and_its_end_ends_the_session() {
    let pair = Pair::new(&EndpointSettings { streams: 4, ..EndpointSettings::default() });
    let server = async {
        let mut session = pair.request().await.accept(None, 0).await.unwrap();
        let mut head = Vec::new();
        let streams = std::iter::from_fn(|| session.open(&mut head)).take(10_000).count();
        assert!((1..10_000).contains(&streams), "the client's limit holds: {streams}");
        timeout(SOON, poll_fn(|cx| session.poll_end(cx))).await.unwrap();
    };
    let client = async {
        let session = pair.connect("/").await.unwrap();
        session.close(7, b"enough");
        let _ = timeout(SOON, session.closed()).await;
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_with_the_code_of_its_accept() {
    let pair = Pair::new(&EndpointSettings::default());
    for code in [1000, 0] {
        let server = async { drop(pair.request().await.accept(None, code).await.unwrap()) };
        // A client by hand: that of the crate may end the connection itself when its streams fail, before it is asked why.
        let client = async {
            let connection = pair.client.connect_with(pair.trusting.clone(), pair.address, "localhost").unwrap();
            let connection = connection.await.unwrap();
            let (mut settings, mut bytes) = (Settings::default(), Vec::new());
            settings.enable_webtransport(1);
            settings.encode(&mut bytes);
            let mut control = connection.open_uni().await.unwrap();
            control.write_all(&bytes).await.unwrap();
            let (mut request, _response) = connection.open_bi().await.unwrap();
            bytes.clear();
            ConnectRequest::new(url::Url::parse("https://localhost/").unwrap()).encode(&mut bytes).unwrap();
            request.write_all(&bytes).await.unwrap();
            timeout(SOON, connection.closed()).await.unwrap()
        };
        let ((), end) = tokio::join!(server, client);
        let ConnectionError::ApplicationClosed(close) = end else { panic!("{end:?}") };
        assert_eq!(u64::from(close.error_code), error_to_http3(code));
    }
}

/// Streams and datagrams that the session has no use for hold nothing: they are stopped and forgotten, however many come.
#[tokio::test]
async fn what_is_never_read_is_refused() {
    let pair = Pair::new(&EndpointSettings { streams: 4, ..EndpointSettings::default() });
    let server = async {
        let mut session = pair.request().await.accept(None, 0).await.unwrap();
        timeout(SOON, poll_fn(|cx| session.poll_end(cx))).await.unwrap();
    };
    let client = async {
        let connection = pair.client.connect_with(pair.trusting.clone(), pair.address, "localhost").unwrap();
        let connection = connection.await.unwrap();
        let (mut settings, mut bytes) = (Settings::default(), Vec::new());
        settings.enable_webtransport(1);
        settings.encode(&mut bytes);
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&bytes).await.unwrap();
        let (mut request, _response) = connection.open_bi().await.unwrap();
        bytes.clear();
        ConnectRequest::new(url::Url::parse("https://localhost/").unwrap()).encode(&mut bytes).unwrap();
        request.write_all(&bytes).await.unwrap();
        // More than may be open at a time, and more bytes than any window: each is let go of for the next.
        for n in 0..20_u8 {
            let mut stream = timeout(SOON, connection.open_uni()).await.unwrap().unwrap();
            let _ = timeout(SOON, stream.write_all(&[0x21 + n; 32 * 1024])).await.unwrap();
            assert_eq!(timeout(SOON, stream.stopped()).await.unwrap().unwrap(), Some(VarInt::from_u32(0x103)));
            let (mut send, mut recv) = timeout(SOON, connection.open_bi()).await.unwrap().unwrap();
            let _ = timeout(SOON, send.write_all(&[0; 32 * 1024])).await.unwrap();
            assert_eq!(timeout(SOON, send.stopped()).await.unwrap().unwrap(), Some(VarInt::from_u32(0x103)));
            assert!(timeout(SOON, recv.read_to_end(1)).await.unwrap().is_err(), "nothing is answered");
            connection.send_datagram(Bytes::from_static(&[0; 1_000])).unwrap();
        }
        // What belongs to HTTP/3 stays open, and is read on and on.
        let mut encoder = connection.open_uni().await.unwrap();
        encoder.write_all(&[2]).await.unwrap();
        for stream in [&mut encoder, &mut control] {
            for _ in 0..8 {
                timeout(SOON, stream.write_all(&[0; 32 * 1024])).await.unwrap().unwrap();
            }
        }
        connection.close(VarInt::from_u32(0), b"");
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn an_address_that_is_in_use_is_an_error() {
    let socket = bind((Ipv4Addr::LOCALHOST, 0).into(), 64 << 10).unwrap();
    let error = bind(socket.local_addr().unwrap(), 64 << 10).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}
