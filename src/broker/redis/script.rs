//! The scripts that Redis runs, each whole and in one slot.
//!
//! A script is named by its own hash (`EVALSHA`), so that pods of different builds, with different scripts, work on one
//! Redis; what is stored is versioned by itself (see `entry`).

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// A script.
#[derive(Debug)]
pub(super) struct Script {
    /// Its name in metrics.
    pub(super) name: &'static str,
    pub(super) text: String,
    /// SHA-1 of the text in hexadecimal digits: how Redis names it.
    pub(super) sha: String,
    /// It writes, whatever its arguments: that it is carried out shows that the server takes writes.
    pub(super) writes: bool,
}

/// The scripts that always write something that takes memory.
const WRITING: [&str; 3] = ["publish", "announce", "lease"];

impl Script {
    fn new(name: &'static str, parts: &[&str]) -> Self {
        let text = parts.concat();
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let sha = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name, text, sha, writes: WRITING.contains(&name) }
    }
}

const ROOM: &str = include_str!("lua/room.lua");

macro_rules! scripts {
    ($($name:ident = $word:literal, $($part:expr),+;)+) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new($word, &[$($part),+]));)+
    };
}

scripts! {
    PUBLISH = "publish", ROOM, include_str!("lua/publish.lua");
    ANNOUNCE = "announce", include_str!("lua/announce.lua");
    HISTORY = "history", ROOM, include_str!("lua/history.lua");
    RETAINED = "retained", ROOM, include_str!("lua/retained.lua");
    POSITIONS = "positions", ROOM, include_str!("lua/positions.lua");
    MEMBERS = "members", include_str!("lua/members.lua");
    PODS = "pods", include_str!("lua/pods.lua");
    LIST = "list", include_str!("lua/list.lua");
    EVICT = "evict", include_str!("lua/evict.lua");
    LEASE = "lease", include_str!("lua/lease.lua");
    CONTROL = "control", include_str!("lua/control.lua");
    MARK = "mark", include_str!("lua/mark.lua");
    CLAIM = "claim", include_str!("lua/claim.lua");
    VALUE = "value", include_str!("lua/value.lua");
    LOOK_UP = "look_up", include_str!("lua/look_up.lua");
}
