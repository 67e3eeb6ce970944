//! The slot of a room, and the names of its keys.
//!
//! Pure. Always holds: all keys of a room and its channel share one slot, so that one script reaches them all; pods of
//! every build agree on all of it. Changing anything here cuts a fleet in two.

use std::fmt;

use crate::model::{PublisherSide, Room};

/// How many partitions the rooms are spread over.
pub const PARTITIONS: usize = 256;

/// One of the [`PARTITIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// The partition of what belongs to no room.
    pub const FIRST: Self = Self(0);

    /// A room's: its name's FNV-1a hash of 64 bits, the halves folded together.
    #[must_use]
    pub fn of(room: &Room) -> Self {
        Self::of_name(room.as_str())
    }

    /// That of the room with this name.
    pub(super) fn of_name(room: &str) -> Self {
        let hash = room
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let folded = hash ^ (hash >> 32);
        // The lowest eight bits.
        Self((folded ^ (folded >> 16) ^ (folded >> 8)) as u8)
    }

    /// Every partition.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The text between braces that puts a key into its slot.
    #[must_use]
    pub fn tag(self) -> &'static str {
        TAGS[self.index()]
    }

    /// Its slot: the middle of its 64 of the 16,384.
    #[must_use]
    pub fn slot(self) -> u16 {
        u16::from(self.0) * 64 + 32
    }
}

/// The names of one fleet's keys.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

/// The kinds of key that a room has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// The channel that its events are published on.
    Channel,
    /// Its position and generations: a hash.
    Record,
    /// Its newest events: a stream.
    Log,
    /// The events of its log that were deleted: a hash.
    Deleted,
    /// The users that publish in it, where that is to be known: a sorted set.
    Authors,
    /// Its retained values: a hash.
    Values,
    /// Their order: a sorted set.
    Order,
    /// The pods that have members in it: a set.
    Pods,
    /// The record of the user that it is about: a string.
    User,
}

impl KeyKind {
    fn word(self) -> &'static str {
        match self {
            Self::Channel => "on",
            Self::Record => "room",
            Self::Log => "log",
            Self::Deleted => "deleted",
            Self::Authors => "authors",
            Self::Values => "values",
            Self::Order => "order",
            Self::Pods => "pods",
            Self::User => "user",
        }
    }
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    fn key(&self, partition: Partition, rest: impl fmt::Display) -> String {
        format!("{}:{{{}}}:{rest}", self.prefix, partition.tag())
    }

    /// What the keys of a room begin with, before the kind of each.
    pub(super) fn place(&self, room: &Room) -> String {
        self.key(Partition::of(room), "")
    }

    /// A room's key of one kind.
    pub(super) fn of(&self, room: &Room, kind: KeyKind) -> String {
        self.key(Partition::of(room), format_args!("{}:{room}", kind.word()))
    }

    /// The room whose channel this is; `None`: it is no room's.
    pub(super) fn room_on(channel: &str) -> Option<&str> {
        channel.split_once("}:on:").map(|(_, room)| room)
    }

    /// The key of an idempotency key in a room, behind the room's [`place`](Self::place). `name`: its own among those of its side. A
    /// room's name has no spaces, so that the two cannot run together.
    pub(super) fn once(room: &Room, side: PublisherSide, name: &str) -> String {
        match side {
            PublisherSide::Backend => format!("once:{room} {name}"),
            PublisherSide::Clients => format!("retry:{room} {name}"),
        }
    }

    /// The same for a plain message that is published under its name in the stream.
    pub(super) fn named(room: &Room, name: &str) -> String {
        format!("try:{room} {name}")
    }

    /// One pod's members of a room.
    pub(super) fn members(&self, room: &Room, pod: &str) -> String {
        self.key(Partition::of(room), format_args!("members:{room} {pod}"))
    }

    /// The users of one partition that a pod looks after.
    pub(super) fn looked_after(&self, partition: Partition, pod: &str) -> String {
        self.key(partition, format_args!("users:{pod}"))
    }

    /// The pods that look after users, by the time at which they said so last.
    pub(super) fn user_pods(&self) -> String {
        self.key(Partition::FIRST, "pods-of-users")
    }

    /// The channel of questions to all pods.
    pub(super) fn control(&self) -> String {
        self.key(Partition::FIRST, "control")
    }

    /// The channel of answers to one pod's questions.
    pub(super) fn replies(&self, pod: &str) -> String {
        self.key(Partition::FIRST, format_args!("replies:{pod}"))
    }

    /// The pods' leases.
    pub(super) fn leases(&self) -> String {
        self.key(Partition::FIRST, "leases")
    }

    /// The pods that said that they go.
    pub(super) fn leaving(&self) -> String {
        self.key(Partition::FIRST, "leaving")
    }

    /// The lease on the messages of legacy publishers that come by these patterns.
    pub(super) fn legacy(&self, patterns: &[&str]) -> String {
        self.key(Partition::FIRST, format_args!("legacy:{}", set_of(patterns)))
    }

    /// How often that lease was taken.
    pub(super) fn legacy_count(&self, patterns: &[&str]) -> String {
        self.key(Partition::FIRST, format_args!("legacy-count:{}", set_of(patterns)))
    }

    /// Where the pod that has that lease listens.
    pub(super) fn legacy_at(&self, patterns: &[&str]) -> String {
        self.key(Partition::FIRST, format_args!("legacy-at:{}", set_of(patterns)))
    }

    /// The lease on all of these messages that pods of an older build have.
    pub(super) fn old_legacy(&self) -> String {
        self.key(Partition::FIRST, "legacy")
    }

    /// The channel of marks among these messages.
    pub(super) fn marks(&self, patterns: &[&str]) -> String {
        self.key(Partition::FIRST, format_args!("marks:{}", set_of(patterns)))
    }

    /// A value with an expiry.
    pub(super) fn value(&self, name: &str) -> String {
        self.key(Partition::of_name(name), format_args!("value:{name}"))
    }

    /// What a user has read, and the partition where it is.
    pub(super) fn acks(&self, user: &str) -> (Partition, String) {
        let partition = Partition::of_name(user);
        (partition, self.acks_in(partition) + user)
    }

    /// With what such keys of a partition begin.
    pub(super) fn acks_in(&self, partition: Partition) -> String {
        self.key(partition, "acks:")
    }

    /// What authors are to be told of what the users of a partition have read.
    pub(super) fn untold(&self, partition: Partition) -> String {
        self.key(partition, "untold")
    }

    /// Which connections hold a user's places, and the partition where that is.
    pub(super) fn places(&self, user: &str) -> (Partition, String) {
        let partition = Partition::of_name(user);
        (partition, self.key(partition, format_args!("places:{user}")))
    }

    /// Where a pod's internal listener is.
    pub(super) fn address(&self, pod: &str) -> String {
        self.key(Partition::FIRST, format_args!("address:{pod}"))
    }

    /// A key that does not exist, and shows which server has a partition.
    pub(super) fn value_in(&self, partition: Partition) -> String {
        self.key(partition, "none")
    }

    /// A pattern of Redis that all keys of this fleet fit.
    pub(super) fn pattern(&self) -> String {
        let escaped = self.prefix.chars().flat_map(|c| if "*?[]\\^-".contains(c) { vec!['\\', c] } else { vec![c] });
        escaped.chain(":{*".chars()).collect()
    }

    /// Whether a channel is this fleet's.
    pub(super) fn is_own(&self, channel: &str) -> bool {
        channel.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with(':'))
    }
}

/// A word for a set of patterns: FNV-1a over them, sorted and each once.
fn set_of(patterns: &[&str]) -> String {
    let mut patterns = patterns.to_vec();
    patterns.sort_unstable();
    patterns.dedup();
    let bytes = patterns.iter().flat_map(|pattern| pattern.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// For each partition the smallest number, counted from 0 and written in base 36, whose slot (CRC16/XMODEM modulo
/// 16,384, as the Redis Cluster specification has it) is the partition's. Bare numbers would leave masters idle.
#[rustfmt::skip]
const TAGS: [&str; PARTITIONS] = [
    "e8a", "4zp", "aio", "8fn", "21g", "csv", "cj9", "z1", "1d8", "5hq", "556", "90g", "3gn", "baw",
    "7rh", "f0y", "m59", "a0h", "id7", "eaf", "o6o", "69n", "cny", "gb0", "lc0", "5l1", "51v", "1y7",
    "wkn", "7og", "b8p", "3za", "4z4", "mu5", "eeb", "13a0", "6yb", "o2k", "zu", "kce", "5h5", "9md",
    "d3k", "55r", "7kc", "fmz", "ft5", "j5l", "i94", "f", "8bj", "amk", "c3z", "gz", "gbt", "6dm",
    "5lu", "djl", "1ys", "512", "bes", "3cj", "fpu", "72d", "emk", "4kr", "465", "83d", "6t", "cbt",
    "65c", "k3", "112", "5ys", "hct", "1lu", "32d", "bpu", "7cj", "fes", "8jc", "4o2", "42u", "e4l",
    "24", "6ld", "k2k", "os", "15r", "qus", "hg4", "1h5", "n5l", "bt5", "bmz", "3kc", "4k6", "8ng",
    "e0h", "46q", "cb0", "60", "kw", "k6o", "5y7", "11v", "1l1", "hc0", "7za", "f8p", "3og", "skn",
    "4ov", "eio", "8sh", "421", "cfp", "2p", "o7", "61g", "qu7", "156", "1hq", "5d8", "b0y", "3rh",
    "faw", "7gn", "bn", "6x6", "6ay", "2m0", "e9q", "a58", "iag", "ed6", "ne6", "7j7", "77p", "f1i",
    "9l0", "5ia", "h7n", "18o", "247", "rt6", "6e9", "2ip", "8zq", "a1x", "4fo", "min", "fhn", "7nw",
    "730", "nx9", "1ah", "hni", "50f", "957", "6xr", "203", "2mt", "ckm", "aqt", "e95", "edr", "4bk",
    "7js", "flj", "n85", "774", "hjm", "1el", "913", "54b", "c2j", "fj", "2i4", "kf5", "au4", "8z5",
    "8cz", "iec", "7n3", "3bz", "f5m", "73t", "5me", "9h4", "1xc", "h3j", "7d", "6i4", "64s", "g2j",
    "8o3", "4jb", "i4m", "82t", "33t", "b5m", "7bz", "3n3", "l3j", "5xc", "hbd", "1me", "gkm", "6mt",
    "603", "nc", "8ks", "adr", "43e", "864", "374", "j85", "blj", "3js", "14b", "q0k", "5el", "dcu",
    "6ip", "2e9", "jg", "647", "iin", "8ow", "820", "47a", "jx9", "330", "3nw", "bhn", "q4o", "10f",
    "9d9", "5ah", "6m0", "wh", "2x6", "60w", "4nf", "8k7", "86p", "a9q", "b1i", "37p", "3j7", "je6",
    "58o", "9y6", "1ia", "qmh",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(tag: &str) -> u16 {
        let crc =
            tag.bytes().fold(0_u16, |crc, byte| {
                (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                    if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
                })
            });
        crc % 16_384
    }

    fn base36(mut number: u32) -> String {
        let mut digits = Vec::new();
        loop {
            digits.extend(char::from_digit(number % 36, 36));
            number /= 36;
            if number == 0 {
                return digits.into_iter().rev().collect();
            }
        }
    }

    #[test]
    fn the_tags_follow_their_rule() {
        let mut found = [const { None }; PARTITIONS];
        for number in 0.. {
            let tag = base36(number);
            let slot = slot(&tag);
            if slot % 64 == 32 {
                found[usize::from(slot / 64)].get_or_insert(tag);
            }
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        for (partition, tag) in Partition::all().zip(&found) {
            assert_eq!(Some(partition.tag()), tag.as_deref());
            assert_eq!(slot(partition.tag()), partition.slot());
        }
        assert_eq!(slot("123456789"), 0x31c3);
    }

    /// The least of what a master has, over the most, when the slots are dealt out as `redis-cli --cluster create` does.
    fn evenness(masters: usize, weight: impl Fn(Partition) -> usize) -> f64 {
        let mut load = vec![0; masters];
        for partition in Partition::all() {
            let master = usize::from(partition.slot()) * masters / 16_384;
            load[master] += weight(partition);
        }
        let (least, most) = (load.iter().min().copied().unwrap_or(0), load.iter().max().copied().unwrap_or(0));
        least as f64 / most as f64
    }

    #[test]
    fn partitions_and_rooms_spread_evenly() {
        let mut rooms = [0_usize; PARTITIONS];
        for number in 0..100_000 {
            for name in [format!("trip:{number}"), format!("user-{}", number * 7)] {
                rooms[Partition::of(&Room::parse(&name).expect("a name")).index()] += 1;
            }
        }
        for (masters, partitions, of_rooms) in [(3, 0.98, 0.97), (5, 0.98, 0.96), (16, 1.0, 0.94), (64, 1.0, 0.88)] {
            let (by_partition, by_room) = (evenness(masters, |_| 1), evenness(masters, |p| rooms[p.index()]));
            assert!(by_partition >= partitions, "{masters} masters: {by_partition}");
            assert!(by_room >= of_rooms, "{masters} masters: {by_room}");
        }
    }

    #[test]
    fn keys_are_what_pods_of_other_builds_look_for() {
        let (names, room) = (Names::new("roomcast"), Room::parse("trip:123").expect("a name"));
        assert_eq!((Partition::of(&room).index(), Partition::of(&room).slot()), (2, 160));
        assert_eq!(names.of(&room, KeyKind::Log), "roomcast:{aio}:log:trip:123");
        assert_eq!(names.of(&room, KeyKind::Channel), "roomcast:{aio}:on:trip:123");
        assert_eq!(Names::room_on("roomcast:{aio}:on:trip:123"), Some("trip:123"));
        let once = |side| names.place(&room) + &Names::once(&room, side, "a b");
        assert_eq!(once(PublisherSide::Backend), "roomcast:{aio}:once:trip:123 a b");
        assert_eq!(once(PublisherSide::Clients), "roomcast:{aio}:retry:trip:123 a b");
        assert_eq!(names.members(&room, "p"), "roomcast:{aio}:members:trip:123 p");
    }
}
