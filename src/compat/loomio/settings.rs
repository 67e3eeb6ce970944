//! Loomio's keys: `[chatbots]` and `[hocuspocus]`, what a collaboration server expects of the channel server beside rooms.

use std::{fmt, path::PathBuf, time::Duration};

use http::Uri;

use crate::config::{
    Changes, ChannelPattern, ChannelPatternKind, CoreFacts, CustomerSettings, GIB, KIB, MIB, MountPath, OriginKind,
    OriginPattern, SettingsError,
    section::{Section, Settle, section},
    value::{Bytes, Count, File, List, Maybe, TextKind, Time},
};

section! {
    /// Messages of chatbots: plain messages (`PUBLISH`) in the Redis of `[redis]` that one pod of the fleet sends on, into a Matrix room or to a webhook. What they look like: `docs/PRESETS.md`.
    pub struct ChatbotSettings in "chatbots" {
        /// The channels that they come on, by name or with `*` for any characters. Empty: none.
        channels: Vec<ChannelPattern> = Vec::new(), List(ChannelPatternKind), restart;
        /// The servers that may be called, as origins. A message that names another one is refused: a publisher could otherwise
        /// have the pod call what only the pod can reach.
        servers: Vec<OriginPattern> = Vec::new(), List(OriginKind), restart;
        /// For one call, from connecting to the last byte of the answer.
        timeout: Duration = Duration::from_secs(10), Time(Duration::from_millis(100)..=Duration::from_secs(60)), restart;
        /// How often a message is tried, the first time included, when the server cannot be reached, is busy (429) or failed
        /// (5xx). Between two tries the pod waits for as long as the server says, at most 30 s, else 1 s, 2 s, 4 s and so on.
        attempts: usize = 4, Count(1..=10), restart;
        /// How many bytes of messages may wait to be sent. What comes beyond is dropped and counted as `full`.
        queue: usize = 16 * MIB, Bytes(64 * KIB..=GIB), restart;
        /// CA certificates that the servers are trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/matrix-ca.pem\"");
    }
}

section! {
    /// Whether a user may edit a document: what a Hocuspocus server asks about users whose tokens are those of `[token_lookup]`.
    pub struct HocuspocusSettings in "hocuspocus" {
        /// Where it asks, with `POST`, on the public listeners.
        path: Option<String> = None, Maybe(MountPath), restart, unset("nowhere", "\"/api/hocuspocus\"");
        /// The endpoint of the application that is asked the same question where the pod cannot say: about unknown tokens, and
        /// records that are neither the user nor a group. Its answer is given back.
        hook: Option<DocumentHookUrl> = None, Maybe(DocumentHookUrlKind), restart,
            unset("none: 401 for unknown tokens, 403 for such records", "\"https://app.example.com/api/hocuspocus\"");
        /// For the hook's answer. Then it is 503.
        timeout: Duration = Duration::from_secs(2), Time(Duration::from_millis(50)..=Duration::from_secs(30)), restart;
        /// CA certificates that the hook is trusted by, beside the system's.
        ca: Option<PathBuf> = None, Maybe(File("PEM file")), restart, unset("none", "\"/etc/roomcast/app-ca.pem\"");
    }
}

/// What Loomio sets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoomioSettings {
    /// `[chatbots]`
    pub chatbots: ChatbotSettings,
    /// `[hocuspocus]`
    pub hocuspocus: HocuspocusSettings,
}

impl CustomerSettings for LoomioSettings {
    fn sections(&self) -> Vec<&dyn Section> {
        vec![&self.chatbots, &self.hocuspocus]
    }

    fn sections_mut(&mut self) -> Vec<&mut dyn Section> {
        vec![&mut self.chatbots, &mut self.hocuspocus]
    }

    fn settle(&mut self, running: &Self, changes: &mut Changes) {
        self.chatbots.settle(&running.chatbots, changes);
        self.hocuspocus.settle(&running.hocuspocus, changes);
    }

    fn check(&self, core: &CoreFacts, errors: &mut Vec<SettingsError>, warnings: &mut Vec<String>) {
        let Self { chatbots, hocuspocus } = self;
        if !chatbots.channels.is_empty() && !core.has_redis {
            errors.push(SettingsError::Customer(
                "`chatbots.channels` takes messages from Redis, but no Redis is set: set `redis.urls` (--redis URL)",
            ));
        }
        if !chatbots.channels.is_empty() && chatbots.servers.is_empty() {
            warnings.push(
                "`chatbots.servers` is empty, so messages for chatbots are refused: name the servers that may be called"
                    .to_owned(),
            );
        }
        if hocuspocus.path.is_some() && !core.looks_tokens_up && hocuspocus.hook.is_none() {
            errors.push(SettingsError::Customer(
                "`hocuspocus.path` answers by tokens that are looked up: set `token_lookup.key`, or `hocuspocus.hook`",
            ));
        }
    }
}

/// The URL that is asked about documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentHookUrl(Uri);

impl DocumentHookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("it is not a URL: {error}"))?;
        match (uri.scheme_str(), uri.authority()) {
            // In the path too: behind a `/` or `?` in a password that was not encoded, the rest of it stands there.
            (Some("http" | "https"), Some(_)) if text.contains('@') => {
                Err("it has a user or a password in it (an `@` of another part is written `%40`)".to_owned())
            }
            (Some("http" | "https"), Some(_)) => Ok(Self(uri)),
            _ => Err("it is not a URL of https or http".to_owned()),
        }
    }

    /// The URL.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

/// For people and logs: without the query, in which some servers want a secret.
impl fmt::Display for DocumentHookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", http::uri::Authority::as_str);
        write!(f, "{}://{authority}{}", self.0.scheme_str().unwrap_or_default(), self.0.path())
    }
}

/// [`DocumentHookUrl`] as a value of a key.
struct DocumentHookUrlKind;

impl TextKind for DocumentHookUrlKind {
    type Value = DocumentHookUrl;
    const NAME: &'static str = "URL";
    const ALLOWED: &'static str = "a URL of https, or of http inside a network that can be trusted with tokens";

    fn read(&self, text: &str) -> Result<DocumentHookUrl, String> {
        DocumentHookUrl::parse(text)
    }

    fn write(&self, value: &DocumentHookUrl) -> String {
        value.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_has_a_url() {
        for good in ["https://app.example.com/api/hocuspocus", "http://app:3000/api/hocuspocus", "http://[::1]:3000/"] {
            assert_eq!(DocumentHookUrl::parse(good).unwrap().to_string(), good);
        }
        let secret = DocumentHookUrl::parse("https://app.example.com/api?key=s3cret").unwrap();
        assert_eq!(secret.to_string(), "https://app.example.com/api");
        for bad in ["", "/api", "app.example.com", "ftp://a/b", "https://user:pw@a/b", "https://"] {
            assert!(DocumentHookUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
