//! Whole messages on a stream: each behind its length, four bytes, the most significant first.
//!
//! Pure: bytes go in, in any chunks, messages come out. Always holds: nothing is kept while no message is incomplete, and a
//! length above the limit is refused before a byte of it is kept.

use std::ops::ControlFlow;

/// The bytes of a length.
const LENGTH: usize = 4;

/// A message is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message has {length} bytes and may have {max}")]
pub struct MessageLengthError {
    /// The bytes that it announces.
    pub length: usize,
    /// The most bytes that it may have.
    pub max: usize,
}

/// Appends a message behind its length.
#[inline]
pub fn write_message(message: &[u8], out: &mut Vec<u8>) {
    // No application sends a message above 4 GiB; a reader would refuse it at its length.
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(message);
}

/// Finds the messages in what is read.
#[derive(Debug, Default)]
pub struct MessageReader {
    partial: Vec<u8>,
}

impl MessageReader {
    /// The bytes that are kept of an incomplete message.
    #[must_use]
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Takes bytes and hands each whole message to `message`, until that breaks; what is behind it is forgotten.
    ///
    /// # Errors
    /// [`MessageLengthError`]: above `max` bytes. The stream cannot go on.
    pub fn read(
        &mut self,
        mut bytes: &[u8],
        max: usize,
        message: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), MessageLengthError> {
        while !self.partial.is_empty() {
            // First the length, then as much as it says.
            let want = match length(&self.partial, max)? {
                Some(length) => LENGTH + length,
                None => LENGTH,
            };
            let (more, rest) = bytes.split_at(bytes.len().min(want - self.partial.len()));
            self.partial.extend_from_slice(more);
            bytes = rest;
            if self.partial.len() < want {
                return Ok(());
            }
            if length(&self.partial, max)? == Some(want - LENGTH) {
                let partial = std::mem::take(&mut self.partial);
                if message(partial.get(LENGTH..).unwrap_or_default()).is_break() {
                    return Ok(());
                }
            }
        }
        while let Some(length) = length(bytes, max)?
            && let Some(whole) = bytes.get(LENGTH..LENGTH + length)
        {
            bytes = bytes.get(LENGTH + length..).unwrap_or_default();
            if message(whole).is_break() {
                return Ok(());
            }
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

/// The length that `bytes` begin with, once it is there.
fn length(bytes: &[u8], max: usize) -> Result<Option<usize>, MessageLengthError> {
    let Some(length) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > max { Err(MessageLengthError { length, max }) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(
        reader: &mut MessageReader,
        bytes: &[u8],
        max: usize,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<(), MessageLengthError> {
        reader.read(bytes, max, &mut |message| {
            out.push(message.to_vec());
            ControlFlow::Continue(())
        })
    }

    proptest! {
        /// For every cut of the bytes the same messages come out.
        #[test]
        fn chunks_do_not_matter(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1usize..30, 1..20),
        ) {
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| write_message(message, &mut bytes));
            let (mut reader, mut found) = (MessageReader::default(), Vec::new());
            let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (chunk, next) = rest.split_at(rest.len().min(cuts.next().unwrap_or(1)));
                prop_assert_eq!(read(&mut reader, chunk, 40, &mut found), Ok(()));
                rest = next;
            }
            prop_assert_eq!(found, messages);
            prop_assert!(reader.partial.is_empty(), "nothing is kept behind whole messages");
        }
    }

    #[test]
    fn too_long_is_refused_at_its_length() {
        let (mut reader, mut found) = (MessageReader::default(), Vec::new());
        let error = read(&mut reader, &[0, 0, 1, 0], 255, &mut found);
        assert_eq!(error, Err(MessageLengthError { length: 256, max: 255 }));
        let mut reader = MessageReader::default();
        assert_eq!(read(&mut reader, &[0, 0], 255, &mut found), Ok(()));
        assert_eq!(read(&mut reader, &[1, 0, 7], 255, &mut found), Err(MessageLengthError { length: 256, max: 255 }));
        assert!(found.is_empty());
    }

    #[test]
    fn a_break_ends_it() {
        let mut bytes = Vec::new();
        write_message(b"one", &mut bytes);
        write_message(b"two", &mut bytes);
        let (mut reader, mut seen) = (MessageReader::default(), 0);
        let end = reader.read(&bytes, 10, &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!((end, seen), (Ok(()), 1));
    }
}
