//! Users in tests: the tokens by which pods know them, and the pods of a fleet that is ready for them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::redis::Standalone;

use crate::harness::{Client, SOON, get};
use roomcast::testing::{
    auth::SigningKey,
    config::{HmacSecret, RedisUrl, Settings},
    pod::Pod,
};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// Has a pod know users by their tokens.
pub fn known(settings: &mut Settings) {
    settings.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
}

/// Has a pod be one of the fleet over this server.
pub fn over(server: &Standalone, settings: &mut Settings) {
    let (host, port) = server.address();
    settings.redis.urls = vec![RedisUrl::parse(&format!("redis://{host}:{port}")).unwrap()];
}

/// Waits until a pod is ready, and short of nothing.
pub async fn ready(pod: &Pod) {
    let began = Instant::now();
    while get(pod, "/ready").await.1 != r#"{"status":"ready"}"# {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not become ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A user's token.
pub fn token(user: &str) -> String {
    signed(&json!({"sub": user, "exp": 4_102_444_800_u64}))
}

/// A token with these claims.
pub fn signed(claims: &Value) -> String {
    SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(claims, None).unwrap()
}

/// A connection of a user, welcomed.
pub async fn connect(pod: &Pod, user: &str) -> Client {
    connect_as(pod, &token(user)).await
}

/// A connection with a token, welcomed.
pub async fn connect_as(pod: &Pod, token: &str) -> Client {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let mut client = Client::open(pod.addresses().plain[0], "/ws", &["roomcast.v1"], &headers, None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client
}

/// What a listener answers to a request: the status and the body.
pub async fn call(address: std::net::SocketAddr, head: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let length = body.len();
    let request = format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(SOON, answer).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
