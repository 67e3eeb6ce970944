//! What was heard of plain messages that may not be in a log yet, and who each message is.
//!
//! Plain messages have no names, and equal ones are legal. But every pod hears them from one server, in one order, and with them
//! the *marks* that the pod with the lease publishes there, and each pod that joins, once. So a message is named by the mark before it and
//! its number since, and all pods agree. A mark also says up to which earlier mark everything is in the logs: what came before that is
//! forgotten. A pod that takes the lease over publishes what it still has under these names, and what is in a log already is not appended
//! again.
//!
//! No I/O, no clock. Always holds: messages are kept in the order in which they were heard; what is kept is bounded; without a
//! mark there are no names.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use crate::model::{Publication, Room};

/// The most bytes that are kept. The oldest messages go first, and are counted as lost.
const KEPT: usize = 64 << 20;

/// The most marks that are known.
const MARKS: usize = 4_096;

/// The place of a message in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamPlace {
    /// How many marks came before it on this connection.
    pub(super) period: u64,
    /// Its name, the same on all pods; `None`: no mark came yet.
    pub(super) name: Option<String>,
    /// Its number on this pod, whatever the connection.
    pub(super) number: u64,
}

/// A message that was heard.
#[derive(Debug, Clone)]
pub(super) struct HeardMessage {
    pub(super) place: StreamPlace,
    pub(super) room: Room,
    pub(super) publication: Publication,
    /// When it was heard.
    pub(super) heard: Instant,
    /// What it holds, in bytes.
    pub(super) cost: usize,
    /// This pod has queued it to be published, and has not left it to another pod since.
    pub(super) is_queued: bool,
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamMark<'a> {
    /// Its name, which no other mark has.
    pub(super) name: &'a str,
    /// Everything before the mark of this name is in the logs; empty: nothing is said.
    pub(super) settled: &'a str,
    /// Whether the pod that says it keeps the lease.
    pub(super) held: bool,
}

impl<'a> StreamMark<'a> {
    /// Of what was published.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let (name, settled, held) = (words.next()?, words.next()?, words.next()?);
        (!name.is_empty()).then_some(Self { name, settled, held: held == "1" })
    }

    /// To be published.
    pub(super) fn text(&self) -> String {
        format!("{} {} {}", self.name, self.settled, u8::from(self.held))
    }
}

/// What was heard on one connection.
#[derive(Debug, Default)]
pub(super) struct PlainRing {
    /// The newest marks, each with the period that it began.
    marks: VecDeque<(u64, Box<str>)>,
    period: u64,
    /// The messages since the last mark.
    count: u64,
    /// The messages that ever came.
    heard: u64,
    kept: VecDeque<HeardMessage>,
    bytes: usize,
    /// A mark said how far all is settled, and all since then was heard.
    covers: bool,
    /// The messages of all periods before this one are in the logs.
    settled_before: u64,
    /// How many of this pod's publishes are under way, by the period of their messages.
    under_way: BTreeMap<u64, usize>,
}

impl PlainRing {
    /// The connection is another one: what was heard on the old one is no beginning of what comes.
    pub(super) fn reset(&mut self) {
        // Their ends are still counted.
        let under_way = std::mem::take(&mut self.under_way);
        let Self { period, heard, settled_before, .. } = *self;
        // Periods are not used twice.
        *self = Self { period: period + 1, heard, settled_before, under_way, ..Self::default() };
    }

    /// A mark came.
    pub(super) fn mark(&mut self, mark: &StreamMark<'_>) {
        // A command whose answer was lost is sent again: names that begin with this mark are in use already.
        if self.marks.iter().any(|(_, name)| **name == *mark.name) {
            return;
        }
        self.period += 1;
        self.count = 0;
        self.marks.push_back((self.period, mark.name.into()));
        let settled = self.marks.iter().find(|(_, name)| **name == *mark.settled).map(|(period, _)| *period);
        if let Some(settled) = settled {
            self.covers = true;
            self.settled_before = settled;
            while self.kept.front().is_some_and(|message| message.place.period < settled) {
                self.forget_oldest();
            }
            self.marks.retain(|(period, _)| *period >= settled);
        }
        while self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    /// A message came; what becomes of it is not known yet. Each one is counted, or pods would not agree.
    pub(super) fn place(&mut self) -> StreamPlace {
        self.count += 1;
        self.heard += 1;
        let name = self.marks.back().map(|(_, mark)| format!("{mark}.{}", self.count));
        StreamPlace { period: self.period, name, number: self.heard }
    }

    /// Keeps a message that becomes an event. Returns how many older ones were lost for it.
    pub(super) fn keep(&mut self, message: HeardMessage) -> u64 {
        self.bytes += message.cost;
        self.kept.push_back(message);
        let mut lost = 0;
        while self.bytes > KEPT && self.forget_oldest() {
            lost += 1;
        }
        lost
    }

    fn forget_oldest(&mut self) -> bool {
        let oldest = self.kept.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |message| message.cost);
        oldest.is_some()
    }

    /// What may not be in a log yet and was not queued, in order: this pod publishes it now. What has no name is not kept for another
    /// time.
    pub(super) fn take_over(&mut self) -> Vec<HeardMessage> {
        let left = self.kept.iter_mut().filter(|message| !message.is_queued);
        let left = left.map(|message| {
            message.is_queued = true;
            message.clone()
        });
        let left = left.collect();
        self.forget_unnamed();
        left
    }

    /// This pod has queued a message and leaves it to another pod after all.
    pub(super) fn leave(&mut self, number: u64) {
        if let Ok(at) = self.kept.binary_search_by_key(&number, |message| message.place.number) {
            self.kept[at].is_queued = false;
        }
    }

    /// Forgets what has no name: another pod may publish it, or has.
    pub(super) fn forget_unnamed(&mut self) {
        let bytes = &mut self.bytes;
        self.kept.retain(|message| {
            let stays = message.place.name.is_some();
            *bytes -= if stays { 0 } else { message.cost };
            stays
        });
    }

    /// Whether a mark said that the messages of this period are in the logs.
    pub(super) fn is_settled(&self, period: u64) -> bool {
        period < self.settled_before
    }

    /// Whether everything was heard that may not be in a log yet.
    pub(super) fn covers(&self) -> bool {
        self.covers
    }

    /// Whether what comes now has a name.
    pub(super) fn has_mark(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Whether something came since the last mark, or may be forgotten after another one.
    pub(super) fn wants_mark(&self) -> bool {
        self.count > 0 || !self.kept.is_empty() || self.marks.is_empty()
    }

    /// This pod begins to publish a message of that period.
    pub(super) fn begun(&mut self, period: u64) {
        *self.under_way.entry(period).or_default() += 1;
    }

    /// It is in its log, or will never be.
    pub(super) fn ended(&mut self, period: u64) {
        if let Some(count) = self.under_way.get_mut(&period) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&period);
            }
        }
    }

    /// The newest mark before which every message was dealt with; empty: there is none.
    pub(super) fn settled(&self) -> &str {
        let open = self.under_way.keys().next().copied().unwrap_or(u64::MAX);
        let mut settled = self.marks.iter().filter(|(period, _)| *period <= open);
        settled.next_back().map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Payload;

    fn mark<'a>(name: &'a str, settled: &'a str) -> StreamMark<'a> {
        StreamMark { name, settled, held: true }
    }

    fn hear(ring: &mut PlainRing, topic: &str) -> StreamPlace {
        let payload = Payload::json(serde_json::value::to_raw_value("1").unwrap()).unwrap();
        let publication =
            Publication { topic: topic.into(), key: None, payload, user: None, id: None, idempotency_key: None };
        let (place, room) = (ring.place(), Room::parse("a").unwrap());
        let message = HeardMessage {
            place: place.clone(),
            room,
            publication,
            heard: Instant::now(),
            cost: 100,
            is_queued: false,
        };
        assert_eq!(ring.keep(message), 0);
        place
    }

    fn kept(ring: &PlainRing) -> Vec<String> {
        let name = |heard: &HeardMessage| heard.place.name.clone().unwrap_or_default();
        ring.kept.iter().map(|heard| format!("{} {}", name(heard), heard.publication.topic)).collect()
    }

    #[test]
    fn pods_that_hear_the_same_stream_agree_on_names() {
        let (mut early, mut late) = (PlainRing::default(), PlainRing::default());
        assert_eq!(hear(&mut early, "before any mark").name, None);
        // It is kept for as long as no other pod can have published it.
        assert_eq!((early.covers(), kept(&early)), (false, vec![" before any mark".to_owned()]));
        early.forget_unnamed();
        assert!(kept(&early).is_empty() && early.bytes == 0);
        early.mark(&mark("m1", ""));
        assert_eq!(hear(&mut early, "x").name.as_deref(), Some("m1.1"));
        for ring in [&mut early, &mut late] {
            ring.mark(&mark("m2", ""));
            // One that becomes no event is counted too.
            ring.place();
            hear(ring, "y");
        }
        assert_eq!(kept(&early), ["m1.1 x", "m2.2 y"]);
        assert_eq!(kept(&late), ["m2.2 y"]);
    }

    #[test]
    fn what_a_mark_calls_settled_is_forgotten() {
        let mut ring = PlainRing::default();
        for name in ["m1", "m2", "m3"] {
            ring.mark(&mark(name, ""));
            hear(&mut ring, name);
        }
        assert!(!ring.covers());
        ring.mark(&mark("m4", "m2"));
        assert!(ring.covers());
        assert_eq!(kept(&ring), ["m2.1 m2", "m3.1 m3"]);
        ring.mark(&mark("m5", "unheard of"));
        assert_eq!(kept(&ring).len(), 2);
        ring.mark(&mark("m6", "m5"));
        assert!(kept(&ring).is_empty() && !ring.wants_mark());
    }

    #[test]
    fn a_mark_that_comes_twice_begins_no_names_anew() {
        let mut ring = PlainRing::default();
        ring.mark(&mark("m1", ""));
        assert_eq!(hear(&mut ring, "a").name.as_deref(), Some("m1.1"));
        ring.mark(&mark("m1", ""));
        assert_eq!(hear(&mut ring, "b").name.as_deref(), Some("m1.2"));
        ring.mark(&mark("m2", ""));
        ring.mark(&mark("m1", ""));
        assert_eq!(hear(&mut ring, "c").name.as_deref(), Some("m2.1"));
    }

    #[test]
    fn a_mark_is_settled_when_all_before_it_was_dealt_with() {
        let mut ring = PlainRing::default();
        assert_eq!(ring.settled(), "");
        ring.mark(&mark("m1", ""));
        let first = hear(&mut ring, "a").period;
        ring.begun(first);
        ring.mark(&mark("m2", "m1"));
        let second = hear(&mut ring, "b").period;
        ring.begun(second);
        assert_eq!(ring.settled(), "m1");
        ring.ended(second);
        assert_eq!(ring.settled(), "m1");
        ring.ended(first);
        assert_eq!(ring.settled(), "m2");
    }

    #[test]
    fn another_connection_begins_anew_and_memory_is_bounded() {
        let mut ring = PlainRing::default();
        ring.mark(&mark("m1", ""));
        hear(&mut ring, "a");
        ring.reset();
        assert!(!ring.covers() && kept(&ring).is_empty());
        // What is not settled since m1 was not heard here.
        ring.mark(&mark("m2", "m1"));
        assert!(!ring.covers());
        let publication = || ring_publication();
        let (mut lost, room) = (0, Room::parse("a").unwrap());
        for _ in 0..3 {
            let (place, room, heard) = (ring.place(), room.clone(), Instant::now());
            lost += ring.keep(HeardMessage {
                place,
                room,
                publication: publication(),
                heard,
                cost: KEPT / 2,
                is_queued: false,
            });
        }
        assert_eq!((lost, ring.take_over().len()), (1, 2));
    }

    #[test]
    fn what_has_no_name_is_taken_over_once() {
        let mut ring = PlainRing::default();
        hear(&mut ring, "early");
        ring.mark(&mark("m1", ""));
        hear(&mut ring, "late");
        let topics = |left: Vec<HeardMessage>| left.iter().map(|m| m.publication.topic.to_string()).collect::<Vec<_>>();
        assert_eq!(topics(ring.take_over()), ["early", "late"]);
        assert!(ring.take_over().is_empty());
    }

    #[test]
    fn what_is_queued_is_taken_over_again_only_once_it_was_left() {
        let mut ring = PlainRing::default();
        ring.mark(&mark("m1", ""));
        let places: Vec<_> = ["a", "b", "c"].into_iter().map(|topic| hear(&mut ring, topic)).collect();
        assert_eq!(ring.take_over().len(), 3);
        ring.leave(places[1].number);
        let left = ring.take_over();
        assert_eq!(left.iter().map(|message| &message.place).collect::<Vec<_>>(), [&places[1]]);
        // What is no longer kept is not left either.
        ring.reset();
        ring.leave(places[0].number);
        assert!(ring.take_over().is_empty() && hear(&mut ring, "d").number > places[2].number);
    }

    fn ring_publication() -> Publication {
        let payload = Payload::json(serde_json::value::to_raw_value("1").unwrap()).unwrap();
        Publication { topic: "t".into(), key: None, payload, user: None, id: None, idempotency_key: None }
    }

    #[test]
    fn marks_are_read_as_they_are_written() {
        let text = mark("a.1.2", "").text();
        assert_eq!(StreamMark::parse(&text), Some(mark("a.1.2", "")));
        assert_eq!(StreamMark::parse("x y 0"), Some(StreamMark { name: "x", settled: "y", held: false }));
        assert_eq!((StreamMark::parse(""), StreamMark::parse("x y")), (None, None));
    }
}
