//! A call over HTTP/2 as it is on the wire: what no well-behaved client would send.

use std::{convert::Infallible, net::SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use roomcast_proto::Message;
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, Status};

use crate::harness::SOON;

/// A message behind its prefix. `flag`: whether it says that it is compressed.
pub fn message(flag: u8, bytes: &[u8]) -> BoxBody<Bytes, Infallible> {
    let mut framed = BytesMut::new();
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(bytes.len()).unwrap());
    framed.put_slice(bytes);
    Full::new(framed.freeze()).boxed()
}

pub fn encoded(message_: &impl Message) -> BoxBody<Bytes, Infallible> {
    message(0, &message_.encode_to_vec())
}

/// A body that begins and never ends.
pub fn stalled() -> BoxBody<Bytes, Infallible> {
    BodyExt::boxed(StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>()))
}

/// One connection, also when it is cloned.
#[derive(Clone)]
pub struct Caller(http2::SendRequest<BoxBody<Bytes, Infallible>>);

impl Caller {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// The status of a call with its metadata; a call that succeeds is `Code::Ok`.
    pub async fn call(&mut self, path: &str, metadata: &[(&str, &str)], body: BoxBody<Bytes, Infallible>) -> Status {
        let mut request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let answer = async {
            let answer = self.0.send_request(request.body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200, "what is wrong with a call is said in its status");
            let head = answer.headers().clone();
            let body = answer.into_body().collect().await.unwrap();
            let of = |headers: &HeaderMap| Status::from_header_map(headers);
            of(&head).or_else(|| body.trailers().and_then(of)).unwrap_or_else(|| Status::new(Code::Unknown, "none"))
        };
        timeout(SOON, answer).await.expect("an answer in time")
    }
}
