//! What the home has compressed, as it was. Without I/O.
//!
//! Bounded: a record by [`MOST_PACKED`], whatever it says; a window of 32 KiB, once a home has compressed anything. Always holds: what cannot be
//! read ends the link, after which nothing of its window counts. Never judges what comes out: that is read as records.

use bytes::Bytes;
use roomcast_websocket::Inflater;

use crate::broker::relay::{MOST_PACKED, message::RecordError};

/// One link's window.
#[derive(Default)]
pub(super) struct Unpacker(Option<Inflater>);

impl Unpacker {
    /// The records that one holds.
    ///
    /// # Errors
    /// [`RecordError::Packed`].
    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<Bytes, RecordError> {
        let inflater = self.0.get_or_insert_with(Inflater::with_takeover);
        inflater.inflate(packed, MOST_PACKED).map(Bytes::copy_from_slice).map_err(|_| RecordError::Packed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomcast_websocket::Deflater;

    use super::*;

    #[test]
    fn what_is_no_stream_or_larger_than_any_part_is_refused() {
        let deflated = |bytes: usize| Deflater::new(6, 15).deflate(&vec![b'a'; bytes]).unwrap().to_vec();
        assert_eq!(Unpacker::default().unpack(&deflated(MOST_PACKED)).unwrap().len(), MOST_PACKED);
        for bad in [deflated(MOST_PACKED + 1), deflated(50_000_000), vec![0xff; 9]] {
            assert!(Unpacker::default().unpack(&bad).is_err(), "{}", bad.len());
        }
    }
}
