//! Why the archive did not do what was asked.

use super::seal::SealError;
use crate::{broker::BrokerError, transport::trust::TrustError};

/// Why the archive did not do something, for the log: it may name the database and its user. Clients are told [`ArchiveError::TOLD`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be reached, is full or refuses; nothing was done.
    #[error("the archive takes nothing: {0}")]
    Unavailable(String),
    /// It did not answer in time: it may or may not have been done.
    #[error("the archive did not answer in time; the outcome is unknown")]
    Unknown,
    /// The life of the log that an event is of is not written down.
    #[error("the archive does not know this epoch of the room yet")]
    NoGeneration,
}

impl ArchiveError {
    /// What clients are told.
    pub const TOLD: &str = "the archive takes nothing now: try again";
}

impl From<ArchiveError> for BrokerError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unavailable(_) => Self::Unavailable(ArchiveError::TOLD.to_owned()),
            ArchiveError::Unknown | ArchiveError::NoGeneration => Self::Unknown,
        }
    }
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveStartError {
    /// The CA file cannot be used.
    #[error("archive.ca: {0}")]
    Trust(#[from] TrustError),
    /// The keys cannot be used.
    #[error("archive.key_file: {0}")]
    Seal(#[from] SealError),
    /// The operating system gives no thread or event loop.
    #[error("the archive cannot start: {0}")]
    System(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_publishes_is_told_nothing_of_the_database() {
        let error = ArchiveError::Unavailable("PostgreSQL at postgres://…@db.internal/chat cannot be used".to_owned());
        assert!(error.to_string().contains("db.internal"), "the log is");
        assert_eq!(BrokerError::from(error), BrokerError::Unavailable(ArchiveError::TOLD.to_owned()));
        assert_eq!(BrokerError::from(ArchiveError::NoGeneration), BrokerError::Unknown);
    }
}
