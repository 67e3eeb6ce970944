//! Signs tokens, for development and tests. A pod itself signs none.

use aws_lc_rs::{
    error::Unspecified,
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
        EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

use super::Algorithm;
use crate::config::HmacSecret;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// No private key in the PEM text.
    #[error("there is no private key in it; it needs a `-----BEGIN PRIVATE KEY-----` section that is not encrypted")]
    NoKey,
    /// Another kind of key.
    #[error("its private key is no RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519 key")]
    Kind,
}

/// A key that tokens are signed with. Never shows itself.
pub struct SigningKey {
    algorithm: Algorithm,
    signer: Signer,
}

enum Signer {
    Secret(Box<hmac::Key>),
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A secret: HS256.
    #[must_use]
    pub fn secret(secret: &HmacSecret) -> Self {
        let signer = Signer::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes())));
        Self { algorithm: Algorithm::Hs256, signer }
    }

    /// A private key in PEM (PKCS#8, PKCS#1 or SEC1): RS256, ES256, ES384, ES512 or EdDSA, as its kind is.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn pem(pem: &[u8]) -> Result<Self, SigningKeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SigningKeyError::NoKey)?;
        let der = key.secret_der();
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)) {
            return Ok(Self { algorithm: Algorithm::Rs256, signer: Signer::Rsa(pair) });
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self { algorithm: Algorithm::EdDsa, signer: Signer::Ed25519(pair) });
        }
        let curves = [
            (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING),
            (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED_SIGNING),
        ];
        for (algorithm, signing) in curves {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(signing, der) {
                return Ok(Self { algorithm, signer: Signer::Ecdsa(pair) });
            }
        }
        Err(SigningKeyError::Kind)
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A token with these claims. `key_id` becomes its `kid`.
    ///
    /// # Errors
    /// When the system has no randomness, which some signatures need.
    pub fn token(&self, claims: &serde_json::Value, key_id: Option<&str>) -> Result<String, Unspecified> {
        let mut header = serde_json::json!({"alg": self.algorithm.name(), "typ": "JWT"});
        if let Some(id) = key_id {
            header["kid"] = id.into();
        }
        let encode = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        self.sign(format!("{}.{}", encode(&header), encode(claims)))
    }

    /// Signs a header and a payload, encoded and with the dot between, whatever they say.
    ///
    /// # Errors
    /// As [`SigningKey::token`].
    pub fn sign(&self, signed: String) -> Result<String, Unspecified> {
        let message = signed.as_bytes();
        let random = SystemRandom::new();
        let signature = match &self.signer {
            Signer::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                signature
            }
            Signer::Ecdsa(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.try_sign(message)?.as_ref().to_vec(),
        };
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
