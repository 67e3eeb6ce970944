//! Alerts (RFC 8446 section 6): the codes that a record layer sends.

use std::fmt;

/// An alert's description (RFC 8446 section 6).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    /// This side sends nothing more (section 6.1).
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A record or message that does not belong here.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record that does not open.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record above the largest size (section 5.2).
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// A fault of this side.
    pub const INTERNAL_ERROR: Self = Self(80);

    /// The level that goes with it: warning (1) for close_notify, fatal (2) for all others.
    #[must_use]
    pub fn level(self) -> u8 {
        if self == Self::CLOSE_NOTIFY { 1 } else { 2 }
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::CLOSE_NOTIFY => "close_notify",
            Self::UNEXPECTED_MESSAGE => "unexpected_message",
            Self::BAD_RECORD_MAC => "bad_record_mac",
            Self::RECORD_OVERFLOW => "record_overflow",
            Self::INTERNAL_ERROR => "internal_error",
            Self(code) => return write!(f, "alert {code}"),
        };
        f.write_str(name)
    }
}
