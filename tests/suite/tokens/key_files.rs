//! Keys in files: every kind, every mistake, and how the next ones take the place of those before.

use std::{path::Path, sync::Arc, time::Duration};

use roomcast::testing::{
    auth::{Algorithm, Authority, MAX_KEYS, TokenError},
    config::TokenSettings,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::support::{Pair, SECRET, encode, file, pem, rsa, secret, settings, verdict, verify, with_secret};

fn pem_file(path: &Path) -> TokenSettings {
    TokenSettings { public_keys: vec![path.to_owned()], ..settings() }
}

fn set_file(path: &Path) -> TokenSettings {
    TokenSettings { jwks_file: Some(path.to_owned()), ..settings() }
}

fn refusal(settings: &TokenSettings) -> String {
    Authority::new(settings).unwrap_err().to_string()
}

#[test]
fn every_kind_of_key_as_pem_and_in_a_set() {
    let pairs = [Pair::p256(), Pair::p384(), Pair::p521(), Pair::ed25519()];
    let algorithms = [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::EdDsa, Algorithm::Rs256];
    for (pair, algorithm) in pairs.iter().chain([rsa()]).zip(algorithms) {
        assert_eq!(pair.signing.algorithm(), algorithm);
        let one = file(&pair.public_pem);
        let name = algorithm.name();
        assert!(verdict(&pem_file(one.path()), &pair.token(None)).is_ok(), "{name}");
        for more in [
            json!({}),
            json!({"kid": "a"}),
            json!({"kid": "a", "alg": name, "use": "sig", "key_ops": ["verify"]}),
            json!({"kid": "a", "ext": true, "x5t": "AAAA", "x5c": ["not looked at"]}),
        ] {
            let set = file(json!({"keys": [pair.jwk_with(more)]}).to_string());
            assert!(verdict(&set_file(set.path()), &pair.token(Some("a"))).is_ok(), "{name}");
            assert!(verdict(&set_file(set.path()), &pair.token(None)).is_ok(), "{name}");
        }
    }
    // Several in one file, and a comment.
    let all: String = pairs.iter().map(|pair| format!("# a key\n{}", pair.public_pem)).collect();
    let all = file(all);
    for pair in &pairs {
        assert!(verdict(&pem_file(all.path()), &pair.token(None)).is_ok());
    }
}

#[test]
fn secrets_in_a_file_and_while_one_replaces_another() {
    let key = json!({"kty": "oct", "k": encode(SECRET), "kid": "s"});
    let set = file(json!({ "keys": [key] }).to_string());
    let token = |id| secret(SECRET).token(&super::support::good(), id).unwrap();
    assert!(verdict(&set_file(set.path()), &token(Some("s"))).is_ok());
    assert_eq!(verdict(&set_file(set.path()), &token(Some("t"))), Err(TokenError::UnknownKey));
    let mut both = with_secret();
    both.hmac_secrets.insert(0, roomcast::testing::config::HmacSecret::new(&"n".repeat(32)).unwrap());
    for text in [SECRET, &"n".repeat(32)] {
        assert!(verdict(&both, &secret(text).token(&super::support::good(), None).unwrap()).is_ok());
    }
    let short = file(json!({"keys": [{"kty": "oct", "k": encode("short")}]}).to_string());
    assert!(refusal(&set_file(short.path())).contains("shorter than 32 bytes"));
}

#[test]
fn a_name_selects_among_keys_and_never_another_kind() {
    let (a, b) = (Pair::p256(), Pair::p256());
    let set = file(json!({"keys": [a.jwk_with(json!({"kid": "a"})), b.jwk_with(json!({"kid": "b"}))]}).to_string());
    let settings = set_file(set.path());
    assert!(verdict(&settings, &a.token(Some("a"))).is_ok());
    assert!(verdict(&settings, &b.token(None)).is_ok());
    assert_eq!(verdict(&settings, &a.token(Some("b"))), Err(TokenError::Signature));
    assert_eq!(verdict(&settings, &a.token(Some("c"))), Err(TokenError::UnknownKey));
    assert_eq!(verdict(&settings, &Pair::ed25519().token(Some("a"))), Err(TokenError::UnknownKey));
    // An RSA key that says RS512 takes nothing else.
    let set = file(json!({"keys": [rsa().jwk_with(json!({"alg": "RS512"}))]}).to_string());
    assert_eq!(verdict(&set_file(set.path()), &rsa().token(None)), Err(TokenError::UnknownKey));
}

#[test]
fn keys_of_a_set_that_are_for_something_else_are_passed_over() {
    let p256 = Pair::p256();
    let weak = json!({"kty": "RSA", "n": encode([0xc5; 128]), "e": "AQAB"});
    let x = &p256.jwk["x"];
    let others: Vec<Value> = vec![
        p256.jwk_with(json!({"use": "enc"})),
        p256.jwk_with(json!({"key_ops": ["sign"]})),
        p256.jwk_with(json!({"alg": "ES384"})),
        p256.jwk_with(json!({"alg": "ECDH-ES"})),
        p256.jwk_with(json!({"crv": "P-384"})),
        p256.jwk_with(json!({"crv": "secp256k1"})),
        p256.jwk_with(json!({"kty": "RSA"})),
        p256.jwk_with(json!({"kty": "AKP", "alg": "ML-DSA-44"})),
        p256.jwk_with(json!({"kid": 7})),
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}),
        json!({"kty": "EC", "crv": "P-256", "x": x}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": x}),
        rsa().jwk_with(json!({"alg": "RSA-OAEP"})),
        rsa().jwk_with(json!({"alg": "HS256"})),
        weak,
        json!({"kty": "RSA", "n": "", "e": ""}),
        json!({"kty": "RSA", "n": "!", "e": "AQAB"}),
        json!({}),
        json!(null),
        json!("key"),
    ];
    for other in &others {
        let set = file(json!({"keys": [other]}).to_string());
        let error = refusal(&set_file(set.path()));
        assert!(error.contains("none of its 1 keys can verify a token; the first: it"), "{other} {error}");
    }
    let mut set = others;
    set.push(p256.jwk.clone());
    let set = file(json!({ "keys": set }).to_string());
    assert!(verdict(&set_file(set.path()), &p256.token(None)).is_ok(), "the good one among them serves");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_key_and_name() {
    let pair = Pair::p256();
    let weak = rsa_spki_1024();
    for (text, why) in [
        (String::new(), "there is no public key in PATH; it needs a `-----BEGIN PUBLIC KEY-----` section"),
        ("nonsense".to_owned(), "there is no public key in PATH; it needs"),
        (pair.private_pem.clone(), "there is no public key in PATH but a private one"),
        (pem("CERTIFICATE", &[0x30, 0]), "but a certificate; take its key: openssl x509 -in PATH -pubkey -noout"),
        (pem("PUBLIC KEY", &[0x30, 0]), "a key in PATH cannot be used: it is not an RSA, P-256"),
        (pem("PUBLIC KEY", &weak), "a key in PATH cannot be used: its RSA key has 1024 bits; 2048 to 8192 are taken"),
        (pair.public_pem.replace("-----END", "-----"), "PATH is not valid PEM"),
        ("x".repeat(1024 * 1024 + 1), "cannot read PATH: it is larger than 1048576 bytes"),
    ] {
        let file = file(&text);
        let error = refusal(&pem_file(file.path()));
        let why = why.replace("PATH", &file.path().display().to_string());
        assert!(error.starts_with("tokens.public_keys: ") && error.contains(&why), "{error}\n{why}");
    }
    let missing = refusal(&pem_file(Path::new("/nowhere/key.pem")));
    assert!(missing.starts_with("tokens.public_keys: cannot read /nowhere/key.pem: No such file"), "{missing}");

    let many = json!({"keys": vec![pair.jwk.clone(); MAX_KEYS + 1]}).to_string();
    for (text, why) in [
        ("", "it is not a key set"),
        ("[]", "it is not a key set"),
        ("{}", "it is not a key set"),
        ("{\"keys\":{}}", "it is not a key set"),
        (&pair.jwk.to_string(), "it is not a key set"),
        ("{\"keys\":[]}", "none of its 0 keys"),
        (&many, "it has more than 64 keys"),
    ] {
        let file = file(text);
        let error = refusal(&set_file(file.path()));
        assert!(error.starts_with(&format!("tokens.jwks_file: {}: {why}", file.path().display())), "{error}");
    }
    let ca = TokenSettings {
        jwks_url: Some(roomcast::testing::config::JwksUrl::parse("https://localhost/keys").unwrap()),
        jwks_ca: Some("/nowhere/ca.pem".into()),
        ..settings()
    };
    assert!(refusal(&ca).starts_with("tokens.jwks_ca: the CA file /nowhere/ca.pem cannot be used"), "{}", refusal(&ca));
}

/// A `SubjectPublicKeyInfo` with a modulus of 1,024 bits, by hand: nothing here makes such keys.
fn rsa_spki_1024() -> Vec<u8> {
    let modulus = [&[0x02, 0x81, 0x81, 0x00][..], &[0xc5; 128]].concat();
    let key = [&[0x30, 0x81, 0x89][..], &modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let bits = [&[0x03, 0x81, 0x8d, 0x00][..], &key].concat();
    let algorithm = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    [&[0x30, 0x81, 0x9f][..], &algorithm, &bits].concat()
}

/// Time is paused: seconds pass when nothing is left to do.
#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_read_again_and_a_broken_one_changes_nothing() {
    let (old, new) = (Pair::p256(), Pair::p256());
    let key = file(&old.public_pem);
    let authority = Arc::new(Authority::new(&pem_file(key.path())).unwrap());
    tokio::spawn(Arc::clone(&authority).run());
    let pass = || tokio::time::sleep(Duration::from_secs(11));

    std::fs::write(key.path(), "broken").unwrap();
    pass().await;
    assert!(verify(&authority, &old.token(None)).await.is_ok());
    std::fs::write(key.path(), &new.public_pem).unwrap();
    pass().await;
    assert!(verify(&authority, &new.token(None)).await.is_ok());
    assert_eq!(verify(&authority, &old.token(None)).await, Err(TokenError::Signature));
    std::fs::remove_file(key.path()).unwrap();
    pass().await;
    assert!(verify(&authority, &new.token(None)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reload_takes_all_or_nothing_and_then_waits_for_the_file() {
    let (old, new) = (Pair::p256(), Pair::p256());
    let (first, second) = (file(&old.public_pem), file(""));
    let authority = Arc::new(Authority::new(&pem_file(first.path())).unwrap());
    tokio::spawn(Arc::clone(&authority).run());

    let (log, next) =
        (NamedTempFile::new().unwrap(), TokenSettings { issuer: Some("new".to_owned()), ..pem_file(second.path()) });
    let writer = Arc::new(log.reopen().unwrap());
    let _logs = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(writer).finish());
    let said = |text: &str| std::fs::read_to_string(log.path()).unwrap().matches(text).count();
    authority.reload(&next).unwrap_err();
    let error = authority.reload(&next).unwrap_err().to_string();
    assert!(error.contains(&second.path().display().to_string()), "{error}");
    assert!(verify(&authority, &old.token(None)).await.is_ok(), "the old key and the old rules");

    assert_eq!(said("the keys of tokens are unusable"), 2, "each reload that is asked for has its answer");
    std::fs::write(second.path(), "no key either").unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(said("the keys of tokens are unusable"), 2, "for the same reason");

    std::fs::write(second.path(), &new.public_pem).unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!((said("the keys of tokens are usable again"), said("were read again")), (1, 0));
    assert_eq!(verify(&authority, &old.token(None)).await, Err(TokenError::Signature));
    let new_rules = TokenError::Claim { claim: "iss".into(), why: "is missing" };
    assert_eq!(verify(&authority, &new.token(None)).await, Err(new_rules));

    authority.reload(&settings()).unwrap();
    assert!(!authority.is_enabled());
    assert_eq!(verify(&authority, &new.token(None)).await, Err(TokenError::NoKeys));
}
