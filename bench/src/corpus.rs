//! Events as rooms really say them, where it matters how much one is like those before it: vehicles, a chat, records of a forum.
//!
//! Always holds: the same corpus, seed and number give the same JSON.

use crate::content::Random;

/// What a room is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corpus {
    /// Positions of 30 vehicles of a line.
    Vehicles,
    /// What people write to each other.
    Chat,
    /// Comments and polls of a forum, as its database has them.
    Records,
}

const WORDS: [&str; 64] = [
    "the", "meeting", "tomorrow", "is", "at", "nine", "can", "you", "send", "me", "that", "file", "please", "thanks",
    "I", "think", "we", "should", "wait", "until", "they", "answer", "no", "problem", "see", "there", "who", "has",
    "seen", "new", "draft", "of", "budget", "looks", "good", "to", "everyone", "agrees", "with", "proposal", "but",
    "not", "yet", "about", "date", "train", "was", "late", "again", "sorry", "on", "my", "way", "lunch", "today", "or",
    "after", "call", "it", "works", "now", "deployed", "staging", "great",
];
const SYLLABLES: [&str; 32] = [
    "ba", "cor", "di", "en", "fal", "gis", "ho", "in", "jur", "ka", "lem", "mo", "nis", "or", "pe", "qua", "ris",
    "sol", "ta", "ul", "ver", "wen", "xi", "yo", "zen", "bre", "cli", "dra", "fru", "gle", "str", "ing",
];
const NAMES: [&str; 12] =
    ["Ada", "Bruno", "Chidi", "Dana", "Emre", "Fatma", "Goran", "Hana", "Ines", "Jonas", "Katarzyna", "Li"];

impl Corpus {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Vehicles, Self::Chat, Self::Records];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vehicles => "vehicle positions",
            Self::Chat => "chat",
            Self::Records => "records",
        }
    }

    /// The data of event `n`.
    pub(crate) fn data(self, seed: u64, n: u64) -> String {
        // Mixed first: the numbers of a seed are those of the seed before it, one further.
        let mixed = Random(seed.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ n).next();
        let random = &mut Random(mixed);
        match self {
            Self::Vehicles => {
                let vehicle = random.below(30);
                format!(
                    r#"{{"vehicle":"tram-{vehicle:03}","lat":52.{:05},"lon":13.{:05},"heading":{},"speed":{}.{},"at":{}}}"#,
                    40_000 + 311 * vehicle + random.below(300),
                    30_000 + 173 * vehicle + random.below(300),
                    random.below(360),
                    random.below(60),
                    random.below(10),
                    1_790_000_000_000 + n * 997 + random.next() % 500,
                )
            }
            Self::Chat => {
                let (author, length) = (random.below(NAMES.len()), 6 + random.below(30));
                format!(
                    r#"{{"id":"{:016x}","author":{{"id":{},"name":"{}","avatar":"https://cdn.example.org/avatars/{}.png"}},"text":"{}","sent_at":{}}}"#,
                    random.next(),
                    1_000 + author,
                    NAMES[author],
                    1_000 + author,
                    text(random, length),
                    1_790_000_000_000 + n * 4_111,
                )
            }
            Self::Records => {
                let (author, length) = (random.below(NAMES.len()), 10 + random.below(50));
                let id = 880_000 + n;
                format!(
                    r#"{{"comments":[{{"id":{id},"body":"<p>{}</p>","body_format":"html","discussion_id":{},"parent_id":{},"parent_type":"Comment","author_id":{},"created_at":"2026-11-29T18:{:02}:{:02}.{:03}Z","updated_at":null,"edited_at":null,"discarded_at":null,"mentioned_usernames":[],"link_previews":[],"versions_count":0,"attachments":[],"reactions_count":{}}}],"users":[{{"id":{},"name":"{}","username":"{}","avatar_kind":"initials","avatar_initials":"{}","time_zone":"Europe/Berlin","locale":"en"}}]}}"#,
                    text(random, length),
                    3_000 + random.below(5),
                    id - 1 - random.below(20) as u64,
                    500 + author,
                    random.below(60),
                    random.below(60),
                    random.below(1_000),
                    random.below(4),
                    500 + author,
                    NAMES[author],
                    NAMES[author].to_lowercase(),
                    &NAMES[author][..1],
                )
            }
        }
    }
}

/// Three words in four are frequent ones, the fourth is seldom said again.
fn text(random: &mut Random, words: usize) -> String {
    let mut text = String::new();
    for word in 0..words {
        if word > 0 {
            text.push(' ');
        }
        if random.below(4) > 0 {
            text.push_str(WORDS[random.below(WORDS.len())]);
        } else {
            (0..2 + random.below(2)).for_each(|_| text.push_str(SYLLABLES[random.below(SYLLABLES.len())]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_json_and_the_same_again() {
        for corpus in Corpus::ALL {
            for n in 0..100 {
                let data = corpus.data(1, n);
                let parsed = serde_json::from_str::<serde_json::Value>(&data);
                assert!(parsed.is_ok_and(|value| value.is_object()), "{data}");
                assert_eq!(data, corpus.data(1, n));
                assert_ne!(data, corpus.data(2, n));
            }
        }
    }
}
