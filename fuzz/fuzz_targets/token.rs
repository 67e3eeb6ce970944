//! Whatever comes as a token, as its header or as its claims, is taken or refused at once, with a sentence that can be
//! shown; what is taken keeps the bounds.

#![no_main]

use std::{
    future::Future,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use roomcast::testing::{
    auth::{Authority, Grant, MAX_ROOM_RIGHTS, MAX_USER_BYTES, SigningKey, TokenError},
    config::{HmacSecret, PersonalRoom, TokenSettings},
    model::Token,
};

const SECRET: &str = "a secret of more than 32 bytes, so that HS256 takes it";

static TARGET: LazyLock<(Authority, SigningKey)> = LazyLock::new(|| {
    let secret = HmacSecret::new(SECRET).unwrap();
    let settings = TokenSettings {
        hmac_secrets: vec![secret.clone()],
        personal_room: Some(PersonalRoom::parse("user:{user}").unwrap()),
        ..TokenSettings::default()
    };
    (Authority::new(&settings).unwrap(), SigningKey::secret(&secret))
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        // Nobody but the target itself signs with its secret.
        assert!(verify(text).is_err());
    }
    let good = r#"{"sub":"ann","exp":1895132800}"#.as_bytes();
    sign(data, good);
    sign(br#"{"alg":"HS256"}"#, data);
    // From somewhere inside the claims on, so that their values are reached sooner.
    sign(br#"{"alg":"HS256"}"#, &[br#"{"sub":"ann","exp":1895132800,"rooms":"#, data, b"}"].concat());
    sign(br#"{"alg":"HS256"}"#, &[br#"{"exp":"#, data, b"}"].concat());
});

fn sign(header: &[u8], payload: &[u8]) {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let token = TARGET.1.sign(format!("{}.{}", encode(header), encode(payload))).unwrap();
    match verify(&token) {
        Ok(grant) => {
            let claims = grant.claims().unwrap();
            let user = claims.user.as_deref().expect("a signed token names its user");
            assert!((1..=MAX_USER_BYTES).contains(&user.len()) && !user.chars().any(char::is_control));
            assert!(claims.rooms.len() <= MAX_ROOM_RIGHTS && claims.expires_at.is_some());
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.len() < 300 && !sentence.chars().any(char::is_control), "{sentence}");
            assert!(!error.is_outage() && !matches!(error, TokenError::Signature | TokenError::NoKeys), "{sentence}");
        }
    }
}

/// Never waits: there is nothing to fetch.
fn verify(token: &str) -> Result<Grant, TokenError> {
    let token = Token::new(token);
    let verdict = pin!(TARGET.0.verify(&token, UNIX_EPOCH + Duration::from_secs(1_795_132_800)));
    match verdict.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict,
        Poll::Pending => panic!("it waits"),
    }
}
