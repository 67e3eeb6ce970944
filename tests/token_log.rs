//! Whatever is logged, at whatever level, and whatever is shown for debugging: never a token, never a secret.
//!
//! By itself in its program: which lines are written is decided once for a whole process.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "tokens/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "tokens/support.rs"]
mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use roomcast::{auth::Authority, config::TokenSettings, model::Token};
use serde_json::json;
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

    let log = text(&log);
    assert!(log.contains("TRACE") && log.contains("the keys of tokens were fetched"), "the log is on: {log}");
    for hidden in tokens.iter().flat_map(|token| token.split('.')).chain([SECRET, "secret-room-of-ann"]) {
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
