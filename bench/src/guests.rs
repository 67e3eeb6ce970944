//! How many connections a pod is started for.

/// How many connections a pod must have room for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Guests {
    /// With a file each.
    pub(crate) sockets: usize,
    /// Without.
    pub(crate) sessions: usize,
}

impl From<usize> for Guests {
    fn from(sockets: usize) -> Self {
        Self { sockets, sessions: 0 }
    }
}
