//! Whatever is logged, at whatever level, and whatever is shown for debugging: never a token, never a secret.
//!
//! By itself in its program: which lines are written is decided once for a whole process.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "suite/tokens/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "suite/tokens/support.rs"]
mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use roomcast::testing::{
    auth::{Authority, Grant},
    config::{HookSecret, HookSettings, HookUrl, TokenSettings},
    hooks::{ClientRequest, ConnectQuestion, HookError, Hooks},
    metrics::HookMetrics,
    model::Token,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    server::{Answer, Server, run, soon},
    support::{NOW, Pair, SECRET, file, good, secret, verify, with_secret},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_tokens_nor_secrets_are_ever_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let (pair, stranger) = (Pair::p256(), Pair::ed25519());
    let key = file(&Pair::p384().public_pem);
    let server = Server::start(Answer::keys(&[pair.jwk_with(json!({"kid": "one-of-the-keys"}))])).await;
    let settings = TokenSettings {
        public_keys: vec![key.path().to_owned()],
        jwks_refresh: Duration::from_millis(50),
        jwks_url: server.settings().jwks_url,
        ..with_secret()
    };
    let authority = run(&settings);
    let mut shown = format!("{settings:?}");

    let mut claims = good();
    claims["rooms"] = json!(["secret-room-of-ann"]);
    let mut tokens = vec![
        pair.signing.token(&claims, Some("one-of-the-keys")).unwrap(),
        secret(SECRET).token(&claims, None).unwrap(),
        stranger.signing.token(&claims, Some("unknown-to-all")).unwrap(),
        pair.signing.token(&json!({"sub": "ann", "exp": NOW - 1000}), None).unwrap(),
        pair.signing.token(&json!({"sub": "ann", "exp": NOW, "rooms": ["not a room"]}), None).unwrap(),
        pair.raw(r#"{"alg":"ES256","crit":["x"]}"#, "{}"),
        pair.raw(r#"{"alg":"none-of-yours"}"#, "{}"),
        "no-token-at-all.but-three.parts-of-it".to_owned(),
    ];
    tokens.push(format!("{}=", tokens[0]));
    let mut accepted = 0;
    for token in &tokens {
        let verdict = verify(&authority, token).await;
        accepted += usize::from(verdict.is_ok());
        if let Err(error) = &verdict {
            shown.push_str(&format!("{error} {error:?} "));
        }
        shown.push_str(&format!("{:?} {authority:?}", Token::new(token.as_str())));
    }
    assert_eq!(accepted, 2);
    server.answer(Answer::With(500, tokens[0].clone().into()));
    soon("the warning", async || text(&log).contains("the keys of tokens could not be fetched")).await;
    std::fs::write(key.path(), format!("{}\n{SECRET}", tokens[1])).unwrap();
    let error = Authority::new(&settings).unwrap_err();
    shown.push_str(&format!("{error} {error:?}"));

    shown.push_str(&hooks(&tokens[0]).await);
    let log = text(&log);
    assert!(log.contains("the backend does not decide") && log.contains("asking again"), "{log}");
    assert!(log.contains("TRACE") && log.contains("the keys of tokens were fetched"), "the log is on: {log}");
    for hidden in
        tokens.iter().flat_map(|token| token.split('.')).chain([SECRET, "secret-room-of-ann", ANSWERED, PROOF])
    {
        // `{}` and its like are in everything.
        if hidden.len() > 8 {
            assert!(!log.contains(hidden), "in the log: {hidden}");
            assert!(!shown.contains(hidden), "shown: {hidden}");
        }
    }
}

fn text(log: &Log) -> String {
    String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned()
}

/// What a backend answers that is no answer, and must not be shown.
const ANSWERED: &str = "what-only-the-backend-knows";

/// What a pod proves itself with.
const PROOF: &str = "what-proves-who-it-is-that-asks";

/// Asks a backend that is told a token and gives it back in what is no answer; what is shown of it.
async fn hooks(token: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = HookUrl::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let body = format!("{{\"allow\":\"{ANSWERED}\",\"{token}\":1}}");
    tokio::spawn(async move {
        for status in ["503 Service Unavailable", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; 16 * 1024];
            let length = stream.read(&mut question).await.unwrap();
            assert!(length > 0);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let settings = HookSettings {
        connect: Some(url),
        secret: HookSecret::new(PROOF),
        token: true,
        headers: vec![http::header::COOKIE],
        ..HookSettings::default()
    };
    let hooks = Arc::new(Hooks::new(&settings, HookMetrics::default).unwrap().unwrap());
    let runs = Arc::clone(&hooks);
    tokio::spawn(async move { runs.run().await });
    let headers = http::HeaderMap::from_iter([(http::header::COOKIE, token.parse().unwrap())]);
    let target = format!("/ws?token={token}").parse().unwrap();
    let client_request =
        ClientRequest::new(&settings, &target, &headers, None, "websocket", "native", Some(&Token::new(token)));
    let (grant, namespace) = (Grant::default(), None);
    let question = ConnectQuestion {
        connection: None,
        grant: &grant,
        client_request: &client_request,
        token: None,
        namespace,
        refresh: false,
    };
    let error = hooks.connect.as_ref().unwrap().ask(question).await.unwrap_err();
    assert!(matches!(error, HookError::BadAnswer(_)), "{error}");
    format!("{error} {error:?} {client_request:?} {settings:?}")
}
