//! A growing buffer that is never zeroed twice: where a worker seals what it sends.

/// A worker's scratch for sealed bytes: kept at its length, so that sealing never zeroes memory.
#[derive(Debug, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    len: usize,
}

impl Scratch {
    /// What it shrinks back to after something large.
    const KEEP: usize = 256 * 1024;

    /// Forgets the content.
    pub fn clear(&mut self) {
        self.len = 0;
        if self.bytes.len() > Self::KEEP {
            self.bytes.truncate(Self::KEEP);
            self.bytes.shrink_to_fit();
        }
    }

    /// The content.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends so many bytes, of any content, to be written over.
    pub fn append(&mut self, len: usize) -> &mut [u8] {
        self.reserve(len);
        let start = self.len;
        self.len += len;
        &mut self.bytes[start..self.len]
    }

    /// What is behind the content, to be written to.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    /// So many bytes behind the content were written.
    pub fn advance(&mut self, written: usize) {
        self.len += written;
    }

    /// Makes room for so many bytes behind the content.
    pub fn reserve(&mut self, more: usize) {
        let need = self.len + more;
        if self.bytes.len() < need {
            self.bytes.resize(need.next_power_of_two().max(16 * 1024), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_its_length_and_shrinks() {
        let mut scratch = Scratch::default();
        scratch.append(300 * 1024).fill(7);
        assert_eq!(scratch.filled().len(), 300 * 1024);
        scratch.clear();
        assert!(scratch.filled().is_empty());
        assert_eq!(scratch.bytes.len(), Scratch::KEEP);
        scratch.append(3).copy_from_slice(b"abc");
        assert_eq!(scratch.filled(), b"abc");
    }
}
