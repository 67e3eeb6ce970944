//! What `roomcast doctor` found: one line a subject, and what to change.
//!
//! Pure. Always holds: what is not ok says what to change.

use std::fmt::Write;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Clients are served, and worse than they could be; or it could not be told.
    Warning,
    /// Clients are not served.
    Failed,
}

/// One subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The subject, in a word.
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) says: String,
    /// What to change.
    pub(super) change: Option<String>,
}

/// All of them, in the order in which a client meets them.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, says: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Ok, says: says.into(), change: None });
    }

    pub(super) fn warn(&mut self, check: &'static str, says: impl Into<String>, change: impl Into<String>) {
        let (says, change) = (says.into(), Some(change.into()));
        self.0.push(Finding { check, level: Level::Warning, says, change });
    }

    pub(super) fn fail(&mut self, check: &'static str, says: impl Into<String>, change: impl Into<String>) {
        let (says, change) = (says.into(), Some(change.into()));
        self.0.push(Finding { check, level: Level::Failed, says, change });
    }

    /// Whether clients are not served.
    pub(super) fn has_failed(&self) -> bool {
        self.0.iter().any(|finding| finding.level == Level::Failed)
    }

    /// For programs.
    pub(super) fn json(&self, url: &str) -> String {
        format!("{}\n", serde_json::json!({ "url": url, "ok": !self.has_failed(), "findings": self.0 }))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for Finding { check, level, says, change } in &self.0 {
            let word = match level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Failed => "FAILED",
            };
            // Writing to a string does not fail.
            let _ = writeln!(out, "{word:<8} {check:<12} {says}");
            if let Some(change) = change {
                let _ = writeln!(out, "{:<8} {:<12} -> {change}", "", "");
            }
        }
        let count = |level| self.0.iter().filter(|finding| finding.level == level).count();
        let warnings = match count(Level::Warning) {
            1 => "1 warning".to_owned(),
            count => format!("{count} warnings"),
        };
        let _ = writeln!(out, "{} ok, {warnings}, {} failed", count(Level::Ok), count(Level::Failed));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_lines_and_json() {
        let mut findings = Findings::default();
        findings.ok("dns", "a");
        findings.warn("deflate", "b", "c");
        assert!(!findings.has_failed());
        findings.fail("upgrade", "d", "e");
        assert!(findings.has_failed());
        let expected = "ok       dns          a\nwarning  deflate      b\n                      -> c\nFAILED   upgrade      d\n                      -> e\n\
            1 ok, 1 warning, 1 failed\n";
        assert_eq!(findings.text(), expected);
        let json: serde_json::Value = serde_json::from_str(&findings.json("u")).unwrap_or_default();
        assert_eq!((&json["ok"], &json["findings"][1]["level"]), (&false.into(), &"warning".into()));
    }
}
