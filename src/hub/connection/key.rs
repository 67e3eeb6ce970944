//! The name of a connection on its worker: four bytes, found without a hash.

/// Where a connection stands on its worker. Given again when the connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(pub(crate) u32);

#[cfg(test)]
impl ConnectionKey {
    /// The connection at a place of an arena. A worker has far fewer connections than 2^32.
    pub fn of(at: usize) -> Self {
        Self(at as u32)
    }

    /// Its place.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}
