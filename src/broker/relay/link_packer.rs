//! Compresses what goes to an edge: events of rooms that may share a window, each behind those before it. Without I/O.
//!
//! Bounded: a part by [`MOST_PACKED`]; a link's deflater is on the pod's account, those of all links take a 32nd of what the pod may hold. Never
//! waits, and never holds a record back for others. Always holds: what may share no window with other rooms never comes here; whatever went into
//! the window is sent as what came out, also where that is a few bytes more, since the next ones may refer to it; a link for which compression
//! does not pay gives its deflater back, and tries again after ever more bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use roomcast_websocket::Deflater;

use super::{
    MOST_PACKED,
    message::packed_record,
    pod_memory::{OnAccount, PodMemory},
};

/// How hard a deflater tries: events are small, and all links have one thread.
const LEVEL: u32 = 4;

/// All of the window that deflate has (RFC 1951 section 2).
const WINDOW_BITS: u8 = 15;

/// What a flush ends with, and the sender removes (RFC 7692 section 7.2.1 step 3).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// By how much deflate may make a part larger: some bytes for each stored block (RFC 1951 section 3.2.4), and the flush.
const MARGIN: usize = 256;

/// What is smaller goes as it is.
const LEAST_PACKED: usize = 48;

/// What the pod may hold, as many times as the deflaters of all links may.
const OF_POD: usize = 32;

/// After so many bytes it is looked whether it pays.
const SPAN: usize = 64 * 1024;

/// So many bytes go as they are once it did not pay; each further time twice as many, up to the second.
const RESTS: (usize, usize) = (1024 * 1024, 64 * 1024 * 1024);

/// Whether compression pays, by what came of it. Pure.
struct PackingWorth {
    plain: usize,
    packed: usize,
    /// The bytes that go as they are from here on.
    rest: usize,
    next_rest: usize,
}

impl PackingWorth {
    fn new() -> Self {
        Self { plain: 0, packed: 0, rest: 0, next_rest: RESTS.0 }
    }

    /// Whether the next bytes should be compressed.
    fn allows(&mut self, bytes: usize) -> bool {
        let is_due = self.rest == 0;
        self.rest = self.rest.saturating_sub(bytes);
        is_due
    }

    fn begin_rest(&mut self) {
        self.rest = self.next_rest;
        self.next_rest = (2 * self.next_rest).min(RESTS.1);
    }

    /// So many bytes became so many. `false`: it does not pay, and rests.
    fn note(&mut self, plain: usize, packed: usize) -> bool {
        self.plain += plain;
        self.packed += packed;
        if self.plain < SPAN {
            return true;
        }
        let pays = self.packed <= self.plain / 10 * 9;
        (self.plain, self.packed) = (0, 0);
        if pays {
            self.next_rest = RESTS.0;
        } else {
            self.begin_rest();
        }
        pays
    }
}

/// A deflater that counts among those of all links. No [`Deflater`]: that one drops what came out larger, and begins anew; here it is sent, since a
/// link's window goes on.
struct CountedDeflater {
    stream: Compress,
    output: Vec<u8>,
    of_all: Arc<AtomicUsize>,
    _held: OnAccount,
}

/// What it takes, its output included.
const HELD: usize = Deflater::held_bytes(WINDOW_BITS) + MOST_PACKED + MARGIN;

impl CountedDeflater {
    /// `None`: there is no place for another one.
    fn take(of_all: &Arc<AtomicUsize>, memory: &Arc<dyn PodMemory>) -> Option<Self> {
        let most = memory.limit() / OF_POD;
        let more = |all: usize| all.checked_add(HELD).filter(|all| *all <= most);
        if memory.is_spent() || of_all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return None;
        }
        let stream = Compress::new_with_window_bits(Compression::new(LEVEL), false, WINDOW_BITS);
        Some(Self { stream, output: Vec::new(), of_all: Arc::clone(of_all), _held: OnAccount::put(memory, HELD) })
    }

    /// A part as it is sent behind those before it. `None`: the window is lost.
    fn deflate(&mut self, part: &[u8]) -> Option<&[u8]> {
        self.output.clear();
        self.output.reserve(part.len() + MARGIN);
        let status = self.stream.compress_vec(part, &mut self.output, FlushCompress::Sync);
        let is_whole = matches!(status, Ok(Status::Ok)) && self.output.len() < self.output.capacity();
        self.output.strip_suffix(&TAIL).filter(|_| is_whole)
    }
}

impl Drop for CountedDeflater {
    fn drop(&mut self) {
        self.of_all.fetch_sub(HELD, Ordering::Relaxed);
    }
}

/// What compresses for one link.
pub(super) struct LinkPacker {
    deflater: Option<CountedDeflater>,
    worth: PackingWorth,
    of_all: Arc<AtomicUsize>,
    memory: Arc<dyn PodMemory>,
}

impl LinkPacker {
    /// `of_all`: the bytes that the deflaters of all links take.
    pub(super) fn new(of_all: Arc<AtomicUsize>, memory: Arc<dyn PodMemory>) -> Self {
        Self { deflater: None, worth: PackingWorth::new(), of_all, memory }
    }

    /// The records as they are sent: one that holds them all, where it pays.
    pub(super) fn pack(&mut self, records: Bytes) -> Bytes {
        let fits = (LEAST_PACKED..=MOST_PACKED).contains(&records.len());
        if !fits || !self.worth.allows(records.len()) {
            return records;
        }
        if self.deflater.is_none() {
            self.deflater = CountedDeflater::take(&self.of_all, &self.memory);
        }
        let Some(counted) = &mut self.deflater else {
            self.worth.begin_rest();
            return records;
        };
        let Some(sent) = counted.deflate(&records).map(packed_record) else {
            self.deflater = None;
            return records;
        };
        if !self.worth.note(records.len(), sent.len()) {
            self.deflater = None;
        }
        sent
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomcast_websocket::Inflater;

    use super::*;
    use crate::broker::relay::{
        message::{Record, delivery_record, next_record},
        pod_memory::TestMemory,
    };

    fn packer(of_all: &Arc<AtomicUsize>, memory: &Arc<TestMemory>) -> LinkPacker {
        LinkPacker::new(Arc::clone(of_all), Arc::clone(memory) as _)
    }

    fn event(n: u32) -> Bytes {
        let body =
            format!("e0123456789abcdef.1 {n} 1700000000000\n{{\"price\":{n},\"currency\":\"EUR\",\"venue\":\"XETR\"}}");
        delivery_record(7, body.as_bytes()).unwrap()
    }

    /// Bytes in which nothing repeats (xorshift64).
    fn noise(seed: &mut u64, bytes: usize) -> Bytes {
        let next = |_| {
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            *seed as u8
        };
        (0..bytes).map(next).collect::<Vec<u8>>().into()
    }

    #[test]
    fn what_repeats_earlier_events_is_small_and_comes_out_as_it_was() {
        let (of_all, memory) = (Arc::default(), TestMemory::plenty());
        let (mut packer, mut edge) = (packer(&of_all, &memory), Inflater::with_takeover());
        let (mut plain, mut sent) = (0, 0);
        for n in 0..2_000 {
            // Some go as they are between.
            let records = if n % 7 == 0 { event(n).slice(..40) } else { event(n) };
            let mut message = packer.pack(records.clone());
            (plain, sent) = (plain + records.len(), sent + message.len());
            if message == records {
                continue;
            }
            let Some(Record::Packed(packed)) = next_record(&mut message).unwrap() else { panic!("not packed") };
            assert_eq!((edge.inflate(&packed, MOST_PACKED).unwrap(), message.len()), (&records[..], 0));
        }
        assert!(2 * sent < plain, "{sent} of {plain}");
        assert_eq!((of_all.load(Ordering::Relaxed), memory.held()), (HELD, HELD));
        drop(packer);
        assert_eq!((of_all.load(Ordering::Relaxed), memory.held()), (0, 0));
    }

    #[test]
    fn where_it_does_not_pay_it_rests_and_holds_nothing() {
        let (of_all, memory) = (Arc::default(), TestMemory::plenty());
        let (mut packer, mut seed) = (packer(&of_all, &memory), 42);
        for _ in 0..SPAN / 1_000 + 1 {
            let sent = packer.pack(noise(&mut seed, 1_000));
            assert!((1_000..1_020).contains(&sent.len()), "{}", sent.len());
        }
        assert!(packer.deflater.is_none() && memory.held() == 0);
        let rests = (0..99_999).take_while(|n| packer.pack(event(*n)) == event(*n)).count();
        assert!((RESTS.0 / event(99_999).len()..99_999).contains(&rests), "{rests}");
        assert!(packer.deflater.is_some(), "it has tried again");
        let mut worth = PackingWorth::new();
        for rest in [1, 2, 4, 64, 64].map(|times| times * RESTS.0) {
            worth.next_rest = rest;
            assert!(!worth.note(SPAN, SPAN) && worth.rest == rest && worth.next_rest <= RESTS.1);
            assert!(!worth.allows(rest) && worth.allows(1));
        }
    }

    #[test]
    fn deflaters_of_all_links_have_a_bound_and_what_is_large_or_small_goes_as_it_is() {
        let (of_all, memory) = (Arc::default(), TestMemory::plenty());
        memory.limit_to(OF_POD * HELD * 2);
        let mut links: Vec<_> = (0..3).map(|_| packer(&of_all, &memory)).collect();
        let mut packs = |link: usize| links[link].pack(event(1)) != event(1);
        assert!(packs(0) && packs(1) && !packs(2));
        links.remove(0);
        assert!(packer(&of_all, &memory).pack(event(2)) != event(2), "its place is free");
        let mut seed = 7;
        let large = noise(&mut seed, MOST_PACKED + 1);
        assert_eq!((links[0].pack(large.clone()), links[0].pack(event(1).slice(..40))), (large, event(1).slice(..40)));
        memory.limit_to(0);
        links.clear();
        assert_eq!(packer(&of_all, &memory).pack(event(1)), event(1), "memory is short");
    }
}
