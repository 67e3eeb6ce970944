//! When a chain of frames begins anew with a keyframe, which every client can read.
//!
//! Pure: no clock, no bytes. It is told how many receivers each frame left in the chain and how many got it apart. Always holds: a
//! keyframe comes only when the frames that it saves those members that are apart outweigh what it costs those in the
//! chain, and never while all are in it.
//!
//! A receiver that is apart gets an independent frame for a chained one, and wastes the difference. A keyframe costs each
//! receiver in the chain about twice that difference: its own size, and that of the frames after it until the window is warm (measured
//! on three corpora: 1.8 to 2.6 times). So the keyframe comes when as much was wasted as it costs: at worst twice what the
//! best times would have cost, whatever the members do.

/// Why a frame is a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyframeReason {
    /// The chain begins.
    Begin,
    /// Receivers are apart that a keyframe brings in.
    Waiting,
    /// The message before it did not become smaller and went out uncompressed: no client has it in its window.
    Incompressible,
}

/// What the next frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStep {
    /// One that every client can read, and with which the chain begins anew.
    Keyframe(KeyframeReason),
    /// One that refers to those before it.
    Next,
}

/// Where a frame stands in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainPlace {
    /// How many keyframes there were.
    keyframe: u64,
    /// How many frames behind the last of them.
    age: u64,
}

impl ChainPlace {
    /// Whether it is a keyframe's.
    #[must_use]
    pub fn is_keyframe(self) -> bool {
        self.age == 0
    }
}

/// A chain of frames, as far as its decisions need it.
#[derive(Debug, Default)]
pub struct Chain {
    keyframes: u64,
    /// How many frames there were since the last keyframe.
    age: u64,
    /// The receivers that frames left in the chain, since the last keyframe.
    stayed: u64,
    /// Those that got a frame apart, since the second frame behind the keyframe.
    apart: u64,
    /// Those that got the first frame behind the keyframe apart: most of them are kept out by something else, another room
    /// or a slow network, and the next keyframe would not bring them in either.
    kept_out: u64,
    /// What was expected of them since.
    expected_apart: u64,
}

impl Chain {
    /// What a keyframe costs a receiver in the chain, in frames that a receiver gets apart.
    const COST: u64 = 2;

    /// Behind so many frames half of those that were kept out are believed to be so still.
    const HALVED_EVERY: u64 = 128;

    /// What the next frame is. `in_step`: the deflater's window holds what the receivers in the chain have.
    pub fn step(&mut self, in_step: bool) -> ChainStep {
        let reason = if self.keyframes == 0 {
            KeyframeReason::Begin
        } else if !in_step {
            KeyframeReason::Incompressible
        } else if self.is_due() {
            KeyframeReason::Waiting
        } else {
            self.age += 1;
            if self.age > 1 {
                let halvings = (self.age / Self::HALVED_EVERY).min(63);
                self.expected_apart += self.kept_out >> halvings;
            }
            return ChainStep::Next;
        };
        *self = Self { keyframes: self.keyframes + 1, ..Self::default() };
        ChainStep::Keyframe(reason)
    }

    /// Where the frame of the last step stands.
    #[must_use]
    pub fn place(&self) -> ChainPlace {
        ChainPlace { keyframe: self.keyframes, age: self.age }
    }

    /// A frame went to so many receivers that are in the chain since, and to so many apart.
    pub fn served(&mut self, place: ChainPlace, stayed: u64, apart: u64) {
        // What is told late of a chain before the last keyframe says nothing of those that are apart now.
        if place.keyframe != self.keyframes {
            return;
        }
        self.stayed += stayed;
        match place.age {
            // A keyframe brings in whatever can be brought in.
            0 => {}
            1 => self.kept_out += apart,
            _ => self.apart += apart,
        }
    }

    /// Whether as much was wasted as a keyframe costs.
    fn is_due(&self) -> bool {
        let in_chain = self.stayed / (self.age + 1);
        let wasted = self.apart.saturating_sub(self.expected_apart);
        // Where no receiver is in the chain, a keyframe costs nothing: all get an independent frame anyway.
        if in_chain == 0 { self.apart + self.kept_out > 0 } else { wasted >= Self::COST * in_chain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `frames` to a room of `members`, of which `coming` in each thousand are replaced at each frame, `kept_out` never stay,
    /// and all others follow the chain. How many keyframes there were, and how many frames went apart.
    fn run(chain: &mut Chain, frames: u64, members: u64, coming: u64, kept_out: u64) -> (u64, u64) {
        let (mut waiting, mut keyframes, mut apart, mut owed) = (0, 0, 0, 0);
        for _ in 0..frames {
            owed += members * coming;
            let joined = owed / 1_000;
            owed %= 1_000;
            waiting = (waiting + joined).min(members - kept_out);
            let keyframe = matches!(chain.step(true), ChainStep::Keyframe(_));
            if keyframe {
                keyframes += 1;
                waiting = 0;
            }
            let away = waiting + kept_out;
            chain.served(chain.place(), members - away, away);
            apart += if keyframe { 0 } else { away };
        }
        (keyframes, apart)
    }

    #[test]
    fn a_still_room_has_one_keyframe() {
        let mut chain = Chain::default();
        assert_eq!(chain.step(false), ChainStep::Keyframe(KeyframeReason::Begin));
        chain.served(chain.place(), 1_000, 0);
        assert_eq!(run(&mut chain, 100_000, 1_000, 0, 0), (0, 0));
    }

    #[test]
    fn newcomers_bring_keyframes_where_they_waste_what_one_costs() {
        // Ten events a second, one member in a hundred replaced each second.
        let (keyframes, apart) = run(&mut Chain::default(), 6_000, 10_000, 1, 0);
        assert!((80..=110).contains(&keyframes), "one in about 63 frames: {keyframes}");
        assert!(apart / 10_000 < 3 * keyframes, "{apart}");
        // One event a second.
        let (keyframes, _) = run(&mut Chain::default(), 600, 10_000, 10, 0);
        assert!((25..=35).contains(&keyframes), "one in about 20 frames: {keyframes}");
        // A room of ten in which one comes back each hundred frames.
        let (keyframes, _) = run(&mut Chain::default(), 10_000, 10, 1, 0);
        assert!((50..=110).contains(&keyframes), "{keyframes}");
    }

    #[test]
    fn those_that_something_else_keeps_out_bring_few() {
        let (keyframes, _) = run(&mut Chain::default(), 10_000, 1_000, 0, 500);
        assert!((10..=80).contains(&keyframes), "they are tried again now and then: {keyframes}");
        let (keyframes, _) = run(&mut Chain::default(), 10_000, 1_000, 0, 30);
        assert!(keyframes <= 40, "{keyframes}");
        let (keyframes, _) = run(&mut Chain::default(), 100, 1_000, 0, 1_000);
        assert!(keyframes >= 50, "where none is in the chain it costs nothing: {keyframes}");
    }

    #[test]
    fn what_is_told_late_does_not_count() {
        let mut chain = Chain::default();
        chain.step(true);
        let before = chain.place();
        chain.served(before, 10, 0);
        assert_eq!(chain.step(false), ChainStep::Keyframe(KeyframeReason::Incompressible));
        chain.served(before, 0, 1_000);
        chain.served(chain.place(), 10, 0);
        assert_eq!((chain.step(true), chain.place().is_keyframe()), (ChainStep::Next, false));
        assert_eq!(chain.step(true), ChainStep::Next);
    }
}
