//! Key sets: JWK Set (RFC 7517), with the keys of RFC 7518 section 6 and RFC 8037.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::PublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Algorithm,
    key::{Key, KeyMaterialError},
};

/// The most usable keys of a set: a token without `kid` is tried with all of them.
pub const MAX_KEYS: usize = 64;

/// Why a text is not a key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is not the JSON of a key set.
    #[error("it is not a key set, {{\"keys\": […]}} (RFC 7517)")]
    Form,
    /// None of its keys can verify a token.
    #[error("none of its {count} keys can verify a token{}", first.as_ref().map_or(String::new(), |why| format!("; the first: {why}")))]
    NoKeys {
        /// How many there are.
        count: usize,
        /// Why the first cannot.
        first: Option<SkippedKeyError>,
    },
    /// It has too many keys.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
}

/// Why a key of a set is passed over: sets hold keys for other purposes too, and of kinds that are still to come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkippedKeyError {
    /// A parameter is missing or of the wrong type.
    #[error("it is not a key (RFC 7517 section 4)")]
    Form,
    /// Its `use`, `key_ops` or `alg` is another one than verifying, or its `kty` or `crv` is not known.
    #[error("it is for something else, or of another kind")]
    Purpose,
    /// Its parameters make no key.
    #[error(transparent)]
    Unusable(#[from] KeyMaterialError),
}

/// The source of a set decides whether it may hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of the operator.
    File,
    /// A server that publishes it: a published secret is ignored.
    Server,
}

#[derive(Deserialize)]
struct KeySet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// A key (RFC 7517 section 4). Its certificates are ignored: the set itself is trusted.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// The keys of a set that can verify tokens.
///
/// # Errors
/// [`KeySetError`] when there is none.
pub(super) fn keys(json: &[u8], origin: Origin) -> Result<Vec<Key>, KeySetError> {
    let set: KeySet<'_> = serde_json::from_slice(json).map_err(|_| KeySetError::Form)?;
    let mut keys = Vec::new();
    let mut first = None;
    for jwk in &set.keys {
        match key(jwk, origin) {
            Ok(_) if keys.len() == MAX_KEYS => return Err(KeySetError::TooMany),
            Ok(key) => keys.push(key),
            Err(why) => first = first.or(Some(why)),
        }
    }
    if keys.is_empty() { Err(KeySetError::NoKeys { count: set.keys.len(), first }) } else { Ok(keys) }
}

fn key(jwk: &RawValue, origin: Origin) -> Result<Key, SkippedKeyError> {
    let jwk: Jwk = serde_json::from_str(jwk.get()).map_err(|_| SkippedKeyError::Form)?;
    let for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
    let for_verifying = jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|o| o == "verify"));
    if !for_signatures || !for_verifying {
        return Err(SkippedKeyError::Purpose);
    }
    let algorithms: &[Algorithm] = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => &Algorithm::RSA,
        ("EC", Some("P-256")) => &[Algorithm::Es256],
        ("EC", Some("P-384")) => &[Algorithm::Es384],
        ("EC", Some("P-521")) => &[Algorithm::Es512],
        ("OKP", Some("Ed25519")) => &[Algorithm::EdDsa],
        ("oct", _) if origin == Origin::File => &Algorithm::HMAC,
        _ => return Err(SkippedKeyError::Purpose),
    };
    let only;
    let algorithms = match &jwk.alg {
        None => algorithms,
        Some(name) => {
            let named = Algorithm::named(name).filter(|named| algorithms.contains(named));
            only = [named.ok_or(SkippedKeyError::Purpose)?];
            &only
        }
    };
    let bytes = |part: &Option<String>| {
        part.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(SkippedKeyError::Form)
    };
    Ok(match jwk.kty.as_str() {
        "oct" => Key::secret(jwk.kid, algorithms, &bytes(&jwk.k)?, false)?,
        "RSA" => {
            // A leading zero is against RFC 7518 section 6.3.1.1, yet written by some.
            let (n, e) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
            let components = PublicKeyComponents { n: unsigned(&n), e: unsigned(&e) };
            let der: PublicKeyX509Der<'_> = components.as_der().map_err(|_| KeyMaterialError::Kind)?;
            Key::public(jwk.kid, algorithms, der.as_ref())?
        }
        // An uncompressed point (SEC 1 section 2.3.3).
        "EC" => Key::public(jwk.kid, algorithms, &[vec![4], bytes(&jwk.x)?, bytes(&jwk.y)?].concat())?,
        _ => {
            let point = bytes(&jwk.x)?;
            if point.len() != 32 {
                return Err(KeyMaterialError::Kind.into());
            }
            Key::public(jwk.kid, algorithms, &point)?
        }
    })
}

fn unsigned(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
