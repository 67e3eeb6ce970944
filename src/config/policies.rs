//! Which policy a room has: the first whose pattern matches the room's name, else the default.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use globset::{Glob, GlobMatcher};

use super::{
    error::{Location, Problem},
    item::{Item, bad_value, unknown_key},
    raw::Raw,
    section::{Section, describe},
    value::{Bytes, Choice, Count, GIB, KIB, Kind, List, MIB, Maybe, OrWord, Switch, Text, TextKind, Time},
};
use crate::model::{
    Access, AckMode, ArchiveMode, Conflate, DeleteMode, Delivery, Durability, EraseMode, Policy, PresenceMode, Retain,
    Room, SlowReceiver,
};

/// The policies in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    matched: Vec<(Vec<GlobMatcher>, Arc<Policy>)>,
    default: Arc<Policy>,
}

impl Policies {
    /// Policies with their patterns, and the one for every other room.
    #[must_use]
    pub fn new(matched: Vec<(Vec<GlobMatcher>, Policy)>, default: Policy) -> Self {
        let matched = matched.into_iter().map(|(patterns, policy)| (patterns, Arc::new(policy))).collect();
        let mut policies = Self { matched, default: Arc::new(default) };
        let plain = policies.clone();
        let all = policies.matched.iter_mut().map(|(_, policy)| policy).chain([&mut policies.default]);
        for policy in all.filter(|policy| policy.log.is_some()) {
            let Some(log) = policy.log.as_ref().map(|log| plain.of(log)) else { continue };
            *policy = Arc::new(policy.in_log(&log));
        }
        policies
    }

    /// The room's policy. Costs a walk over the patterns: hold the answer for as long as the room is held.
    #[must_use]
    pub fn of(&self, room: &Room) -> Arc<Policy> {
        let found = self.matched.iter().find(|(patterns, _)| patterns.iter().any(|p| p.is_match(room.as_str())));
        Arc::clone(found.map_or(&self.default, |(_, policy)| policy))
    }

    /// The pattern by which a room has its policy, as it was written; `default_policy` for what no pattern matches.
    #[must_use]
    pub fn pattern_of(&self, room: &Room) -> &str {
        let mut patterns = self.matched.iter().flat_map(|(patterns, _)| patterns);
        patterns.find(|p| p.is_match(room.as_str())).map_or("default_policy", |p| p.glob().glob())
    }

    /// Another number once other rooms may share a window with others.
    #[must_use]
    pub fn windows(&self) -> u64 {
        let mut state = DefaultHasher::new();
        for (patterns, policy) in &self.matched {
            patterns.iter().for_each(|pattern| pattern.glob().glob().hash(&mut state));
            policy.shares_window().hash(&mut state);
        }
        self.default.shares_window().hash(&mut state);
        state.finish()
    }

    /// Whether there is such a policy.
    pub fn has(&self, is_so: impl Fn(&Policy) -> bool) -> bool {
        self.matched.iter().map(|(_, policy)| policy).chain([&self.default]).any(|policy| is_so(policy))
    }
}

/// What is wrong with logs that rooms share, in words.
pub(super) fn shared_logs<'a>(policies: &Policies, all: impl Iterator<Item = &'a Policy>) -> Vec<String> {
    let mut problems = Vec::new();
    for policy in all {
        let Some(log) = &policy.log else { continue };
        let own = policies.of(log);
        if policy.slow != SlowReceiver::Close {
            problems.push(format!(
                "`log = {:?}` needs `slow = \"close\"`: a slow client is closed, comes back, and continues in the log",
                log.as_str()
            ));
        }
        for (policy, whose) in [(policy, "such a policy"), (&*own, "the policy of that room")] {
            let unfit = [
                (policy.conflate != Conflate::None, "conflate"),
                (policy.retain != Retain::None, "retain"),
                (policy.presence == PresenceMode::Events, "presence"),
                (policy.delivery != Delivery::Every, "delivery"),
                // A returning session joins all rooms of a log in one step: a hook cannot refuse one of them.
                (policy.subscribe_hook, "subscribe_hook"),
                // They travel on the channel of their own room, which is not followed here.
                (policy.signal != Access::Nobody, "signal"),
                // In a log of several rooms a position does not say how many events of one of them are behind it.
                (policy.acks != AckMode::Off, "acks"),
                // Users are noted by room.
                (policy.erase != EraseMode::Keep, "erase"),
            ];
            for (_, key) in unfit.into_iter().filter(|(unfit, _)| *unfit) {
                let log = log.as_str();
                problems
                    .push(format!("`log = {log:?}` does not go with the `{key}` of {whose}: leave it at its default"));
            }
        }
        if own.log_of(log).is_some() {
            problems
                .push(format!("`log = {:?}` names a room whose events are in another log themselves", log.as_str()));
        }
        if own.history_size == 0 {
            problems.push(format!("`log = {:?}` names a room that keeps no log: raise `history_size`", log.as_str()));
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// Rooms in which development mode lets clients do everything, for the page: `demo:batch…` waits for company, the others
/// do not. Behind all other rules.
pub(super) fn demo_rules(default: &Policy) -> Vec<(Vec<GlobMatcher>, Policy)> {
    let demo = Policy {
        join: Access::Anyone,
        publish: Access::Anyone,
        publish_per_second: 1_000,
        publish_burst: 1_000,
        presence: PresenceMode::Events,
        ..default.clone()
    };
    let batched = Policy { batch_window: Duration::from_millis(250), ..demo.clone() };
    let rule = |pattern, policy| Some((vec![RoomPattern::parse(pattern).ok()?.matcher().clone()], policy));
    [rule("demo:batch*", batched), rule("demo:*", demo)].into_iter().flatten().collect()
}

/// One `[[policy]]` of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The rooms it is for: patterns on their names.
    pub patterns: Vec<RoomPattern>,
    /// The whole policy: what the entry does not set is as in `[default_policy]`.
    pub policy: Policy,
}

impl Rule {
    /// Reads one `[[policy]]`, starting from the default policy.
    pub(super) fn read(item: Item, default: &Policy) -> Result<Self, Vec<Problem>> {
        let mut keys = default.keys();
        for key in &mut keys {
            key.section = "policy";
        }
        let mut rule = Self { patterns: Vec::new(), policy: default.clone() };
        let mut problems = Vec::new();
        for entry in &item.entries {
            let place = Location::Line(item.file.clone(), entry.line);
            if entry.name == "match" {
                match patterns(&entry.value) {
                    Ok(patterns) => rule.patterns = patterns,
                    Err(why) => problems.push(Problem {
                        place,
                        key: entry.path(),
                        given: Some(entry.value.shown()),
                        why: format!("{why}; allowed: a list of patterns, {}", RoomPatternKind.allowed()),
                    }),
                }
            } else if let Some(key) = keys.iter().find(|key| key.name == entry.name) {
                if let Err(why) = rule.policy.set(key.name, &entry.value) {
                    problems.push(bad_value(key, &entry.value, place, &why));
                }
            } else {
                problems.push(unknown_key(&item.file, entry, &keys));
            }
        }
        if !item.entries.iter().any(|entry| entry.name == "match") {
            problems.push(Problem {
                place: Location::Line(item.file, item.line),
                key: "policy".to_owned(),
                given: None,
                why: "it has no `match`: write `match = [\"trip:*\"]`, the rooms that it is for".to_owned(),
            });
        }
        if problems.is_empty() { Ok(rule) } else { Err(problems) }
    }
}

/// A comma has a meaning in patterns, so that these are never split.
fn patterns(raw: &Raw) -> Result<Vec<RoomPattern>, String> {
    match raw {
        Raw::Text(_) => Ok(vec![RoomPatternKind.parse(raw)?]),
        Raw::List(items) if !items.is_empty() => items.iter().map(|item| RoomPatternKind.parse(item)).collect(),
        _ => Err("it matches nothing".to_owned()),
    }
}

/// A pattern on the names of rooms.
#[derive(Debug, Clone)]
pub struct RoomPattern(GlobMatcher);

impl RoomPattern {
    /// Reads a pattern: `*` any characters, `?` one, `[a-z]` one of these, `{a,b}` either.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern must not be empty; `*` matches every room".to_owned());
        }
        if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("no room's name contains {c:?}"));
        }
        let glob = Glob::new(text).map_err(|error| format!("it is not a pattern: {}", error.kind()))?;
        Ok(Self(glob.compile_matcher()))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }

    /// The namespace of the rooms that it is for, if it names one: what stands before the first colon.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        let (namespace, _) = self.as_str().split_once(':')?;
        let literal = !namespace.is_empty() && !namespace.contains(['*', '?', '[', '{', '\\']);
        literal.then_some(namespace)
    }

    /// What matches names.
    #[must_use]
    pub fn matcher(&self) -> &GlobMatcher {
        &self.0
    }
}

impl PartialEq for RoomPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// [`RoomPattern`] as a value.
pub(crate) struct RoomPatternKind;

impl TextKind for RoomPatternKind {
    type Value = RoomPattern;
    const NAME: &'static str = "pattern";
    const ALLOWED: &'static str = "`*` for any characters, `?` for one, `[a-z]` for one of these, `{a,b}` for either";

    fn read(&self, text: &str) -> Result<RoomPattern, String> {
        RoomPattern::parse(text)
    }

    fn write(&self, value: &RoomPattern) -> String {
        value.as_str().to_owned()
    }
}

/// The name of a room as a value.
struct RoomKind;

impl TextKind for RoomKind {
    type Value = Room;
    const NAME: &'static str = "room";
    const ALLOWED: &'static str = "a room's name";

    fn read(&self, text: &str) -> Result<Room, String> {
        Room::parse(text).map_err(|error| error.to_string())
    }

    fn write(&self, value: &Room) -> String {
        value.as_str().to_owned()
    }
}

const ACCESS: &[(&str, Access)] = &[
    ("anyone", Access::Anyone),
    ("user", Access::User),
    ("claim", Access::Claim),
    ("owner", Access::Owner),
    ("nobody", Access::Nobody),
];

describe!(Policy in "default_policy",
    "How rooms behave that no `[[policy]]` matches, and what a `[[policy]]` leaves out.", Policy::default(), {
    /// How long events wait for company before they leave as one batch; `0ms` sends at once.
    batch_window = Time(Duration::ZERO..=Duration::from_secs(60)), live;
    /// A batch leaves early when it holds this many events.
    batch_max_events = Count(1..=100_000), live;
    /// A batch leaves early when its payloads hold this many bytes.
    batch_max_bytes = Bytes(KIB..=64 * MIB), live;
    /// Which events of a batch survive: all, the newest of each topic, or the newest of each topic and key.
    conflate = Choice(&[("none", Conflate::None), ("topic", Conflate::Topic), ("key", Conflate::Key)]), live;
    /// The topics whose events conflate, `*` for any characters. Empty: all; otherwise the others' always survive.
    conflate_topics = List(Text), live;
    /// Which values are kept for new subscribers: none, the newest of the room, of each topic, or of each key.
    retain = Choice(&[
        ("none", Retain::None),
        ("room", Retain::Room),
        ("topic", Retain::Topic),
        ("key", Retain::Key),
    ]), live;
    /// The topics whose events can become such values, `*` for any characters. Empty: all.
    retain_topics = List(Text), live;
    /// How many values are kept; the oldest go first.
    retain_max = Count(1..=100_000), live;
    /// Topics whose event removes the kept value instead of becoming one.
    retain_remove_topics = List(Text), live;
    /// The topics that events may have, `*` for any characters; an event with another one is refused. Empty: any.
    topics = List(Text), live;
    /// The room whose log these rooms share, so that their events have one order, and one position tells where a client is in
    /// all of them: for clients of a described dialect only. That room's own policy says what is kept, and when batches leave.
    log = Maybe(RoomKind), restart, unset("each room has a log of its own", "\"channel\"");
    /// How many events the log keeps for clients that come back; 0 keeps none.
    history_size = Count(0..=1_000_000), live;
    /// How many bytes the log keeps.
    history_bytes = Bytes(0..=16 * GIB), live;
    /// How long the log keeps an event.
    history_age = Time(Duration::from_secs(1)..=Duration::from_secs(30 * 86_400)), live;
    /// Whether members are known: not at all, as a list on request, or with `joined` and `left` events too.
    presence = Choice(&[
        ("off", PresenceMode::Off),
        ("list", PresenceMode::List),
        ("events", PresenceMode::Events),
    ]), live;
    /// The clients that may join: all, those with a token, those whose token names the room, those of the user that owns the
    /// personal room (`tokens.personal_room`), or none.
    join = Choice(ACCESS), live;
    /// The clients that may publish. Backends always can, over the API.
    publish = Choice(ACCESS), live;
    /// Whether `hooks.subscribe` is asked about each client that wants to join. If so, only members can read the room's history
    /// and presence.
    subscribe_hook = Switch, live;
    /// Whether `hooks.publish` is asked about each event that a client publishes.
    publish_hook = Switch, live;
    /// Whether `hooks.absent` is told of an event here, if this is the personal room (`tokens.personal_room`) of a user that has no
    /// connection.
    absent_hook = Switch, live;
    /// How many events a second one client may publish for long. Above it a publish is refused with `rate_limited`; a client
    /// that does not stop is closed with 4029.
    publish_per_second = Count(1..=100_000), live;
    /// How many events one client may publish at once.
    publish_burst = Count(1..=100_000), live;
    /// The members that may send signals (`typing`, for one), which no log has: written like `publish`.
    signal = Choice(ACCESS), live;
    /// The shortest time between two signals of one member with the same topic. Those between are dropped without a word; one that
    /// ends another is never dropped.
    signal_every = Time(Duration::ZERO..=Duration::from_secs(60)), live;
    /// How long a signal is shown that does not say it itself. Then the pod tells the members that it is over.
    signal_ttl = Time(Duration::from_secs(1)..=Duration::from_secs(60)), live;
    /// How many signals a second the members of one room are told of for long, of all senders, and twice as many at once. More are
    /// dropped without a word.
    signals_per_second = Count(1..=100_000), live;
    /// Whether it is kept how far each user has read (`ack`), so that what a user has not read can be counted: for how many rooms, and for
    /// how long, is in `[acks]`. With `receipts` the author of an event is told, in its personal room, which users have read it, but for
    /// those whose token says otherwise (`tokens.receipts_claim`).
    acks = Choice(&[("off", AckMode::Off), ("keep", AckMode::Keep), ("receipts", AckMode::Receipts)]), live;
    /// The clients that may delete events: none, or those of the user that published the event. Backends always can, over the API.
    delete = Choice(&[("off", DeleteMode::Off), ("author", DeleteMode::Author)]), live;
    /// What becomes of the events that a user published once the user is erased: they stay, their content goes (data, key, id and user, while
    /// topic and time stay), or they are deleted. Where it is not `keep`, it is noted which users publish.
    erase = Choice(&[("keep", EraseMode::Keep), ("content", EraseMode::Content), ("event", EraseMode::Event)]), live;
    /// Where events are kept beyond the log: nowhere, or in the PostgreSQL of `[archive]`. A publish is then answered when the event is
    /// there too, and refused with 503 where it cannot be.
    archive = Choice(&[("off", ArchiveMode::Off), ("postgres", ArchiveMode::Postgres)]), live;
    /// Frames of at least this many bytes are compressed. Use `never` where secrets travel beside text that others choose.
    compress_from = OrWord("never", Bytes(0..=64 * MIB)), live;
    /// Whether a compressed frame may refer to the text of earlier ones of the room, which makes it two to four times smaller. How long a
    /// frame is then tells what was said before as well: use `false` where members must not learn that from the network.
    shared_window = Switch, live;
    /// What happens to a client that does not keep up: it misses events and gets a `gap`, it gets only the newest values as soon as
    /// it can, or it is closed with 4008.
    slow = Choice(&[
        ("gap", SlowReceiver::Gap),
        ("conflate", SlowReceiver::Conflate),
        ("close", SlowReceiver::Close),
    ]), live;
    /// The order in which the rooms of a WebTransport session are sent when its path is full: the highest number first. A WebSocket
    /// has one stream, and keeps the order of the events.
    priority = Count(0..=9), live;
    /// What is promised: every event or an explicit gap, or the latest in order.
    delivery = Choice(&[("every", Delivery::Every), ("latest", Delivery::Latest)]), live;
    /// Where an event must be before its publish is answered: in the log, or on a replica of the Redis master too. A replica
    /// that does not confirm in time makes the outcome unknown (504). The embedded broker has no replicas.
    durability = Choice(&[("log", Durability::Log), ("replica", Durability::Replica)]), live;
});
