//! gRPC over TLS: a certificate of its own, that callers trust or do not.

use std::{io, net::SocketAddr, pin::Pin, task};

use super::{ask_over, event, grpcurl, publish_to, start};
use crate::ca::Ca;
use http::Uri;
use hyper_util::rt::TokioIo;
use roomcast_proto::roomcast::{PublishRequest, roomcast_client::RoomcastClient};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Request,
    codegen::Service,
    transport::{Channel, Endpoint},
};

/// How a channel gets its connections.
#[derive(Clone)]
struct Tls(TlsConnector, SocketAddr);

impl Service<Uri> for Tls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self(tls, address) = self.clone();
        Box::pin(async move {
            let name = ServerName::try_from("localhost").unwrap();
            let stream = tls.connect(name, TcpStream::connect(address).await?).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
            Ok(TokioIo::new(stream))
        })
    }
}

async fn channel(ca: &Ca, address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_static("http://localhost").connect_with_connector(Tls(ca.connector(b"h2"), address)).await
}

/// An error and all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[tokio::test]
async fn its_own_certificate_is_shown_where_clients_have_none() {
    let ca = Ca::new("ours");
    let pod = start(|settings| {
        (settings.general.dev, settings.general.anonymous) = (Some(false), Some(true));
        settings.general.listen = Some(Vec::new());
        settings.grpc.tls = true;
        (settings.grpc.cert, settings.grpc.key) = (Some(ca.server().0), Some(ca.server().1));
    });
    let (_, text) = crate::harness::get(&pod, "/metrics").await;
    let shown = text.lines().find_map(|line| line.strip_prefix("roomcast_certificate_expires_seconds "));
    // It is good for two thousand years.
    assert!(shown.is_some_and(|seconds| seconds.parse::<f64>().is_ok_and(|seconds| seconds > 1e9)), "{shown:?}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_trust_its_certificate_or_do_not_call() {
    let (ca, stranger) = (Ca::new("ours"), Ca::new("another"));
    let pod = start(|settings| {
        settings.grpc.tls = true;
        (settings.grpc.cert, settings.grpc.key) = (Some(ca.server().0), Some(ca.server().1));
    });
    let address = pod.addresses().grpc[0];
    let mut api = RoomcastClient::new(channel(&ca, address).await.unwrap());
    let position = api.publish(publish_to("r", event("t", "1"))).await.unwrap().into_inner().position.unwrap();
    assert_eq!(position.offset, 1);
    let keyless = Request::new(PublishRequest { room: "r".into(), event: event("t", "2") });
    assert_eq!(
        api.publish(keyless).await.unwrap_err().code(),
        Code::Unauthenticated,
        "TLS proves the pod, not the caller"
    );
    // Who does not trust it, or does not speak TLS, gets nowhere.
    let error = chain(&channel(&stranger, address).await.unwrap_err());
    assert!(error.contains("invalid peer certificate: UnknownIssuer"), "{error}");
    let plain = async {
        let plain =
            Channel::from_shared(format!("http://{address}")).unwrap().connect().await.map_err(|e| chain(&e))?;
        RoomcastClient::new(plain).publish(publish_to("r", event("t", "3"))).await.map_err(|status| chain(&status))
    };
    assert!(plain.await.is_err());
    let after = api.publish(publish_to("r", event("t", "4"))).await.unwrap().into_inner().position.unwrap();
    assert_eq!(after.offset, 2, "only what was allowed is in the log");

    if let Some(tool) = grpcurl() {
        let key = "-H=authorization: Bearer test-key";
        let (trust, wrong) =
            (format!("-cacert={}", ca.file().display()), format!("-cacert={}", stranger.file().display()));
        let input = r#"{"room": "r", "event": {"topic": "t", "json": "5"}}"#;
        let call = |args: &[&str]| ask_over(&tool, address, args, &[key, "roomcast.v1.Roomcast/Publish"], Some(input));
        let (good, said) = call(&[&trust]);
        assert!(good && said.contains("\"offset\": \"3\""), "{said}");
        for (what, args) in
            [("another authority", vec![wrong.as_str()]), ("nobody", vec![]), ("no TLS", vec!["-plaintext"])]
        {
            let (good, said) = call(&args);
            assert!(!good && said.contains("Failed to dial"), "{what}: {said}");
        }
    }
    pod.stop();
}
