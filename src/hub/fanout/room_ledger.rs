//! What a room's frames came to in each wire format: which formats are worth a chain, and what the next frame of each is.
//!
//! Pure: the time is the caller's, in milliseconds. Owns no window. Always holds: a chain is granted by the receivers of its own wire
//! format, so that a few clients with a format that no others have take no window from many; at most [`RoomLedger::CHAINS`]
//! formats have one, and at most [`RoomLedger::FORMATS`] are counted.

use crate::{
    hub::fanout::{
        chain::{Chain, ChainPlace, ChainStep, FrameReach},
        window_worth::WindowWorth,
    },
    protocol::WireFormat,
};

/// Whether a wire format may have a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainGrant {
    /// It reaches too few, or did not pay a while ago.
    Refused,
    /// It may.
    Granted,
    /// It may once this one, which reaches less than half as many, has none any more.
    InPlaceOf(WireFormat),
}

/// What frames of one wire format came to.
#[derive(Debug)]
struct FormatAccount {
    format: WireFormat,
    worth: WindowWorth,
    chain: Option<Chain>,
}

/// What the frames of a room came to.
#[derive(Debug, Default)]
pub struct RoomLedger(Vec<FormatAccount>);

impl RoomLedger {
    /// The most wire formats whose frames are chained.
    pub const CHAINS: usize = 4;

    /// The most wire formats that are counted. Clients choose among more, and the one that reaches fewest gives way.
    const FORMATS: usize = 16;

    /// Whether a wire format without a chain may have one.
    pub fn grant(&mut self, format: WireFormat, now_ms: u64) -> ChainGrant {
        let Some(account) = self.0.iter_mut().find(|account| account.format == format) else {
            return ChainGrant::Refused;
        };
        if !account.worth.may_begin(now_ms) {
            return ChainGrant::Refused;
        }
        let deliveries = account.worth.deliveries();
        match self.least() {
            Some((least, worth)) if self.chains() >= Self::CHAINS => {
                if worth < deliveries / 2 {
                    ChainGrant::InPlaceOf(least)
                } else {
                    ChainGrant::Refused
                }
            }
            _ => ChainGrant::Granted,
        }
    }

    /// A wire format has a chain from now on.
    pub fn begin(&mut self, format: WireFormat, now_ms: u64) {
        if let Some(account) = self.account(format) {
            account.worth.begin(now_ms);
            account.chain = Some(Chain::default());
        }
    }

    /// A wire format has no chain any more, and waits before it has one again.
    pub fn end(&mut self, format: WireFormat, now_ms: u64) {
        if let Some(account) = self.account(format) {
            account.worth.end(now_ms);
            account.chain = None;
        }
    }

    /// Ends the chains that do not pay any more.
    pub fn end_idle(&mut self, now_ms: u64) {
        for account in &mut self.0 {
            if !account.worth.may_go_on(now_ms) {
                account.chain = None;
            }
        }
    }

    /// All windows are gone, through no fault of theirs.
    pub fn forget_chains(&mut self) {
        self.0.clear();
    }

    /// Whether a wire format has a chain.
    #[must_use]
    pub fn has_chain(&self, format: WireFormat) -> bool {
        self.0.iter().any(|account| account.format == format && account.chain.is_some())
    }

    /// What the next frame of a chain is, and where it stands. `None`: the chain is gone.
    pub fn step(&mut self, format: WireFormat, in_step: bool) -> Option<(ChainStep, ChainPlace)> {
        let chain = self.account(format)?.chain.as_mut()?;
        Some((chain.step(in_step), chain.place()))
    }

    /// A worker served a compressed frame of a wire format, which saved so many bytes. `place`: where it stands in a chain, if it does.
    pub fn served(
        &mut self,
        format: WireFormat,
        worker: usize,
        place: Option<ChainPlace>,
        reach: FrameReach,
        saved: u64,
        now_ms: u64,
    ) {
        let Some(account) = self.account_or_new(format, reach.receivers, now_ms) else { return };
        account.worth.count(reach.receivers, saved, now_ms);
        if let (Some(chain), Some(place)) = (&mut account.chain, place) {
            chain.served(worker, place, reach);
        }
    }

    /// The receivers of a wire format in a minute.
    #[must_use]
    pub fn deliveries(&self, format: WireFormat) -> u64 {
        self.0.iter().find(|account| account.format == format).map_or(0, |account| account.worth.deliveries())
    }

    /// Of the wire formats with a chain the one that reaches fewest receivers in a minute, and how many.
    #[must_use]
    pub fn least(&self) -> Option<(WireFormat, u64)> {
        let chained = self.0.iter().filter(|account| account.chain.is_some());
        chained.map(|account| (account.format, account.worth.deliveries())).min_by_key(|(_, deliveries)| *deliveries)
    }

    fn chains(&self) -> usize {
        self.0.iter().filter(|account| account.chain.is_some()).count()
    }

    fn account(&mut self, format: WireFormat) -> Option<&mut FormatAccount> {
        self.0.iter_mut().find(|account| account.format == format)
    }

    /// The account of a wire format. Where there are too many, it takes the place of one that reaches fewer in a minute than it does by
    /// one frame; `None`: there is none.
    fn account_or_new(&mut self, format: WireFormat, receivers: u64, now_ms: u64) -> Option<&mut FormatAccount> {
        if let Some(at) = self.0.iter().position(|account| account.format == format) {
            return self.0.get_mut(at);
        }
        if self.0.len() >= Self::FORMATS {
            self.0.iter_mut().for_each(|account| account.worth.turn(now_ms));
            let without_chain = self.0.iter().enumerate().filter(|(_, account)| account.chain.is_none());
            let (at, least) = without_chain.min_by_key(|(_, account)| account.worth.deliveries())?;
            if least.worth.deliveries() >= receivers {
                return None;
            }
            self.0.swap_remove(at);
        }
        self.0.push(FormatAccount { format, worth: WindowWorth::default(), chain: None });
        self.0.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;
    use crate::protocol::{DialectId, Framing};

    /// A wire format that no other spelling has.
    fn format(spelling: u8) -> WireFormat {
        let framing = Framing::websocket(NonZeroU8::new(15)).keeping_window(true);
        WireFormat { dialect: DialectId::NATIVE, spelling, framing }
    }

    fn count(ledger: &mut RoomLedger, format: WireFormat, receivers: u64, now_ms: u64) {
        ledger.served(format, 0, None, FrameReach { receivers, took: 0, stayed: 0 }, 0, now_ms);
    }

    #[test]
    fn a_chain_is_granted_by_the_receivers_of_its_own_format() {
        let mut ledger = RoomLedger::default();
        for second in 0..60 {
            count(&mut ledger, format(0), 1_000, second * 1_000);
            count(&mut ledger, format(1), 3, second * 1_000);
        }
        assert_eq!(ledger.grant(format(1), 60_000), ChainGrant::Refused, "three receivers of many");
        assert_eq!(ledger.grant(format(2), 60_000), ChainGrant::Refused, "none at all");
        assert_eq!(ledger.grant(format(0), 60_000), ChainGrant::Granted);
        ledger.begin(format(0), 60_000);
        assert!(ledger.has_chain(format(0)) && !ledger.has_chain(format(1)));
        assert_eq!(ledger.least(), Some((format(0), 60_000)));
    }

    #[test]
    fn a_format_that_reaches_twice_as_many_takes_the_place_of_another() {
        let mut ledger = RoomLedger::default();
        for spelling in 0..4 {
            count(&mut ledger, format(spelling), 400 + u64::from(spelling), 1_000);
            assert_eq!(ledger.grant(format(spelling), 1_000), ChainGrant::Granted);
            ledger.begin(format(spelling), 1_000);
        }
        count(&mut ledger, format(9), 801, 2_000);
        assert_eq!(ledger.grant(format(9), 2_000), ChainGrant::Refused, "not more than twice as many");
        count(&mut ledger, format(9), 1, 2_000);
        assert_eq!(ledger.grant(format(9), 2_000), ChainGrant::InPlaceOf(format(0)));
        ledger.end(format(0), 2_000);
        assert_eq!(ledger.grant(format(9), 2_000), ChainGrant::Granted);
        ledger.begin(format(9), 2_000);
        count(&mut ledger, format(0), 5_000, 3_000);
        assert_eq!(ledger.grant(format(0), 3_000), ChainGrant::Refused, "it waits before it has one again");
    }

    #[test]
    fn formats_of_few_do_not_keep_one_of_many_from_being_counted() {
        let mut ledger = RoomLedger::default();
        for spelling in 0..=255 {
            count(&mut ledger, format(spelling), 2 + u64::from(spelling == 0), 1_000);
        }
        assert_eq!(ledger.0.len(), RoomLedger::FORMATS);
        assert_eq!(ledger.deliveries(format(0)), 3);
        let many =
            WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing: Framing::websocket(NonZeroU8::new(9)) };
        count(&mut ledger, many, 300, 2_000);
        assert_eq!(ledger.0.len(), RoomLedger::FORMATS);
        assert_eq!(ledger.grant(many, 2_000), ChainGrant::Granted);
    }

    #[test]
    fn each_chain_ends_by_what_it_saves_itself() {
        let mut ledger = RoomLedger::default();
        for spelling in [0, 1] {
            count(&mut ledger, format(spelling), 1_000, 1_000);
            ledger.begin(format(spelling), 1_000);
        }
        for minute in 0..3 {
            let reach = FrameReach { receivers: 1_000, took: 1_000, stayed: 1_000 };
            ledger.served(format(0), 0, None, reach, WindowWorth::SAVED, minute * 60_000 + 10_000);
            ledger.served(format(1), 0, None, reach, 10, minute * 60_000 + 10_000);
            ledger.end_idle(minute * 60_000 + 59_000);
        }
        assert!(ledger.has_chain(format(0)) && !ledger.has_chain(format(1)));
        assert_eq!(ledger.grant(format(1), 190_000), ChainGrant::Refused, "it did not pay");
    }
}
