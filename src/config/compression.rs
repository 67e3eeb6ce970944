//! `[compression]`: how broadcasts are compressed.

use super::{
    section::section,
    value::{Bytes, Count, GIB, MIB, Switch},
};

section! {
    /// permessage-deflate (RFC 7692). From which size a room's frames are compressed is a matter of its policy.
    pub struct Compression in "compression" {
        /// Whether it is negotiated at all.
        enabled: bool = true, Switch, live;
        /// How hard to try: a frame is compressed once for all its receivers.
        level: u32 = 6, Count(1..=9), restart;
        /// The most bytes for the windows of busy rooms, to which their frames refer (`shared_window` of their policies): 372 KiB a room
        /// and wire format. `0B`: there are none, and each frame is compressed for itself.
        windows: usize = 16 * MIB, Bytes(0..=GIB), restart;
    }
}
