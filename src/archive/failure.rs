//! What a statement that failed says of its connection, and of what was asked.

use tokio_postgres::error::SqlState;

/// What became of a statement that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is of no use any more, and the statement may have been carried out.
    Lost,
    /// The server takes nothing now, from any connection; nothing was done.
    Busy,
    /// The server refuses this statement; nothing was done.
    Refused,
}

impl Failure {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else { return Self::Lost };
        let class = code.code().get(..2).unwrap_or_default();
        match class {
            // Connections, shutdown and crash recovery; a primary that is a replica now.
            "08" | "57" if *code != SqlState::QUERY_CANCELED => Self::Lost,
            "25" => Self::Lost,
            // Disk, memory, connections; deadlocks; a statement that took too long; the system's own errors.
            "53" | "40" | "57" | "58" | "55" => Self::Busy,
            _ => Self::Refused,
        }
    }
}

/// An error with its cause, without the statement's values.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}
