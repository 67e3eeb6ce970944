//! The scripts that Redis runs, each whole; all but `publish` in one slot.
//!
//! A script is named by its own hash (`EVALSHA`), so that pods of different builds, with different scripts, work on one
//! Redis; what is stored is versioned by itself (see `entry`).

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use fred::types::Value;

use super::arguments::count;

/// A script.
#[derive(Debug)]
pub(super) struct Script {
    /// Its name in metrics.
    pub(super) name: &'static str,
    pub(super) text: ScriptText,
    /// For servers before Redis 7, which know no flags of scripts.
    pub(super) without_flags: Option<ScriptText>,
    /// It writes, whatever its arguments: that it is carried out shows that the server takes writes.
    pub(super) writes: bool,
}

/// What a server is given.
#[derive(Debug)]
pub(super) struct ScriptText {
    pub(super) text: String,
    /// SHA-1 of the text in hexadecimal digits: how Redis names it.
    pub(super) sha: String,
}

/// The scripts that always write something that takes memory.
const WRITING: [&str; 2] = ["publish", "lease"];

/// The line with which a script may use keys of several slots that it does not name before. It also has the whole script refused where
/// a write would be.
const ACROSS_SLOTS: &str = "#!lua flags=allow-cross-slot-keys\n";

/// The same for a script that writes nothing, so that a server that takes no writes runs it.
const READS_ACROSS_SLOTS: &str = "#!lua flags=allow-cross-slot-keys,no-writes\n";

impl Script {
    fn new(name: &'static str, flags: &str, parts: &[&str]) -> Self {
        let without_flags = ScriptText::new(parts.concat());
        let (text, without_flags) = match flags {
            "" => (without_flags, None),
            flags => (ScriptText::new(flags.to_owned() + &without_flags.text), Some(without_flags)),
        };
        Self { name, text, without_flags, writes: WRITING.contains(&name) }
    }
}

impl ScriptText {
    fn new(text: String) -> Self {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let sha = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text, sha }
    }
}

const ROOM: &str = include_str!("lua/room.lua");

/// Of scripts that tell about members that another pod may have too.
const ELSEWHERE: &str = include_str!("lua/elsewhere.lua");

/// The words of a call after its name: the script, whose place `Node` fills, its keys and its arguments.
pub(super) fn command(script: &Script, keys: Vec<String>, args: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut command = vec![Value::from(script.text.sha.as_str()), count(keys.len())];
    command.extend(keys.into_iter().map(Value::from));
    command.extend(args);
    command
}

macro_rules! scripts {
    ($($name:ident = $word:literal, $flags:expr; $($part:expr),+;)+) => {
        /// Their names.
        #[cfg(test)]
        const NAMES: &[&str] = &[$($word),+];

        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new($word, $flags, &[$($part),+]));)+
    };
}

scripts! {
    PUBLISH = "publish", ACROSS_SLOTS; ROOM, include_str!("lua/trim.lua"), include_str!("lua/append.lua"), include_str!("lua/publish.lua");
    HISTORY = "history", ""; ROOM, include_str!("lua/history.lua");
    RETAINED = "retained", ""; ROOM, include_str!("lua/retained.lua");
    POSITIONS = "positions", ""; ROOM, include_str!("lua/positions.lua");
    STANDINGS = "standings", READS_ACROSS_SLOTS; ROOM, include_str!("lua/standings.lua");
    KEEP_ACKS = "keep_acks", ACROSS_SLOTS; include_str!("lua/keep_acks.lua");
    UNTOLD_ACKS = "untold_acks", ACROSS_SLOTS; include_str!("lua/untold_acks.lua");
    KEPT_ACKS = "kept_acks", ""; include_str!("lua/kept_acks.lua");
    USER_PLACES = "user_places", ACROSS_SLOTS; include_str!("lua/user_places.lua");
    MEMBERS = "members", ""; ELSEWHERE, include_str!("lua/members.lua");
    PODS = "pods", ""; include_str!("lua/pods.lua");
    LIST = "list", ""; include_str!("lua/list.lua");
    EVICT = "evict", ""; ELSEWHERE, include_str!("lua/evict.lua");
    LEASE = "lease", ""; include_str!("lua/lease.lua");
    CONTROL = "control", ""; include_str!("lua/control.lua");
    MARK = "mark", ""; include_str!("lua/mark.lua");
    CLAIM = "claim", ""; include_str!("lua/claim.lua");
    VALUE = "value", ""; include_str!("lua/value.lua");
    READ_USER = "read_user", ""; include_str!("lua/read_user.lua");
    WRITE_USER = "write_user", ""; include_str!("lua/write_user.lua");
    USER_PODS = "user_pods", ""; include_str!("lua/user_pods.lua");
    USERS_OF = "users_of", ""; include_str!("lua/users_of.lua");
    RELEASE_USERS = "release_users", ""; include_str!("lua/release_users.lua");
    FORGET = "forget", ""; include_str!("lua/forget.lua");
    DELETE_EVENT = "delete_event", ""; ROOM, include_str!("lua/delete_event.lua");
    NOTE_AUTHOR = "note_author", ""; include_str!("lua/note_author.lua");
    TRIM_LOG = "trim_log", ""; ROOM, include_str!("lua/trim_log.lua");
    SWEEP = "sweep", ACROSS_SLOTS; include_str!("lua/sweep.lua");
    LOOK_UP = "look_up", ""; include_str!("lua/look_up.lua");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_script_is_counted() {
        assert_eq!(super::NAMES, crate::metrics::COMMANDS);
    }
}
