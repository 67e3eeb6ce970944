//! The compact form of a signed token (RFC 7515 section 7.1), taken apart.
//!
//! Nothing is trusted here but the size. Only `alg`, `kid` and `crit` of the header are read: a key in the token, or the address
//! of one (`jwk`, `jku`, `x5c`, `x5u`), is ignored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    algorithm::Algorithm,
    error::{MAX_TOKEN_BYTES, TokenError},
    object::Object,
};

/// A token taken apart.
pub(super) struct Jws<'a> {
    /// The algorithm that its header names.
    pub(super) algorithm: Algorithm,
    /// The key that its header names.
    pub(super) key_id: Option<String>,
    /// The signed bytes.
    pub(super) signed: &'a [u8],
    /// The signature.
    pub(super) signature: Vec<u8>,
    payload: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let malformed = TokenError::Malformed;
        let parts: Vec<&str> = token.splitn(4, '.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(malformed("it is not three parts with dots between"));
        };
        let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = decode(header).ok_or(malformed("its header is not base64url without padding"))?;
        let header = Object::parse(&header).ok_or(malformed("its header is no JSON object with each name once"))?;
        // The token requires an extension, and the pod has none (RFC 7515 section 4.1.11).
        if header.has("crit") {
            return Err(TokenError::Critical);
        }
        let text = |name| header.get(name).map(|value| serde_json::from_str::<String>(value.get()));
        let algorithm = match text("alg") {
            Some(Ok(name)) => Algorithm::named(&name).ok_or(TokenError::Algorithm)?,
            _ => return Err(malformed("its header has no `alg`")),
        };
        let key_id = text("kid").transpose().map_err(|_| malformed("its header's `kid` is no string"))?;
        let signature = decode(signature).ok_or(malformed("its signature is not base64url without padding"))?;
        Ok(Self { algorithm, key_id, signed: signed.as_bytes(), signature, payload })
    }

    /// The claims, as JSON. Read them only after the signature was verified.
    pub(super) fn payload(&self) -> Result<Vec<u8>, TokenError> {
        decode(self.payload).ok_or(TokenError::Malformed("its payload is not base64url without padding"))
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
