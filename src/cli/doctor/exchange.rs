//! One request over a connection, and its answer byte for byte: what a library would mend is what is looked for.
//!
//! Always holds: an answer is read to its own end, at most 256 KiB of it and at most 10 s.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::target::{Line, PATIENCE};

/// The most bytes of an answer.
const MOST: usize = 256 * 1024;

/// An answer, or its head and what came with it.
#[derive(Debug, Default)]
pub(super) struct HttpAnswer {
    /// Of HTTP/1.
    pub(super) minor: u8,
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// The body without its framing; of a head alone the bytes behind it.
    pub(super) body: Vec<u8>,
}

impl HttpAnswer {
    #[cfg(test)]
    pub(super) fn with(header: &str, value: &str, body: Vec<u8>) -> Self {
        let headers = vec![(header.to_owned(), value.to_owned())];
        Self { minor: 1, status: 200, headers, body }
    }

    /// All lines of a header.
    pub(super) fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header's first line.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first words of the body.
    pub(super) fn sentence(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(200).collect()
    }
}

/// Sends a request and reads the head of its answer.
pub(super) async fn begin(line: &mut Line, request: &str) -> Result<HttpAnswer, String> {
    let exchange = async {
        let sent = async {
            line.stream.write_all(request.as_bytes()).await?;
            line.stream.flush().await
        };
        sent.await.map_err(|error| format!("the request cannot be sent: {error}"))?;
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = head(&bytes)? {
                return Ok(answer);
            }
            if read(line, &mut bytes).await? == 0 {
                return Err(match bytes.is_empty() {
                    true => "the connection is closed instead of an answer".to_owned(),
                    false => "the connection is closed within the head of the answer".to_owned(),
                });
            }
        }
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

/// Sends a request and reads its whole answer.
pub(super) async fn exchange(line: &mut Line, request: &str) -> Result<HttpAnswer, String> {
    let mut answer = begin(line, request).await?;
    let length: Option<usize> = answer.header("content-length").and_then(|length| length.parse().ok());
    let chunked = answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = async {
        loop {
            if chunked && let Some(whole) = unchunked(&answer.body) {
                answer.body = whole;
                return Ok(answer);
            }
            if !chunked && length.is_some_and(|length| answer.body.len() >= length) {
                return Ok(answer);
            }
            if read(line, &mut answer.body).await? == 0 {
                return match length.is_none() && !chunked {
                    true => Ok(answer),
                    false => Err("the connection is closed within the body of the answer".to_owned()),
                };
            }
        }
    };
    timeout(PATIENCE, body).await.unwrap_or_else(|_| Err(format!("the answer does not end within {PATIENCE:?}")))
}

/// Reads what comes next behind a head, until `is_enough`.
pub(super) async fn read_until(
    line: &mut Line,
    answer: &mut HttpAnswer,
    is_enough: impl Fn(&[u8]) -> bool,
) -> Result<(), String> {
    let body = async {
        while !is_enough(&answer.body) {
            if read(line, &mut answer.body).await? == 0 {
                return Err("the connection is closed".to_owned());
            }
        }
        Ok(())
    };
    timeout(PATIENCE, body).await.unwrap_or_else(|_| Err(format!("nothing comes within {PATIENCE:?}")))
}

async fn read(line: &mut Line, bytes: &mut Vec<u8>) -> Result<usize, String> {
    if bytes.len() > MOST {
        return Err(format!("the answer has more than {MOST} bytes"));
    }
    match line.stream.read_buf(bytes).await {
        // A peer that ends TLS without its last word has said all the same what it had to say.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
        other => other.map_err(|error| error.to_string()),
    }
}

fn head(bytes: &[u8]) -> Result<Option<HttpAnswer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("what answers is no HTTP server: {error}")),
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Ok(Some(HttpAnswer {
        minor: response.version.unwrap_or_default(),
        status: response.code.unwrap_or_default(),
        headers: response.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
        body: bytes.get(end..).unwrap_or_default().to_vec(),
    }))
}

/// A chunked body (RFC 9112 section 7.1) that has come to its end.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let (begin, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(chunk)) => chunk,
            _ => return None,
        };
        if size == 0 {
            return Some(whole);
        }
        let size = usize::try_from(size).ok()?;
        let end = begin.checked_add(size)?;
        whole.extend_from_slice(rest.get(begin..end)?);
        rest = rest.get(end.checked_add(2)?..)?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_chunks_are_read_to_their_ends() {
        let answer = head(b"HTTP/1.0 200 OK\r\nA: 1\r\na: 2\r\n\r\nrest").unwrap().unwrap();
        assert_eq!((answer.minor, answer.status, &*answer.body), (0, 200, b"rest".as_slice()));
        assert_eq!((answer.header("A"), answer.lines("a").collect::<Vec<_>>()), (Some("1"), vec!["1", "2"]));
        assert!(head(b"HTTP/1.1 200 OK\r\nA: 1\r\n").unwrap().is_none());
        assert!(head(b"SSH-2.0-x\r\n").is_err());
        assert_eq!(unchunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").unwrap(), b"abcde");
        for part in [&b"3\r\nabc\r\n"[..], b"3\r\nab", b"", b"fffffffffffffff\r\n"] {
            assert_eq!(unchunked(part), None);
        }
    }
}
