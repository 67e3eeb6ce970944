//! A stream of server-sent events over HTTP/1.1: bytes of the answer to the text of its body.
//!
//! Owns what came of the head, of a chunk's size and the window of gzip (RFC 1952). Never knows what the text means. Always holds:
//! what is handed out came in a successful answer in chunks (RFC 9112 section 7.1).

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::BenchError;

/// The most that a head may have.
const MOST_HEAD: usize = 16 << 10;
/// The head of gzip without anything optional.
const GZIP_HEAD: usize = 10;

/// The answer's body.
pub(super) struct EventStream {
    stage: Stage,
    /// Of the head, of a chunk's size.
    pending: Vec<u8>,
    /// Where the body is compressed: what is left of gzip's head, and the window.
    gzip: Option<(usize, Box<Decompress>)>,
}

/// What comes next.
enum Stage {
    Head,
    Size,
    Chunk(usize),
    /// The line break behind a chunk.
    Break(usize),
}

fn wrong(what: &str) -> BenchError {
    BenchError::Protocol(format!("a stream of events: {what}"))
}

impl EventStream {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        Self { stage: Stage::Head, pending: Vec::new(), gzip: None }
    }

    /// The request for one.
    pub(super) fn request(host: &str, target: &str, compressed: bool) -> Vec<u8> {
        let accepts = if compressed { "Accept-Encoding: gzip\r\n" } else { "" };
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{accepts}\r\n").into_bytes()
    }

    /// Whether the head has come.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Head)
    }

    /// Whether the body is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.gzip.is_some()
    }

    /// Takes bytes that came, and appends what they say to `text`.
    pub(super) fn take(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) -> Result<(), BenchError> {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Head => bytes = self.head(bytes)?,
                Stage::Size => bytes = self.size(bytes)?,
                Stage::Chunk(left) => {
                    let (chunk, rest) = bytes.split_at(left.min(bytes.len()));
                    self.body(chunk, text)?;
                    self.stage = if chunk.len() == left { Stage::Break(2) } else { Stage::Chunk(left - chunk.len()) };
                    bytes = rest;
                }
                Stage::Break(left) => {
                    let taken = left.min(bytes.len());
                    self.stage = if taken == left { Stage::Size } else { Stage::Break(left - taken) };
                    bytes = &bytes[taken..];
                }
            }
        }
        Ok(())
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], BenchError> {
        let before = self.pending.len();
        self.pending.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.pending).map_err(|error| wrong(&error.to_string()))?;
        let httparse::Status::Complete(length) = parsed else {
            let short = self.pending.len() < MOST_HEAD;
            return if short { Ok(&[]) } else { Err(wrong("its head does not end")) };
        };
        if response.code != Some(200) {
            return Err(wrong(&format!("it was answered with {:?}", response.code)));
        }
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.map(|header| header.value)
        };
        if value("transfer-encoding") != Some(b"chunked") {
            return Err(wrong("it does not come in chunks"));
        }
        match value("content-encoding") {
            None => {}
            Some(b"gzip") => self.gzip = Some((GZIP_HEAD, Box::new(Decompress::new(false)))),
            Some(_) => return Err(wrong("it has an encoding that was not asked for")),
        }
        self.pending.clear();
        self.stage = Stage::Size;
        Ok(&bytes[length - before..])
    }

    fn size<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], BenchError> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        self.pending.extend_from_slice(line);
        if end.is_none() {
            return Ok(rest);
        }
        let size = std::str::from_utf8(&self.pending).ok();
        let size = size.and_then(|size| usize::from_str_radix(size.trim_end(), 16).ok());
        self.pending.clear();
        match size {
            None => Err(wrong("a chunk without a size")),
            Some(0) => Err(wrong("the server ended it")),
            Some(size) => {
                self.stage = Stage::Chunk(size);
                Ok(rest)
            }
        }
    }

    fn body(&mut self, chunk: &[u8], text: &mut Vec<u8>) -> Result<(), BenchError> {
        let Some((head, window)) = &mut self.gzip else {
            text.extend_from_slice(chunk);
            return Ok(());
        };
        let skipped = chunk.len().min(*head);
        *head -= skipped;
        let mut rest = &chunk[skipped..];
        loop {
            text.reserve(4096);
            let before = (window.total_in(), text.len());
            let status = window.decompress_vec(rest, text, FlushDecompress::None);
            let status = status.map_err(|error| wrong(&format!("gzip: {error}")))?;
            let taken = usize::try_from(window.total_in() - before.0).unwrap_or(rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            let is_stuck = taken == 0 && text.len() == before.1;
            match status {
                Status::StreamEnd => return Err(wrong("gzip ended")),
                // Room that is left says that nothing more waits.
                Status::Ok | Status::BufError if rest.is_empty() && text.len() < text.capacity() => return Ok(()),
                Status::Ok | Status::BufError if is_stuck => return Err(wrong("gzip does not go on")),
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";

    /// What comes out of these bytes, in pieces of so many.
    fn text(bytes: &[u8], pieces: usize) -> Result<Vec<u8>, BenchError> {
        let (mut stream, mut text) = (EventStream::new(), Vec::new());
        for piece in bytes.chunks(pieces) {
            stream.take(piece, &mut text)?;
        }
        Ok(text)
    }

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let bytes = format!("{HEAD}\r\n3\r\n:\n\n\r\nA\r\ndata: {{}}\n\n\r\n");
        for pieces in 1..bytes.len() {
            assert_eq!(text(bytes.as_bytes(), pieces).expect("a stream"), b":\n\ndata: {}\n\n");
        }
    }

    #[test]
    fn gzip_is_inflated_as_it_comes() {
        let mut compress = Compress::new(Compression::new(6), false);
        let mut bytes = format!("{HEAD}Content-Encoding: gzip\r\n\r\n").into_bytes();
        let mut said = Vec::new();
        for n in 0..100 {
            let event = format!("id: {n}\ndata: {{\"n\":{n}}}\n\n");
            let mut chunk = if n == 0 { vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff] } else { Vec::new() };
            chunk.reserve(1024);
            compress.compress_vec(event.as_bytes(), &mut chunk, FlushCompress::Sync).expect("compress");
            bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
            said.extend(event.into_bytes());
        }
        for pieces in [1, 7, 100, bytes.len()] {
            assert!(text(&bytes, pieces).expect("a stream") == said);
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for wrong in [
            "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n".to_owned(),
            format!("{HEAD}Content-Encoding: br\r\n\r\n"),
            format!("{HEAD}\r\nx\r\n"),
            format!("{HEAD}\r\n0\r\n\r\n"),
        ] {
            assert!(text(wrong.as_bytes(), 1000).is_err(), "{wrong}");
        }
    }
}
