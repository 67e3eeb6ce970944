//! RESP3 (the Redis serialization protocol, version 3) as far as a subscriber needs it: whole values out of a stream,
//! commands into one.
//!
//! Not the `redis-protocol` crate: that recurses as deep as the bytes say and begins anew at each chunk of an unfinished
//! value. Always holds: a byte of structure is looked at once, however the stream is cut; a value has at most
//! [`MAX_FRAME`] bytes, [`MAX_DEPTH`] levels and [`MAX_ELEMENTS`] elements in a level.

use bytes::{Buf, BufMut, BytesMut};

/// The most bytes of a value: a message of 8 MiB and what is around it.
pub const MAX_FRAME: usize = (8 << 20) + (64 << 10);
/// The most levels of lists within lists.
pub const MAX_DEPTH: usize = 8;
/// The most elements of one list.
pub const MAX_ELEMENTS: usize = 1 << 20;
/// After a value of at least so many bytes the buffer is given back.
const LARGE: usize = 1 << 20;
/// The most bytes of a line: a length, a number, an error's text.
const MAX_LINE: usize = 64 << 10;

/// Why the bytes are no value of RESP3. The stream cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than any bound.
    #[error("a value of more than {MAX_FRAME} bytes, {MAX_ELEMENTS} elements or {MAX_DEPTH} levels")]
    TooLarge,
    /// Not RESP3, or a part of it that no command here is answered with.
    #[error("not RESP3, at a value that begins with byte {0:#04x}")]
    Malformed(u8),
}

/// A value, borrowed from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string of any kind, a double, a boolean or a big number, as it was written.
    Text(&'a [u8]),
    /// An error.
    Error(&'a [u8]),
    /// An integer.
    Number(i64),
    /// Nothing.
    Null,
    /// An array or a set; a map as key, value, key, value.
    List(Vec<Value<'a>>),
    /// What the server sends without being asked.
    Push(Vec<Value<'a>>),
}

impl Value<'_> {
    /// The text of a string; `None` for everything else, and for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// What the line at a value's beginning says.
enum Head {
    /// The line is the value.
    Line,
    /// So many bytes and CR LF follow.
    Bytes(usize),
    /// So many values follow.
    Values(usize),
}

/// Cuts a stream into values.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// How far the value at the buffer's beginning was followed: always the beginning of an inner value, or inside its
    /// first line.
    at: usize,
    /// How far the line at `at` was searched for its end.
    searched: usize,
    /// How many values are missing in each open list.
    open: Vec<usize>,
}

impl Reader {
    /// Where to put what comes in. It is bounded, because [`Reader::next`] refuses a value that is too large.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Hands the next whole value to `take`; `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; after it the stream must be closed.
    pub fn next<R>(&mut self, take: impl FnOnce(Value<'_>) -> R) -> Result<Option<R>, FrameError> {
        let Some(end) = self.end()? else {
            return if self.buffer.len() > MAX_FRAME { Err(FrameError::TooLarge) } else { Ok(None) };
        };
        let result = take(value(&self.buffer, &mut 0)?);
        self.buffer.advance(end);
        if end >= LARGE {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        (self.at, self.searched) = (0, 0);
        Ok(Some(result))
    }

    /// Where the value at the buffer's beginning ends.
    fn end(&mut self) -> Result<Option<usize>, FrameError> {
        loop {
            if self.at > MAX_FRAME {
                return Err(FrameError::TooLarge);
            }
            let Some(line) = line(&self.buffer, self.at, self.searched)? else {
                self.searched = self.buffer.len();
                return Ok(None);
            };
            match head(&self.buffer[self.at..line])? {
                Head::Line => self.at = line + 2,
                Head::Bytes(length) => {
                    let end = line + 2 + length + 2;
                    if end > MAX_FRAME {
                        return Err(FrameError::TooLarge);
                    }
                    if self.buffer.len() < end {
                        // A large value is not copied each time that the buffer grows.
                        self.buffer.reserve(end - self.buffer.len());
                        return Ok(None);
                    }
                    self.at = end;
                }
                // An empty list is one too.
                Head::Values(_) if self.open.len() == MAX_DEPTH => return Err(FrameError::TooLarge),
                Head::Values(0) => self.at = line + 2,
                Head::Values(count) => {
                    self.open.push(count);
                    self.at = line + 2;
                    self.searched = self.at;
                    continue;
                }
            }
            self.searched = self.at;
            // A value is over, and with it perhaps the list that it was the last of.
            while let Some(missing) = self.open.last_mut() {
                *missing -= 1;
                if *missing > 0 {
                    break;
                }
                self.open.pop();
            }
            if self.open.is_empty() {
                return Ok(Some(self.at));
            }
        }
    }
}

/// Where the line that begins at `from` ends, if it does; nothing is before `searched`.
fn line(bytes: &[u8], from: usize, searched: usize) -> Result<Option<usize>, FrameError> {
    // The CR may have been the last byte that was there.
    let searched = searched.saturating_sub(1).max(from);
    let rest = bytes.get(searched..).unwrap_or_default();
    match rest.windows(2).position(|pair| pair == b"\r\n") {
        Some(at) if searched + at - from > MAX_LINE => Err(FrameError::TooLarge),
        Some(at) => Ok(Some(searched + at)),
        None if bytes.len().saturating_sub(from) > MAX_LINE => Err(FrameError::TooLarge),
        None => Ok(None),
    }
}

fn head(line: &[u8]) -> Result<Head, FrameError> {
    let (&kind, rest) = line.split_first().ok_or(FrameError::Malformed(b'\r'))?;
    // RESP2 wrote nothing as -1.
    let length = || if rest == b"-1" { Ok(None) } else { number(kind, rest).and_then(|n| size(kind, n)).map(Some) };
    let values = |each: usize| {
        Ok(match length()? {
            None => Head::Line,
            Some(count) if count > MAX_ELEMENTS / each => return Err(FrameError::TooLarge),
            Some(count) => Head::Values(count * each),
        })
    };
    match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Ok(Head::Line),
        b'$' | b'!' | b'=' => match length()? {
            None => Ok(Head::Line),
            Some(length) if length > MAX_FRAME => Err(FrameError::TooLarge),
            Some(length) => Ok(Head::Bytes(length)),
        },
        b'*' | b'~' | b'>' => values(1),
        b'%' => values(2),
        other => Err(FrameError::Malformed(other)),
    }
}

fn number(kind: u8, digits: &[u8]) -> Result<i64, FrameError> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(FrameError::Malformed(kind))
}

fn size(kind: u8, number: i64) -> Result<usize, FrameError> {
    usize::try_from(number).map_err(|_| FrameError::Malformed(kind))
}

/// The value at `at`, which [`Reader::end`] found to be whole and of bounded depth.
fn value<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Value<'a>, FrameError> {
    let end = line(bytes, *at, *at)?.ok_or(FrameError::Malformed(b'\r'))?;
    let text = bytes.get(*at..end).unwrap_or_default();
    let (kind, rest) = text.split_first().map_or((b'\r', text), |(kind, rest)| (*kind, rest));
    let head = head(text)?;
    *at = end + 2;
    Ok(match head {
        Head::Line => match kind {
            b':' => Value::Number(number(kind, rest)?),
            b'-' => Value::Error(rest),
            b'_' | b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' => Value::Null,
            _ => Value::Text(rest),
        },
        Head::Bytes(length) => {
            let end = *at + length;
            let text = bytes.get(*at..end).ok_or(FrameError::Malformed(kind))?;
            if bytes.get(end..end + 2) != Some(b"\r\n") {
                return Err(FrameError::Malformed(kind));
            }
            *at = end + 2;
            match kind {
                b'!' => Value::Error(text),
                // `txt:` or `mkd:`, and the text.
                b'=' => Value::Text(text.get(4..).ok_or(FrameError::Malformed(kind))?),
                _ => Value::Text(text),
            }
        }
        Head::Values(count) => {
            // Each takes at least three bytes, so that a count cannot ask for more than is there.
            let mut values = Vec::with_capacity(count.min(bytes.len() / 3));
            for _ in 0..count {
                values.push(value(bytes, at)?);
            }
            if kind == b'>' { Value::Push(values) } else { Value::List(values) }
        }
    })
}

/// Appends a command: an array of bulk strings.
pub fn command<'a>(out: &mut BytesMut, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    header(out, b'*', args.len());
    for arg in args {
        header(out, b'$', arg.len());
        out.put_slice(arg);
        out.put_slice(b"\r\n");
    }
}

fn header(out: &mut BytesMut, kind: u8, length: usize) {
    out.put_u8(kind);
    out.put_slice(length.to_string().as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<String>, FrameError> {
        let mut reader = Reader::default();
        reader.buffer().extend_from_slice(bytes);
        reader.next(|value| format!("{value:?}"))
    }

    fn shown(value: &Value<'_>) -> Option<String> {
        Some(format!("{value:?}"))
    }

    #[test]
    fn every_kind_is_read() {
        let text = |t: &'static str| Value::Text(t.as_bytes());
        for (bytes, expected) in [
            ("+OK\r\n", text("OK")),
            ("-MOVED 1 h:2\r\n", Value::Error(b"MOVED 1 h:2")),
            (":-42\r\n", Value::Number(-42)),
            ("$3\r\na\r\n\r\n", text("a\r\n")),
            ("$0\r\n\r\n", text("")),
            ("!5\r\nERR x\r\n", Value::Error(b"ERR x")),
            ("=7\r\ntxt:abc\r\n", text("abc")),
            ("_\r\n", Value::Null),
            ("$-1\r\n", Value::Null),
            ("*-1\r\n", Value::Null),
            ("#t\r\n", text("t")),
            (",1.5\r\n", text("1.5")),
            ("*0\r\n", Value::List(vec![])),
            ("*2\r\n*0\r\n:1\r\n", Value::List(vec![Value::List(vec![]), Value::Number(1)])),
            ("%1\r\n+a\r\n~1\r\n:1\r\n", Value::List(vec![text("a"), Value::List(vec![Value::Number(1)])])),
            (
                ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
                Value::Push(vec![text("smessage"), text("c"), text("m")]),
            ),
        ] {
            assert_eq!(whole(bytes.as_bytes()), Ok(shown(&expected)), "{bytes:?}");
            for cut in 0..bytes.len() {
                assert_eq!(whole(&bytes.as_bytes()[..cut]), Ok(None), "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_cut_of_the_stream_makes_no_difference() {
        let stream = b">3\r\n+a\r\n*2\r\n$2\r\nxy\r\n:1\r\n_\r\n+PONG\r\n-ERR no\r\n%1\r\n+k\r\n$0\r\n\r\n";
        for size in 1..stream.len() {
            let (mut reader, mut seen) = (Reader::default(), Vec::new());
            for chunk in stream.chunks(size) {
                reader.buffer().extend_from_slice(chunk);
                while let Some(value) = reader.next(|value| format!("{value:?}")).expect("good bytes") {
                    seen.push(value);
                }
            }
            assert_eq!(seen.len(), 4, "{seen:?}");
            assert!(reader.buffer().is_empty() && seen[0].starts_with("Push([Text([97]), List("), "{seen:?}");
        }
    }

    #[test]
    fn what_is_no_value_or_too_large_is_refused() {
        for bytes in [
            "x\r\n",
            "\r\n",
            "$x\r\n",
            "*-2\r\n",
            "$1\r\nabc",
            ":1x\r\n",
            "|1\r\n+a\r\n+b\r\n+c\r\n",
            "*?\r\n",
            "=3\r\ntxt\r\n",
        ] {
            assert!(matches!(whole(bytes.as_bytes()), Err(FrameError::Malformed(_))), "{bytes:?}");
        }
        for bytes in [
            "$99999999\r\n".to_owned(),
            "*9999999\r\n".to_owned(),
            "%999999\r\n".to_owned(),
            "*1\r\n".repeat(MAX_DEPTH + 1),
            "+".to_owned() + &"x".repeat(MAX_LINE + 2),
        ] {
            assert_eq!(whole(bytes.as_bytes()), Err(FrameError::TooLarge), "{:?}", &bytes[..9]);
        }
        let many = format!("*3\r\n{0}{0}{0}", format!("${}\r\n{}\r\n", 4 << 20, "x".repeat(4 << 20)));
        assert_eq!(whole(many.as_bytes()), Err(FrameError::TooLarge));
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut out = BytesMut::new();
        command(&mut out, [&b"SSUBSCRIBE"[..], b"c"].into_iter());
        assert_eq!(&out[..], b"*2\r\n$10\r\nSSUBSCRIBE\r\n$1\r\nc\r\n");
    }

    #[test]
    fn an_empty_list_counts_as_deep() {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::default();
            reader.buffer().extend_from_slice(bytes);
            reader.next(|_| ()).map(|value| value.is_some())
        };
        let nested = |lists: usize| [b"*1\r\n".repeat(lists - 1), b"*0\r\n".to_vec()].concat();
        assert_eq!(read(&nested(MAX_DEPTH)), Ok(true));
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(FrameError::TooLarge));
    }
}
