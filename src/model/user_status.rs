//! The status of a user over all its devices: its words, what may be changed of it, what is shown of it.

use super::UnixMillis;

/// Whether a user is there, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserStatus {
    /// It is connected. As a choice: none was made.
    #[default]
    Online,
    /// It is connected, and said that it is away.
    Away,
    /// It is connected, and said that it is busy.
    Busy,
    /// It is not connected, or wants to look so.
    Offline,
}

/// A text that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no status {0:?}: it is one of online, away, busy, offline")]
pub struct UserStatusError(String);

impl UserStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Online, Self::Away, Self::Busy, Self::Offline];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Busy => "busy",
            Self::Offline => "offline",
        }
    }
}

impl std::str::FromStr for UserStatus {
    type Err = UserStatusError;

    fn from_str(word: &str) -> Result<Self, UserStatusError> {
        // What a client sends may be long, and is said back.
        let unknown = || UserStatusError(word.chars().take(32).collect());
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(unknown)
    }
}

/// What is changed of a user. At least one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusChange {
    /// What the user wants to be shown as while it is connected. [`UserStatus::Online`] takes an earlier choice back.
    pub chosen: Option<UserStatus>,
    /// Whether nothing at all is told of it.
    pub hidden: Option<bool>,
}

/// What a user is shown as, and chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// What it is shown as.
    pub status: UserStatus,
    /// When it was there last: of one that is offline and was seen.
    pub last_seen: Option<UnixMillis>,
    /// What it chose.
    pub chosen: UserStatus,
    /// Whether it hides.
    pub hidden: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_as_it_is_written() {
        for status in UserStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for bad in ["", "Online", "invisible", "online ", "x".repeat(1_000).as_str()] {
            let error = bad.parse::<UserStatus>().map_err(|error| error.to_string());
            assert!(error.is_err_and(|error| error.contains("online, away, busy, offline") && error.len() < 120));
        }
    }
}
