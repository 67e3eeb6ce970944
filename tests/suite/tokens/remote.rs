//! A key set behind a URL: rotation, outages, servers that misbehave, floods of unknown keys.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use roomcast::testing::{
    auth::{Authority, TokenError},
    config::TokenSettings,
    metrics::TokenMetrics,
};
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::{
    server::{Answer, Server, run, soon},
    support::{Pair, SECRET, encode, file, good, secret, verify, with_secret},
};

/// Lets time pass without waiting for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn named(pair: &Pair, id: &str) -> Value {
    pair.jwk_with(json!({ "kid": id }))
}

#[tokio::test]
async fn keys_come_and_go_with_the_set() {
    let (old, new) = (Pair::p256(), Pair::ed25519());
    let server = Server::start(Answer::keys(&[named(&old, "1")])).await;
    let authority = run(&TokenSettings { jwks_refresh: Duration::from_millis(100), ..server.settings() });
    assert!(authority.is_enabled() && !authority.is_ready() && !authority.has_been_ready());
    // The first token waits for the first fetch.
    assert!(verify(&authority, &old.token(Some("1"))).await.is_ok());
    assert!(authority.is_ready());

    server.answer(Answer::keys(&[named(&old, "1"), named(&new, "2")]));
    soon("the new key", async || verify(&authority, &new.token(Some("2"))).await.is_ok()).await;
    assert!(verify(&authority, &old.token(Some("1"))).await.is_ok());
    server.answer(Answer::keys(&[named(&new, "2")]));
    soon("the old key's end", async || verify(&authority, &old.token(Some("1"))).await.is_err()).await;
    assert_eq!(verify(&authority, &old.token(Some("1"))).await, Err(TokenError::UnknownKey));
    assert!(verify(&authority, &new.token(Some("2"))).await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_fetched_at_once_and_a_flood_of_them_causes_one_fetch() {
    let (old, new) = (Pair::p256(), Pair::p256());
    let server = Server::start(Answer::keys(&[named(&old, "1")])).await;
    let authority = run(&server.settings());
    assert!(verify(&authority, &old.token(Some("1"))).await.is_ok());
    assert_eq!(server.asked(), 1);

    server.answer(Answer::keys(&[named(&old, "1"), named(&new, "2")]));
    // It was fetched just now: not again so soon, and nobody waits.
    let before = Instant::now();
    assert_eq!(verify(&authority, &new.token(Some("2"))).await, Err(TokenError::KeyTooNew));
    assert!(before.elapsed() < Duration::from_secs(1));
    assert_eq!(server.asked(), 1);

    pass(Duration::from_secs(11)).await;
    assert!(verify(&authority, &new.token(Some("2"))).await.is_ok());
    assert_eq!(server.asked(), 2);

    for round in 0..3 {
        pass(Duration::from_secs(11)).await;
        let flood: Vec<_> = (0..1000)
            .map(|number| {
                let (authority, token) = (Arc::clone(&authority), new.token(Some(&format!("{round}-{number}"))));
                tokio::spawn(async move { verify(&authority, &token).await })
            })
            .collect();
        for token in flood {
            assert_eq!(token.await.unwrap(), Err(TokenError::UnknownKey));
        }
        assert_eq!(server.asked(), 3 + round, "a thousand tokens, one fetch");
    }
    pass(Duration::from_secs(11)).await;
    // Neither do tokens that a fetch could not help.
    for token in [old.token(None), new.token(Some("1")), secret(SECRET).token(&good(), Some("9")).unwrap()] {
        assert!(matches!(
            verify(&authority, &token).await,
            Ok(_) | Err(TokenError::Signature | TokenError::UnknownKey)
        ));
    }
    let expired = new.signing.token(&json!({"sub": "ann", "exp": 1}), Some("2")).unwrap();
    assert_eq!(verify(&authority, &expired).await, Err(TokenError::Expired));
    assert_eq!(server.asked(), 5);
}

/// A key may be new since the last fetch. Its tokens are told to come again, until a fetch has shown whether it is there.
#[tokio::test]
async fn a_key_that_was_published_after_the_last_fetch_is_not_refused_for_good() {
    let (old, new) = (Pair::p256(), Pair::p256());
    let server = Server::start(Answer::keys(&[named(&old, "1")])).await;
    let authority = run(&server.settings());
    assert!(verify(&authority, &old.token(Some("1"))).await.is_ok());
    server.answer(Answer::keys(&[named(&old, "1"), named(&new, "2")]));
    let (good, bad) = (new.token(Some("2")), new.token(Some("3")));
    for token in [&good, &bad, &good] {
        let verdict = verify(&authority, token).await.unwrap_err();
        assert!(verdict == TokenError::KeyTooNew && verdict.is_outage(), "{verdict}");
    }
    assert_eq!(server.asked(), 1, "not again so soon");
    pass(Duration::from_secs(11)).await;
    // No token asks for it.
    soon("the next fetch", async || server.asked() == 2).await;
    soon("the new key", async || verify(&authority, &good).await.is_ok()).await;
    assert_eq!(verify(&authority, &bad).await, Err(TokenError::UnknownKey), "a fetch has not brought it");
    assert_eq!(server.asked(), 2);
}

/// Also where the configuration is read again meanwhile, which begins to fetch anew.
#[tokio::test]
async fn an_outage_is_a_line_of_the_log_when_it_begins_and_one_when_it_is_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = Arc::new(file.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log).finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let said = |text: &str| std::fs::read_to_string(file.path()).unwrap().matches(text).count();

    let server = Server::start(Answer::keys(&[named(&Pair::p256(), "1")])).await;
    let settings = TokenSettings { jwks_refresh: Duration::from_millis(50), ..server.settings() };
    let authority = run(&settings);
    soon("the first fetch", async || authority.is_ready()).await;
    let good = server.asked();
    soon("more of them", async || server.asked() > good + 2).await;
    assert_eq!((said("keys of tokens were fetched"), said("could not be fetched")), (1, 0));

    let keys = Answer::keys(&[named(&Pair::p256(), "2")]);
    server.answer(Answer::With(500, Bytes::new()));
    for _ in 0..2 {
        let asked = server.asked();
        soon("failures", async || server.asked() > asked + 2).await;
        authority.reload(&settings).unwrap();
    }
    server.answer(keys);
    soon("the end", async || said("keys of tokens were fetched again") > 0).await;
    let good = server.asked();
    soon("more of them", async || server.asked() > good + 2).await;
    assert_eq!((said("could not be fetched"), said("were fetched again"), said("were fetched")), (1, 1, 2));
    assert!(said("the server answers 500") == 1 && said("failures=") == 1);
}

#[tokio::test]
async fn an_outage_at_the_start_is_told_from_a_bad_token_and_ends() {
    let pair = Pair::p256();
    let server = Server::start(Answer::With(500, Bytes::new())).await;
    let authority = run(&TokenSettings { jwks_url: server.settings().jwks_url, ..with_secret() });
    soon("the first fetch", async || server.asked() > 0).await;
    let verdict = verify(&authority, &pair.token(Some("1"))).await.unwrap_err();
    assert!(verdict.is_outage() && !authority.is_ready(), "{verdict}");
    // Other keys serve meanwhile, and a bad token is a bad one.
    assert!(verify(&authority, &secret(SECRET).token(&good(), None).unwrap()).await.is_ok());
    let other = secret("another secret, of more than 32 bytes as well").token(&good(), None).unwrap();
    assert_eq!(verify(&authority, &other).await, Err(TokenError::Signature));
    assert!(matches!(verify(&authority, "no token").await, Err(TokenError::Malformed(_))));

    server.answer(Answer::keys(&[named(&pair, "1")]));
    soon("the end of the outage", async || authority.is_ready()).await;
    assert!(verify(&authority, &pair.token(Some("1"))).await.is_ok());
}

#[tokio::test]
async fn whatever_the_server_sends_the_old_keys_stay() {
    let pair = Pair::p256();
    let server = Server::start(Answer::keys(&[named(&pair, "1")])).await;
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = metrics::with_local_recorder(&recorder, TokenMetrics::default);
    let settings = TokenSettings { jwks_refresh: Duration::from_millis(20), ..server.settings() };
    let authority = Arc::new(Authority::new(&settings).unwrap().with_metrics(counted));
    tokio::spawn(Arc::clone(&authority).run());
    assert!(verify(&authority, &pair.token(Some("1"))).await.is_ok());

    let secret_key = json!({"kty": "oct", "kid": "2", "k": encode(SECRET)});
    for (what, answer) in [
        ("an error", Answer::With(503, "no".into())),
        ("a redirect", Answer::With(302, json!({"keys": [named(&pair, "2")]}).to_string().into())),
        ("nothing", Answer::With(200, Bytes::new())),
        ("no content", Answer::With(204, Bytes::new())),
        ("garbage", Answer::With(200, "<html>".into())),
        ("other JSON", Answer::With(200, "{\"keys\":7}".into())),
        ("no keys", Answer::keys(&[])),
        ("no key for tokens", Answer::keys(&[json!({"kty": "RSA", "use": "enc"})])),
        ("secrets, which a server cannot publish", Answer::keys(&[secret_key])),
        ("too many keys", Answer::keys(&vec![pair.jwk.clone(); 65])),
        ("too many bytes", Answer::With(200, vec![b' '; 256 * 1024 + 1].into())),
    ] {
        server.answer(answer);
        let asked = server.asked();
        soon(what, async || server.asked() > asked + 1).await;
        assert!(verify(&authority, &pair.token(Some("1"))).await.is_ok(), "{what}");
        assert!(authority.is_ready(), "{what}");
    }
    // The age is looked at each second, and is that of the last good set, however long ago.
    let value_in = |text: &str, name: &str| -> Option<f64> {
        text.lines().find(|line| line.starts_with(name))?.rsplit(' ').next()?.parse().ok()
    };
    let aged =
        async || value_in(&recorder.handle().render(), "roomcast_jwks_age_seconds ").is_some_and(|age| age >= 1.0);
    soon("the metrics", aged).await;
    let text = recorder.handle().render();
    let value = |name: &str| value_in(&text, name).unwrap_or_else(|| panic!("{name}: {text}"));
    assert!(value("roomcast_jwks_failures_total ") >= 11.0, "{text}");
    assert!(value("roomcast_tokens_total{result=\"accepted\"}") >= 12.0, "{text}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_a_token_for_two_seconds_at_most() {
    let pair = Pair::p256();
    let server = Server::start(Answer::Never).await;
    let authority = run(&server.settings());
    let before = Instant::now();
    let tokens = [pair.token(Some("1")), pair.token(Some("2")), pair.token(None)];
    let [one, two, three] = tokens.each_ref().map(|token| verify(&authority, token));
    let verdicts = tokio::join!(one, two, three);
    let took = before.elapsed();
    assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(4), "{took:?}");
    for verdict in [verdicts.0, verdicts.1, verdicts.2] {
        assert_eq!(verdict, Err(TokenError::Outage));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_reload_to_another_server_trusts_the_old_one_no_more() {
    let (one, two) = (Pair::p256(), Pair::p256());
    let first = Server::start(Answer::keys(&[named(&one, "1")])).await;
    let second = Server::start(Answer::keys(&[named(&two, "1")])).await;
    let authority = run(&first.settings());
    assert!(verify(&authority, &one.token(Some("1"))).await.is_ok());
    // The same server: its keys stay while they are fetched anew.
    authority.reload(&TokenSettings { issuer: None, audiences: Vec::new(), ..first.settings() }).unwrap();
    assert!(authority.is_ready());
    soon("SIGHUP fetches", async || first.asked() == 2).await;

    authority.reload(&second.settings()).unwrap();
    assert!(!authority.is_ready() && authority.has_been_ready(), "it starts only once");
    assert!(verify(&authority, &two.token(Some("1"))).await.is_ok());
    assert_eq!(verify(&authority, &one.token(Some("1"))).await, Err(TokenError::Signature));
}

/// A certificate that no CA of the system has signed.
#[tokio::test]
async fn a_server_is_trusted_by_the_certificates_that_the_operator_names() {
    let pair = Pair::p256();
    let (certificate, pem) = roomcast_certs::make(SystemTime::now()).unwrap();
    let mut config = ServerConfig::builder_with_provider(roomcast_certs::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(certificate.served()))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Server::start_tls(Answer::keys(&[named(&pair, "1")]), config).await;
    let stranger = run(&server.settings());
    assert_eq!(verify(&stranger, &pair.token(Some("1"))).await, Err(TokenError::Outage));
    assert_eq!(server.asked(), 0, "nothing is asked of a server that is not trusted");

    let ca = file(&pem.certificate);
    let settings = TokenSettings { jwks_ca: Some(ca.path().to_owned()), ..server.settings() };
    let authority = run(&settings);
    assert!(verify(&authority, &pair.token(Some("1"))).await.is_ok());
    assert_eq!(server.asked(), 1);
}
