//! Keys made at run time, tokens of any shape, and settings to check them with.

use std::{
    io::Write,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use roomcast::testing::{
    auth::{Authority, Grant, SigningKey, TokenError},
    config::{HmacSecret, TokenSettings},
    model::Token,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// What the tests call now: 2026-11-20.
pub const NOW: u64 = 1_795_132_800;

pub const SECRET: &str = "a secret of more than 32 bytes, so that HS256 takes it";

/// A key pair.
pub struct Pair {
    pub signing: SigningKey,
    pub public_pem: String,
    pub private_pem: String,
    pub jwk: Value,
}

impl Pair {
    fn new(private: &[u8], public: &[u8], jwk: Value) -> Self {
        let private_pem = pem("PRIVATE KEY", private);
        let signing = SigningKey::pem(private_pem.as_bytes()).unwrap();
        Self { signing, public_pem: pem("PUBLIC KEY", public), private_pem, jwk }
    }

    pub fn rsa() -> Self {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        // SEQUENCE { INTEGER n of 257 bytes, the first zero; INTEGER e } (RFC 8017 appendix A.1.1).
        let der = pair.public_key().as_ref();
        let (n, e) = (encode(&der[9..265]), encode(&der[267..]));
        Self::new(private.as_ref(), public.as_ref(), json!({"kty": "RSA", "n": n, "e": e}))
    }

    pub fn p256() -> Self {
        Self::curve(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    pub fn p384() -> Self {
        Self::curve(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    pub fn p521() -> Self {
        Self::curve(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")
    }

    fn curve(signing: &'static EcdsaSigningAlgorithm, name: &str) -> Self {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "crv": name, "x": encode(x), "y": encode(y)});
        Self::new(private.as_ref(), public.as_ref(), jwk)
    }

    pub fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())});
        Self::new(private.as_ref(), public.as_ref(), jwk)
    }

    /// The public key with more members, as in a set.
    pub fn jwk_with(&self, more: Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jwk
    }

    /// A good token of ann's, whose key is called `id`.
    pub fn token(&self, id: Option<&str>) -> String {
        self.signing.token(&good(), id).unwrap()
    }

    /// A token of this header and payload, whatever they are.
    pub fn raw(&self, header: &str, payload: &str) -> String {
        self.signing.sign(format!("{}.{}", encode(header), encode(payload))).unwrap()
    }
}

/// RSA keys take a while to make, so that there are two for all tests.
pub fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::rsa)
}

pub fn other_rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::rsa)
}

pub fn secret(text: &str) -> SigningKey {
    SigningKey::secret(&HmacSecret::new(text).unwrap())
}

/// Claims that are good for an hour.
pub fn good() -> Value {
    json!({"sub": "ann", "exp": NOW + 3600})
}

pub fn settings() -> TokenSettings {
    TokenSettings::default()
}

/// Settings with a secret.
pub fn with_secret() -> TokenSettings {
    TokenSettings { hmac_secrets: vec![HmacSecret::new(SECRET).unwrap()], ..settings() }
}

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub async fn verify(authority: &Authority, token: &str) -> Result<Grant, TokenError> {
    authority.verify(&Token::new(token), now()).await
}

/// Verifies where nothing has to be fetched.
pub fn verdict(settings: &TokenSettings, token: &str) -> Result<Grant, TokenError> {
    let authority = Authority::new(settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(verify(&authority, token))
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub fn file(text: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_ref()).unwrap();
    file
}
