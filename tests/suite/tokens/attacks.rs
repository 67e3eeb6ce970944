//! Tokens that somebody made to be let in: one line each, with the reason why not.

use roomcast::testing::{
    auth::{Authority, MAX_TOKEN_BYTES, TokenError},
    config::TokenSettings,
};
use serde_json::json;
use tempfile::NamedTempFile;

use super::support::{NOW, Pair, SECRET, encode, file, good, other_rsa, rsa, secret, verify, with_secret};

/// A pod with a key of each kind, and tokens signed with them.
struct Target {
    authority: Authority,
    p256: Pair,
    ed25519: Pair,
    _files: Vec<NamedTempFile>,
}

impl Target {
    fn new() -> Self {
        let (p256, ed25519) = (Pair::p256(), Pair::ed25519());
        let files: Vec<_> = [rsa(), &p256, &ed25519].iter().map(|pair| file(&pair.public_pem)).collect();
        let settings = TokenSettings {
            public_keys: files.iter().map(|file| file.path().to_owned()).collect(),
            issuer: Some("https://login.example.com".to_owned()),
            audiences: vec!["chat".to_owned(), "news".to_owned()],
            ..with_secret()
        };
        Self { authority: Authority::new(&settings).unwrap(), p256, ed25519, _files: files }
    }

    async fn refuses(&self, what: &str, token: &str, reason: TokenError) {
        assert_eq!(verify(&self.authority, token).await.map(|_| ()), Err(reason), "{what}");
    }
}

/// The claims of a good token for [`Target`].
fn claims() -> serde_json::Value {
    json!({"sub": "ann", "exp": NOW + 3600, "iss": "https://login.example.com", "aud": ["mail", "chat"]})
}

fn payload() -> String {
    claims().to_string()
}

fn unsigned(header: &str, signature: &str) -> String {
    format!("{}.{}.{signature}", encode(header), encode(payload()))
}

fn with(name: &str, value: serde_json::Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    secret(SECRET).token(&claims, None).unwrap()
}

fn raw(json: &str) -> String {
    secret(SECRET).sign(format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(json))).unwrap()
}

/// Without this the other tests would pass on a pod that lets in nobody.
#[tokio::test]
async fn good_tokens_are_good() {
    let target = Target::new();
    for signing in [&rsa().signing, &target.p256.signing, &target.ed25519.signing, &secret(SECRET)] {
        for id in [None, Some("2026-11")] {
            let token = signing.token(&claims(), id).unwrap();
            let grant = verify(&target.authority, &token).await;
            assert_eq!(
                grant.as_ref().ok().and_then(|g| g.user()).map(|u| &**u),
                Some("ann"),
                "{:?}",
                signing.algorithm()
            );
        }
    }
}

#[tokio::test]
async fn unsigned_tokens() {
    let target = Target::new();
    for none in ["none", "None", "NONE", "nOnE", "none ", " none", "null", ""] {
        for signature in ["", "AAAA"] {
            let token = unsigned(&json!({ "alg": none, "typ": "JWT" }).to_string(), signature);
            target.refuses(none, &token, TokenError::Algorithm).await;
        }
    }
    let no_alg = TokenError::Malformed("its header has no `alg`");
    for header in [r#"{"typ":"JWT"}"#, r#"{"alg":null}"#, r#"{"alg":0}"#, r#"{"alg":["none"]}"#, r#"{"ALG":"HS256"}"#] {
        target.refuses(header, &unsigned(header, ""), no_alg.clone()).await;
    }
    for algorithm in ["HS256", "RS256", "PS512", "ES256", "EdDSA"] {
        let token = unsigned(&json!({ "alg": algorithm }).to_string(), "");
        target.refuses(algorithm, &token, TokenError::Signature).await;
    }
    for algorithm in ["HS1", "HS224", "HS512/256", "RS1", "ES256K", "ES25", "hs256", "A128KW", "dir"] {
        let token = unsigned(&json!({ "alg": algorithm }).to_string(), "AAAA");
        target.refuses(algorithm, &token, TokenError::Algorithm).await;
    }
}

/// HMAC with what everybody knows: the public keys, in every form that they are published in.
#[tokio::test]
async fn public_keys_are_no_secrets() {
    let target = Target::new();
    for pair in [rsa(), &target.p256] {
        let base64: String = pair.public_pem.lines().filter(|line| !line.starts_with('-')).collect();
        for known in [&pair.public_pem, pair.public_pem.trim(), &base64, &pair.jwk.to_string()] {
            let token = secret(known).token(&claims(), None).unwrap();
            target.refuses("HS256 with a public key", &token, TokenError::Signature).await;
        }
    }
}

#[tokio::test]
async fn headers_that_bring_or_name_their_own_key() {
    let target = Target::new();
    let stranger = Pair::p256();
    let bring = |more: serde_json::Value| {
        let mut header = json!({"alg": "ES256", "typ": "JWT"});
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header.to_string()
    };
    for more in [
        json!({"jwk": stranger.jwk}),
        json!({"jku": "https://evil.example.com/keys", "kid": "1"}),
        json!({"x5u": "https://evil.example.com/chain.pem"}),
        json!({"x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "/etc/passwd"}),
        json!({"kid": "x' UNION SELECT 'key';--"}),
        json!({"kid": "| cat /etc/passwd"}),
        json!({"kid": ""}),
        json!({"kid": "\u{0}"}),
        json!({"kid": null}),
        json!({"enc": "A128GCM", "zip": "DEF", "b64": false}),
    ] {
        let header = bring(more);
        target.refuses(&header, &stranger.raw(&header, &payload()), TokenError::Signature).await;
        // The same header does no harm to a token of the configured key.
        let own = verify(&target.authority, &target.p256.raw(&header, &payload())).await;
        assert!(own.is_ok(), "{header} {own:?}");
    }
    let no_string = TokenError::Malformed("its header's `kid` is no string");
    for id in [json!(1), json!(["1"]), json!({"a": 1}), json!(true)] {
        let header = bring(json!({ "kid": id }));
        target.refuses(&header, &target.p256.raw(&header, &payload()), no_string.clone()).await;
    }
    for critical in [json!(["exp"]), json!([]), json!(null), json!(["b64"]), json!("exp")] {
        let header = bring(json!({ "crit": critical }));
        target.refuses(&header, &target.p256.raw(&header, &payload()), TokenError::Critical).await;
    }
}

#[tokio::test]
async fn signatures_of_other_keys_and_for_other_words() {
    let target = Target::new();
    let other = [&other_rsa().signing, &Pair::p256().signing, &Pair::ed25519().signing];
    for signing in other.into_iter().chain([&secret("another secret, of more than 32 bytes as well")]) {
        let token = signing.token(&claims(), None).unwrap();
        target.refuses("another key", &token, TokenError::Signature).await;
    }
    // A curve that no configured key has.
    let p384 = Pair::p384().signing.token(&claims(), None).unwrap();
    target.refuses("another curve", &p384, TokenError::UnknownKey).await;

    let mine = rsa().signing.token(&claims(), None).unwrap();
    let [header, _, signature] = mine.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let admin = encode(payload().replace("ann", "root"));
    target.refuses("another payload", &format!("{header}.{admin}.{signature}"), TokenError::Signature).await;
    for algorithm in ["RS384", "RS512", "PS256", "ES256", "EdDSA", "HS256"] {
        let swapped = encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
        let token = format!("{swapped}.{}.{signature}", encode(payload()));
        target.refuses(algorithm, &token, TokenError::Signature).await;
    }
    // ECDSA: both zeros, which broken verifiers took; and the DER form, which JOSE does not have.
    for zeros in [64, 63, 65, 0, 1] {
        let token = unsigned(r#"{"alg":"ES256"}"#, &encode(vec![0; zeros]));
        target.refuses("zeros", &token, TokenError::Signature).await;
    }
    let der = encode([0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00]);
    target.refuses("DER", &unsigned(r#"{"alg":"ES256"}"#, &der), TokenError::Signature).await;
}

#[tokio::test]
async fn shapes_that_are_no_token() {
    let target = Target::new();
    let good = secret(SECRET).token(&claims(), None).unwrap();
    assert!(verify(&target.authority, &good).await.is_ok());
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };

    let parts = TokenError::Malformed("it is not three parts with dots between");
    for shape in [
        "",
        "a",
        ".",
        header,
        &format!("{header}.{body}"),
        &format!("{good}."),
        &format!("{good}.{good}"),
        "....",
        "a.b.c.d.e",
    ] {
        target.refuses(shape, shape, parts.clone()).await;
    }
    let in_header = TokenError::Malformed("its header is not base64url without padding");
    for odd in ["=", " ", "\n", "\t", "\r\n", "\0", "é", "+", "/", "\u{feff}", "\u{202e}", "%20"] {
        target.refuses(odd, &format!("{odd}{good}"), in_header.clone()).await;
        target.refuses(odd, &format!("{header}{odd}.{body}.{signature}"), in_header.clone()).await;
        let in_signature = TokenError::Malformed("its signature is not base64url without padding");
        target.refuses(odd, &format!("{good}{odd}"), in_signature).await;
        // Whatever was done to the payload, the signature is not over it.
        let token = format!("{header}.{body}{odd}.{signature}");
        target.refuses(odd, &token, TokenError::Signature).await;
    }
    for length in 0..good.len() {
        let verdict = verify(&target.authority, &good[..length]).await;
        assert!(verdict.is_err(), "cut to {length} bytes");
    }
    let no_object = TokenError::Malformed("its header is no JSON object with each name once");
    for header in [
        "",
        "null",
        "[]",
        "\"HS256\"",
        "1",
        "{",
        r#"{"alg":"HS256"}x"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{'alg':'HS256'}"#,
    ] {
        let token = secret(SECRET).sign(format!("{}.{}", encode(header), encode(payload()))).unwrap();
        target.refuses(header, &token, no_object.clone()).await;
    }
    // Base64url whose last character says more than its bytes: two spellings of one signature.
    let last = signature.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    let respelt = format!("{}{next}", &good[..good.len() - 1]);
    assert!(verify(&target.authority, &respelt).await.is_err(), "two spellings of one token");
}

#[tokio::test]
async fn sizes_and_depths() {
    let target = Target::new();
    let padded = |bytes: usize| with("pad", json!("x".repeat(bytes)));
    let overhead = padded(0).len();
    let most = padded((MAX_TOKEN_BYTES - overhead) / 4 * 3);
    assert!(most.len() <= MAX_TOKEN_BYTES && most.len() > MAX_TOKEN_BYTES - 8);
    assert!(verify(&target.authority, &most).await.is_ok());
    target.refuses("too long", &padded(MAX_TOKEN_BYTES), TokenError::TooLong).await;
    target.refuses("ten megabytes", &"a.".repeat(5_000_000), TokenError::TooLong).await;

    let bomb = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep = format!("{{\"alg\":\"HS256\",\"x\":{}}}", bomb(2500));
    let token = secret(SECRET).sign(format!("{}.{}", encode(deep), encode(payload()))).unwrap();
    assert!(verify(&target.authority, &token).await.is_ok(), "a deep member that nobody reads");
    for claim in ["rooms", "other", "aud"] {
        let mut claims = claims();
        claims[claim] = json!("BOMB");
        let deep = raw(&claims.to_string().replace("\"BOMB\"", &bomb(2500)));
        let verdict = verify(&target.authority, &deep).await;
        assert_eq!(verdict.is_ok(), claim == "other", "{claim} {verdict:?}");
    }
}

#[tokio::test]
async fn claims_that_do_not_hold() {
    let target = Target::new();
    let wrong = |claim: &str, why| TokenError::Claim { claim: claim.into(), why };
    for (claim, value, reason) in [
        ("exp", json!(NOW - 30), TokenError::Expired),
        ("exp", json!(0), TokenError::Expired),
        ("exp", json!(1.5), TokenError::Expired),
        ("exp", json!(null), wrong("exp", "is missing, and this pod takes no token without an end")),
        ("exp", json!(-1), TokenError::Expired),
        ("exp", json!(-1e300), TokenError::Expired),
        ("exp", json!((NOW + 3600).to_string()), wrong("exp", "is not a number")),
        ("exp", json!(true), wrong("exp", "is not a number")),
        ("exp", json!([NOW + 3600]), wrong("exp", "is not a number")),
        ("nbf", json!(NOW + 31), TokenError::NotYet("nbf")),
        ("nbf", json!("0"), wrong("nbf", "is not a number")),
        ("nbf", json!(NOW * 1000), TokenError::NotYet("nbf")),
        ("iss", json!(null), wrong("iss", "is missing")),
        ("iss", json!("https://login.example.com/"), TokenError::Issuer),
        ("iss", json!("HTTPS://login.example.com"), TokenError::Issuer),
        ("iss", json!(["https://login.example.com"]), wrong("iss", "is not a string")),
        ("aud", json!(null), wrong("aud", "is missing")),
        ("aud", json!("mail"), TokenError::Audience),
        ("aud", json!(["mail", "Chat"]), TokenError::Audience),
        ("aud", json!([]), TokenError::Audience),
        ("aud", json!(["chat", 1]), wrong("aud", "is neither a string nor a list of strings")),
        ("aud", json!({"chat": 1}), wrong("aud", "is neither a string nor a list of strings")),
    ] {
        target.refuses(&format!("{claim} {value}"), &with(claim, value), reason).await;
    }
    for (claim, value) in [
        ("exp", json!(NOW - 29)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("nbf", json!(NOW + 30)),
        // No rule of RFC 7519, and no reader's whose tokens are taken over.
        ("iat", json!(NOW + 3600)),
        ("iat", json!({})),
        // Milliseconds, and ends that no clock reaches.
        ("exp", json!((NOW + 3600) * 1000)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("aud", json!("news")),
    ] {
        let verdict = verify(&target.authority, &with(claim, value.clone())).await;
        assert!(verdict.is_ok(), "{claim} {value} {verdict:?}");
    }
}

/// What serde_json would not write.
#[tokio::test]
async fn payloads_by_hand() {
    let target = Target::new();
    let no_object = TokenError::Malformed("its payload is no JSON object with each name once");
    let base = r#""iss":"https://login.example.com","aud":"chat""#;
    for json in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"ann\"".to_owned(),
        "{".to_owned(),
        format!(r#"{{"sub":"ann","sub":"root","exp":{NOW},{base}}}"#),
        format!(r#"{{"sub":"ann","exp":1,"exp":{},{base}}}"#, NOW + 1),
        format!(r#"{{"sub":"ann","exp":{NOW},"x":1,"x":2,{base}}}"#),
        format!(r#"{{"sub":"ann","exp":{NOW},"s\u0075b":"root",{base}}}"#),
        format!(r#"{{"sub":"ann","exp":NaN,{base}}}"#),
        format!(r#"{{"sub":"ann","exp":Infinity,{base}}}"#),
        format!(r#"{{"sub":"ann","exp":0x7fffffff,{base}}}"#),
        format!(r#"{{"sub":"ann","exp":{NOW},{base}}}{{}}"#),
        format!("\u{feff}{{\"sub\":\"ann\",\"exp\":{NOW},{base}}}"),
    ] {
        target.refuses(&json, &raw(&json), no_object.clone()).await;
    }
    let number = TokenError::Claim { claim: "exp".into(), why: "is not a number" };
    target.refuses("1e999", &raw(&format!(r#"{{"sub":"ann","exp":1e999,{base}}}"#)), number).await;
    assert!(verify(&target.authority, &raw(&format!(r#"{{"sub":"ann","exp":1.9e9,{base}}}"#))).await.is_ok());
}

#[tokio::test]
async fn without_keys_no_token_is_good() {
    let authority = Authority::default();
    assert!(!authority.is_enabled() && authority.is_ready());
    for token in ["", "x", &secret(SECRET).token(&good(), None).unwrap()] {
        assert_eq!(verify(&authority, token).await, Err(TokenError::NoKeys));
    }
}
