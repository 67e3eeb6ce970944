//! Asking a pod's internal listener how the pod is: `/status.json`, for `stats` and `top`.
//!
//! Never shows a login or a query of the URL. Always holds: an answer is one that a pod gave, or an error says what came instead.

use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    config::without_secrets,
    transport::fetch::{Client, Limits},
};

/// The internal listener of a pod.
pub(super) struct StatusSource {
    client: Client,
    base: String,
    /// The URL as people may see it.
    pub shown: String,
    limits: Limits,
}

impl StatusSource {
    /// Reads an `http` or `https` URL. `ca`: a PEM file of further CA certificates.
    pub fn new(url: &str, ca: Option<&Path>, limits: Limits) -> Result<Self, String> {
        let base = url.trim_end_matches('/').to_owned();
        let shown = without_secrets(&base);
        let known = base
            .parse::<Uri>()
            .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if !known {
            return Err(format!("{shown} cannot be asked: a URL is http://HOST:PORT"));
        }
        let client = Client::new(ca).map_err(|error| error.to_string())?;
        Ok(Self { client, base, shown, limits })
    }

    /// The answer's body as it came. `query` begins with `?`, or is empty.
    pub async fn body(&self, query: &str) -> Result<Bytes, String> {
        let shown = &self.shown;
        let request = Request::get(format!("{}/status.json{query}", self.base)).body(Bytes::new());
        let request =
            request.map_err(|error| format!("{shown} cannot be asked: {error}; a URL is http://HOST:PORT"))?;
        let answer = self.client.fetch(request, &self.limits).await.map_err(|error| format!("{shown}: {error}"))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let said: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let why = said["error"]["message"].as_str();
        let why = why.unwrap_or("this is not the internal listener of a pod, or the pod is of an older build");
        Err(format!("{shown} answers {}: {why}", answer.status()))
    }

    /// The answer, read.
    pub async fn ask<T: DeserializeOwned>(&self, query: &str) -> Result<T, String> {
        self.read(&self.body(query).await?)
    }

    /// Reads a body.
    pub fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, String> {
        let wrong = |error| format!("{} answers something else than a pod's status: {error}", self.shown);
        serde_json::from_slice(body).map_err(wrong)
    }
}
