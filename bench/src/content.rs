//! What the bench publishes: trip-like JSON of an exact size, made from a seed, so that a receiver can make it again and
//! compare every byte.
//!
//! Always holds: the text begins with `{"n":…,"t":…,`; the same [`Recipe`], room, number and time give the same bytes.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::BenchError;

/// The smallest event that holds number, time and filler.
const SMALLEST: usize = 80;

/// The largest, which a pod takes with all that is around it.
const LARGEST: usize = 60_000;

/// How the events of a run are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// Chooses the random parts.
    pub(crate) seed: u64,
    /// The length of the data, in bytes.
    pub(crate) size: usize,
}

/// The number and the publisher's clock that every event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Stamp {
    /// The event's number in its room and run.
    pub(crate) n: u64,
    /// [`crate::clock::now`] when it was sent.
    pub(crate) t: u64,
}

impl Recipe {
    /// Events of the size that a flag names, with the first seed.
    pub(crate) fn of(flag: &str, size: usize) -> Result<Self, BenchError> {
        if !(SMALLEST..=LARGEST).contains(&size) {
            let message = format!("{flag} {size}: an event has {SMALLEST} to {LARGEST} bytes");
            return Err(BenchError::Usage(message));
        }
        Ok(Self { seed: 1, size })
    }

    /// The data of an event.
    pub(crate) fn data(&self, room: u32, stamp: Stamp) -> String {
        let trip = Random(self.seed ^ (u64::from(room) << 32)).next();
        let mut random = Random(trip ^ stamp.n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let size = self.size.max(SMALLEST);
        let mut text = String::with_capacity(size + 256);
        let _ = write!(text, r#"{{"n":{},"t":{},"#, stamp.n, stamp.t);
        if size > text.len() + 330 {
            let _ = write!(
                text,
                r#""trip":"trip_{trip:016x}","status":"{}","driver":{{"id":"drv_{:08x}","rating":4.{:02},"vehicle":"{}"}},"position":{{"lat":52.{:06},"lng":13.{:06},"heading":{},"speed":{}.{},"accuracy":{}}},"stops":["#,
                ["en_route", "arriving", "waiting", "paused"][random.below(4)],
                trip >> 32,
                trip % 100,
                ["sedan", "van", "bike", "wagon"][(trip % 4) as usize],
                random.below(1_000_000),
                random.below(1_000_000),
                random.below(360),
                random.below(140),
                random.below(10),
                random.below(30),
            );
            let mut stop = 0;
            while text.len() + 180 < size {
                let comma = if stop == 0 { "" } else { "," };
                let _ = write!(
                    text,
                    r#"{comma}{{"id":"stop_{:08x}","sequence":{stop},"lat":52.{:06},"lng":13.{:06},"eta_seconds":{},"status":"{}"}}"#,
                    (trip.wrapping_mul(stop + 3)) >> 32,
                    random.below(1_000_000),
                    random.below(1_000_000),
                    random.below(3_600),
                    ["pending", "done", "skipped"][random.below(3)],
                );
                stop += 1;
            }
            text.push_str("],");
        }
        text.push_str(r#""ref":""#);
        while text.len() + 2 < size {
            text.push(char::from(b"0123456789abcdef"[random.below(16)]));
        }
        text.push_str("\"}");
        text
    }

    /// The stamp of an event if its data are, byte for byte, what this recipe makes.
    pub(crate) fn check(&self, room: u32, data: &str) -> Option<Stamp> {
        let stamp: Stamp = serde_json::from_str(data).ok()?;
        (self.data(room, stamp) == data).then_some(stamp)
    }

    /// The same where a server may have written the numbers anew: the values are compared.
    pub(crate) fn check_values(&self, room: u32, data: &str) -> Option<Stamp> {
        let stamp: Stamp = serde_json::from_str(data).ok()?;
        let values = |data: &str| serde_json::from_str::<Value>(data).ok();
        is_same(&values(&self.data(room, stamp))?, &values(data)?).then_some(stamp)
    }
}

/// Whether both say the same, whatever their numbers look like: 4.00 and 4.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, one): (&String, &Value)| other.get(name).is_some_and(|other| is_same(one, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// SplitMix64: small, good enough to make data that no compressor can guess, the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { n: 17, t: 123_456_789_012 };

    #[test]
    fn data_is_json_of_the_size_that_was_asked_for() {
        for size in [SMALLEST, 200, 300, 512, 1024, 4096] {
            let data = Recipe { seed: 7, size }.data(3, STAMP);
            assert_eq!(data.len(), size, "{data}");
            assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok(), "{data}");
        }
    }

    #[test]
    fn one_changed_byte_is_found() {
        let recipe = Recipe { seed: 7, size: 1024 };
        let data = recipe.data(3, STAMP);
        assert_eq!(recipe.check(3, &data), Some(STAMP));
        assert_eq!(recipe.check(4, &data), None, "another room's event");
        let tail = data.len() - 5;
        let changed = if data.as_bytes()[tail] == b'0' { "1" } else { "0" };
        let mut wrong = data.clone();
        wrong.replace_range(tail..=tail, changed);
        assert_eq!(recipe.check(3, &wrong), None);
    }

    #[test]
    fn numbers_may_be_written_anew() {
        let recipe = Recipe { seed: 7, size: 1024 };
        for n in 0..100 {
            let stamp = Stamp { n, ..STAMP };
            let data = recipe.data(3, stamp);
            assert_eq!(recipe.check_values(3, &data), Some(stamp));
            assert_eq!(recipe.check_values(3, &data.replace("stop_", "step_")), None);
        }
        let values = |text| serde_json::from_str::<Value>(text).expect("JSON");
        assert!(is_same(&values(r#"{"a":[4.00,52.10]}"#), &values(r#"{"a":[4,52.1]}"#)));
        assert!(!is_same(&values(r#"{"a":[4.00,52.10]}"#), &values(r#"{"a":[4,52.11]}"#)));
        assert!(!is_same(&values(r#"{"a":1}"#), &values(r#"{"a":1,"b":1}"#)));
    }

    #[test]
    fn neighbours_share_no_random_part() {
        let mut seen = std::collections::HashMap::new();
        for (seed, room, n) in
            (0..4).flat_map(|seed| (0..4).flat_map(move |room| (0..40).map(move |n| (seed, room, n))))
        {
            let data = Recipe { seed, size: 380 }.data(room, Stamp { n, t: 5 });
            let (_, tail) = data.split_once(r#""ref":""#).expect("a tail");
            // Of 16 hexadecimal digits two are the same by chance once in 2^64 times.
            for part in tail.trim_end_matches(['"', '}']).as_bytes().windows(16) {
                let before = seen.insert(part.to_vec(), (seed, room, n));
                assert!(before.is_none_or(|before| before == (seed, room, n)), "{before:?} and {:?}", (seed, room, n));
            }
        }
    }

    #[test]
    fn events_differ() {
        let recipe = Recipe { seed: 7, size: 1024 };
        assert_ne!(recipe.data(3, STAMP), recipe.data(3, Stamp { n: 18, ..STAMP }));
    }
}
