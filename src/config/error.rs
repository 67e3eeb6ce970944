//! What is wrong with a configuration: everything at once, each with its place and what would be right.

use std::{fmt, path::PathBuf};

/// Everything that is wrong with a configuration. Displayed as one line a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub place: Location,
    /// The key, where there is one.
    pub key: String,
    /// The value as it was written; `None` for a secret, or where the value is not what is wrong.
    pub given: Option<String>,
    /// What is wrong and what is allowed.
    pub why: String,
}

/// Where something was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A flag, without its dashes.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A line of the configuration file, counted from 1.
    Line(PathBuf, usize),
    /// The configuration file as a whole.
    File(PathBuf),
    /// Nowhere: it follows from what was set and what was not.
    Whole,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => f.write_str(variable),
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Whole => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.given.as_deref();
        match (&self.place, given) {
            (Location::Whole, _) => {}
            (Location::Flag(_), Some(given)) => write!(f, "{} {given}: ", self.place)?,
            (Location::Variable(_), Some(given)) => write!(f, "{}={given}: ", self.place)?,
            (Location::Line(..), Some(given)) => write!(f, "{}: {} = {given}: ", self.place, self.key)?,
            (Location::Line(..), None) if !self.key.is_empty() => write!(f, "{}: {}: ", self.place, self.key)?,
            _ => write!(f, "{}: ", self.place)?,
        }
        f.write_str(&self.why)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}
