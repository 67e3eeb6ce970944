//! The name of a room on its worker: four bytes, found without a hash.

/// Where a room stands on its worker. Given again when the room is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomIndex(pub(crate) u32);

#[cfg(test)]
impl RoomIndex {
    /// The room at a place of an arena. A worker has far fewer rooms than 2^32.
    pub fn of(at: usize) -> Self {
        Self(at as u32)
    }
}
