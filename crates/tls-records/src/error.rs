//! Why a record is refused, and the alert that says so.

use super::alert::Alert;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key or the IV has another length than the cipher suite's.
    #[error("a key or an IV of an unexpected length")]
    Length,
    /// The cipher suite is none of RFC 8446 section B.4 that this crate knows.
    #[error("a cipher suite without a record layer")]
    Suite,
    /// The key schedule fails.
    #[error("the key schedule fails: {0}")]
    Schedule(String),
}

/// Why a record cannot be sealed or opened. The connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The outer type is not application_data: after the handshake each record is protected (RFC 8446 section 5).
    #[error("an unprotected record")]
    Unprotected,
    /// The record is above the largest size (section 5.2).
    #[error("a record too long")]
    TooLong,
    /// The record does not open: it was changed on the way, or sealed with another key.
    #[error("a record that does not open")]
    Sealed,
    /// The record's content is padding alone (section 5.4).
    #[error("a record without content type")]
    NoContentType,
    /// A message that has no place after the handshake, or a KeyUpdate that shares its record (section 5.1).
    #[error("an unexpected message")]
    UnexpectedMessage,
    /// The peer changes its key too often: [`KeyUpdateLimit`](crate::KeyUpdateLimit).
    #[error("too many KeyUpdates")]
    TooManyKeyUpdates,
    /// The peer ends the connection with a fatal alert (section 6.2).
    #[error("the peer sent {0}")]
    Alert(Alert),
    /// There is no next key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The sequence number would wrap (section 5.3).
    #[error("a key that is used up")]
    UsedUp,
    /// `out` has another length than `sealed_len` says. A fault of the caller.
    #[error("a buffer of an unexpected length")]
    Buffer,
    /// The cryptographic library refuses to seal.
    #[error("a record that cannot be sealed")]
    Seal,
}

impl RecordError {
    /// The alert that tells the peer (section 6).
    #[must_use]
    pub fn alert(&self) -> Alert {
        match self {
            Self::Unprotected | Self::NoContentType | Self::UnexpectedMessage | Self::TooManyKeyUpdates => {
                Alert::UNEXPECTED_MESSAGE
            }
            Self::TooLong => Alert::RECORD_OVERFLOW,
            Self::Sealed => Alert::BAD_RECORD_MAC,
            Self::Alert(_) => Alert::CLOSE_NOTIFY,
            Self::Key(_) | Self::UsedUp | Self::Buffer | Self::Seal => Alert::INTERNAL_ERROR,
        }
    }
}
