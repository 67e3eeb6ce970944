//! How and what a pod logs.

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only problems that an operator must solve.
    Error,
    /// And problems that an operator should know of.
    Warn,
    /// And rare events.
    Info,
    /// And the end of each connection.
    Debug,
    /// And everything.
    Trace,
}

impl LogLevel {
    pub(super) const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
        // What other programs call them.
        ("warning", Self::Warn),
        ("fatal", Self::Error),
        ("panic", Self::Error),
        ("dpanic", Self::Error),
    ];

    /// The word, as filters take it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::LogLevel;
    use crate::config::{
        raw::Raw,
        value::{Choice, Kind},
    };

    #[test]
    fn a_level_of_another_program_is_told_the_nearest_one() {
        let kind = Choice(LogLevel::WORDS);
        for (word, nearest) in
            [("off", "error"), ("Disabled", "error"), ("critical", "error"), ("verbose", "debug"), ("infos", "info")]
        {
            let why = format!("it is not one of the words (`{nearest}` perhaps?)");
            assert_eq!(kind.parse(&Raw::Text(word.to_owned())), Err(why));
        }
    }

    #[test]
    fn levels_have_the_names_of_other_programs_too() {
        let kind = Choice(LogLevel::WORDS);
        for (word, level, name) in [
            ("warning", LogLevel::Warn, "warn"),
            ("FATAL", LogLevel::Error, "error"),
            ("panic", LogLevel::Error, "error"),
            ("DPanic", LogLevel::Error, "error"),
            ("Info", LogLevel::Info, "info"),
        ] {
            assert_eq!(kind.parse(&Raw::Text(word.to_owned())), Ok(level));
            assert_eq!((level.as_str(), kind.render(&level)), (name, Some(format!("{name:?}"))));
        }
    }
}
