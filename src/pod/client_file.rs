//! The Socket.IO client for browsers, for pages that load it from the server that they connect to.
//!
//! Owns the file's content, read once at start. Never a part of roomcast: the operator names the file. Always holds: it is served
//! under the names that the reference server has for it, to any page.

use std::{fs, hash::BuildHasher, hash::BuildHasherDefault, hash::DefaultHasher, io, path::PathBuf, pin::Pin};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::{compat::Route, config::Config, hub::Services};

/// The most bytes: many times what the client has.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The names behind the path of Socket.IO.
const NAMES: [&str; 2] = ["socket.io.js", "socket.io.min.js"];

/// Why the file cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ClientFileError {
    /// It cannot be read.
    #[error("socketio.client_file: {path:?} cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no script of that size.
    #[error("socketio.client_file: {path:?} has more than {MAX_BYTES} bytes: it is no Socket.IO client")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// The Socket.IO client for browsers.
pub(super) struct ClientFile {
    path: Box<str>,
    content: Bytes,
    tag: HeaderValue,
}

impl ClientFile {
    /// The one of a configuration; `None`: there is none.
    ///
    /// # Errors
    /// [`ClientFileError`].
    pub(super) fn of(config: &Config) -> Result<Option<Self>, ClientFileError> {
        let settings = &config.socketio;
        let Some(path) = settings.client_file.clone().filter(|_| settings.enabled) else { return Ok(None) };
        let size = fs::metadata(&path).map(|metadata| metadata.len());
        let content = match size.and_then(|size| if size > MAX_BYTES { Ok(None) } else { fs::read(&path).map(Some) }) {
            Ok(Some(content)) => content,
            Ok(None) => return Err(ClientFileError::TooLarge { path }),
            Err(error) => return Err(ClientFileError::Read { path, error }),
        };
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&content);
        let tag = HeaderValue::try_from(format!("\"{hash:016x}\"")).unwrap_or(HeaderValue::from_static("\"client\""));
        Ok(Some(Self { path: settings.path.as_str().into(), content: content.into(), tag }))
    }

    fn respond(&self, known: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        if known == Some(&self.tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = Full::new(self.content.clone());
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/javascript; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

impl Route for ClientFile {
    fn takes(&self, request: &Request<Incoming>) -> bool {
        let name = request.uri().path().strip_prefix(&*self.path);
        matches!(*request.method(), Method::GET | Method::HEAD) && name.is_some_and(|name| NAMES.contains(&name))
    }

    fn answer<'a>(
        &'a self,
        _: &'a Services,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + 'a>> {
        Box::pin(async move { self.respond(request.headers().get(header::IF_NONE_MATCH)) })
    }
}
