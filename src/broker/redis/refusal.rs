//! The refusals of Redis that say something of the whole server, or of this pod's rights there.
//!
//! Pure. Always holds: an error of a script is judged as the error of the command in it that Redis refused.

/// Why a server is of no use, or not all of it. Each has a word in the metrics and a sentence in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// There is no connection.
    Away,
    /// It refuses the login.
    Login,
    /// It takes subscriptions and delivers nothing.
    Deaf,
    /// It has no memory left.
    Full,
    /// It is a replica.
    ReadOnly,
    /// It cannot save, and refuses writes for that.
    Disk,
    /// It has fewer replicas than its configuration demands.
    Replicas,
    /// It loads its data.
    Loading,
    /// It runs a script of another program.
    Busy,
    /// It is part of a cluster that has lost its majority, or a master of one of its slots.
    Cluster,
    /// The pod's user may not run a command, or use a key or a channel; or the server has no such command, as one that is renamed.
    Rights,
}

impl Trouble {
    /// Every kind.
    #[cfg(test)]
    pub const ALL: [Self; 11] = [
        Self::Away,
        Self::Login,
        Self::Deaf,
        Self::Full,
        Self::ReadOnly,
        Self::Disk,
        Self::Replicas,
        Self::Loading,
        Self::Busy,
        Self::Cluster,
        Self::Rights,
    ];

    /// The word for it in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Login => "login",
            Self::Deaf => "deaf",
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::Disk => "disk",
            Self::Replicas => "replicas",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::Cluster => "cluster",
            Self::Rights => "rights",
        }
    }

    /// What is wrong and what to do about it.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Away => "Redis cannot be reached: its rooms are silent and publishes fail until it can",
            Self::Login => "Redis refuses this pod's login: check the user and the password of `redis`",
            Self::Deaf => "Redis delivers no messages on this pod's subscriptions: they are made anew",
            Self::Full => "Redis has reached its maxmemory and refuses publishes: histories stay, give it memory",
            Self::ReadOnly => {
                "Redis is a replica here and refuses publishes: the pod connects anew until it finds the master"
            }
            Self::Disk => "Redis cannot save its data and refuses publishes: look at its disk and its log",
            Self::Replicas => "Redis has too few replicas and refuses publishes: see its min-replicas-to-write",
            Self::Loading => "Redis loads its data and refuses commands until it has them",
            Self::Busy => "Redis runs a script of another program and refuses commands until it is over",
            Self::Cluster => "the Redis cluster is down, or without a master for some rooms",
            Self::Rights => {
                "Redis forbids this pod's user something it needs, or its configuration renames it: compare both with docs/OPERATIONS.md"
            }
        }
    }

    /// Whether a write that is carried out shows that it is over, whatever is written.
    pub(super) fn ends_with_any_write(self) -> bool {
        !matches!(self, Self::Rights)
    }

    /// What an error of Redis says of the server; `None`: nothing, it is about one key or one slot.
    pub(super) fn of(error: &str) -> Option<Self> {
        match refusal_word(error) {
            "OOM" => Some(Self::Full),
            "READONLY" => Some(Self::ReadOnly),
            "MISCONF" => Some(Self::Disk),
            "NOREPLICAS" => Some(Self::Replicas),
            "LOADING" => Some(Self::Loading),
            "BUSY" => Some(Self::Busy),
            "CLUSTERDOWN" | "MASTERDOWN" => Some(Self::Cluster),
            "NOPERM" => Some(Self::Rights),
            "NOAUTH" | "WRONGPASS" => Some(Self::Login),
            // What Redis 7.0 says of a command within a script, and what later ones and Valkey do.
            _ if error.contains("The user executing the script can't") => Some(Self::Rights),
            _ if error.contains("ACL failure in script") => Some(Self::Rights),
            // `rename-command`, or a server that offers less than Redis: by itself, and in a script of Redis 7 and 6.
            _ if error.contains("unknown command") || error.contains("Unknown Redis command") => Some(Self::Rights),
            _ => None,
        }
    }
}

/// The codes that Redis puts before its refusals.
const CODES: [&str; 13] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOPERM",
    "NOAUTH",
    "WRONGPASS",
    "ASK",
    "TRYAGAIN",
];

/// An error without the arguments of a command that the server does not know, which it repeats: a token, a user, an event may be among them.
pub(super) fn without_arguments(mut error: String) -> String {
    error.truncate(error.find(", with args beginning with").unwrap_or(error.len()));
    error
}

/// The code of an error. Redis 6 puts the error of a command within a script behind a text of its own.
pub(super) fn refusal_word(error: &str) -> &str {
    without_script(error).split(' ').next().unwrap_or_default()
}

/// An error without what Redis adds of the script that it was given in: version 7 behind it, version 6 before it, also where the
/// script goes on after it.
pub(super) fn without_script(error: &str) -> &str {
    if let Some((_, error)) = error.strip_prefix("@user_script: ").and_then(|rest| rest.split_once(": ")) {
        return error.trim_start_matches('-');
    }
    if error.starts_with("ERR Error running script") {
        let is_code = |at: &usize| CODES.iter().any(|code| error[*at..].starts_with(code));
        let mut starts = error.match_indices(" -").map(|(at, dash)| at + dash.len());
        return starts.find(is_code).map_or(error, |at| &error[at..]);
    }
    error.split(" script: ").next().unwrap_or(error).trim_end_matches(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_servers_are_told_from_errors_of_keys() {
        let full = "OOM command not allowed when used memory > 'maxmemory'. script: 0a1b, on @user_script:52.";
        assert_eq!((Trouble::of(full), without_script(full)), (Some(Trouble::Full), &full[..55]));
        let of_6 = "ERR Error running script (call to f_0): @user_script:9: @user_script: 9: -READONLY You can't write - here.";
        assert_eq!((refusal_word(of_6), without_script(of_6)), ("READONLY", "READONLY You can't write - here."));
        let of_6 = "@user_script: 295: -OOM command not allowed when used memory > 'maxmemory'.";
        assert_eq!((refusal_word(of_6), without_script(of_6)), ("OOM", &of_6[20..]));
        for (error, trouble) in [
            ("READONLY You can't write against a read only replica.", Some(Trouble::ReadOnly)),
            ("ERR Error running script (call to f_1): @user_script:9: -OOM command not allowed", Some(Trouble::Full)),
            ("ERR Error running script (call to f_1): @user_script:9: no such thing", None),
            ("ERR The user executing the script can't run this command or subcommand", Some(Trouble::Rights)),
            ("ERR ACL failure in script: User a has no permissions to run the 'xadd' command", Some(Trouble::Rights)),
            ("NOPERM this user has no permissions to run the 'evalsha' command", Some(Trouble::Rights)),
            ("ERR unknown command 'EVALSHA', with args beginning with: '0a1b'", Some(Trouble::Rights)),
            ("ERR Unknown Redis command called from script script: 0a1b, on @user_script:23.", Some(Trouble::Rights)),
            ("@user_script: 23: Unknown Redis command called from Lua script", Some(Trouble::Rights)),
            ("NOREPLICAS Not enough good replicas to write.", Some(Trouble::Replicas)),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
            ("MOVED 1 h:2", None),
            ("", None),
        ] {
            assert_eq!(Trouble::of(error), trouble, "{error}");
        }
    }

    #[test]
    fn arguments_of_an_unknown_command_are_not_repeated() {
        for (error, shown) in [
            ("ERR unknown command 'EVALSHA', with args beginning with: '0a1b' '1' '/current_users/s3cret' ", 29),
            ("ERR unknown command `EVALSHA`, with args beginning with: `0a1b`, ", 29),
            ("OOM command not allowed, with reason", 36),
        ] {
            assert_eq!(without_arguments(error.to_owned()), error[..shown]);
        }
    }

    #[test]
    fn each_kind_has_a_word_of_its_own() {
        assert_eq!(Trouble::ALL.map(Trouble::word), crate::metrics::TROUBLES);
        let words: std::collections::BTreeSet<_> = Trouble::ALL.iter().map(|trouble| trouble.word()).collect();
        assert_eq!(words.len(), Trouble::ALL.len());
    }
}
