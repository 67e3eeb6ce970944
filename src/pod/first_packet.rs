//! What becomes of a QUIC client's first packet, before anything is spent on a handshake.
//!
//! A UDP packet comes from wherever it says. Always holds: what comes from an address that has proved nothing is never held against the same
//! address once it has: it must prove itself (Retry, RFC 9000 section 8.1.2), which costs it a round trip and the pod no memory; only then it
//! is refused.

use std::net::IpAddr;

use crate::{config::counted_by, hub::Services};

/// So many handshakes may be under way, however few connections a pod may have.
const FEWEST_HANDSHAKES: usize = 256;

/// What becomes of a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstPacket {
    /// A handshake begins.
    Welcome,
    /// The client must prove its address, and come again.
    Retry,
    /// It is refused.
    Refuse,
}

/// Judges a first packet from an address, which it has `proved` or not, while so many handshakes are under way.
pub(super) fn judge(services: &Services, address: IpAddr, proved: bool, underway: usize) -> FirstPacket {
    let (config, pressures) = (services.config.load(), &services.metrics.pressures);
    if services.gate.is_shut() {
        return FirstPacket::Refuse;
    }
    if !config.addresses.may_come(address) && !config.addresses.trusts(address) {
        pressures.addresses.refused_one(&counted_by(address));
        return FirstPacket::Refuse;
    }
    if services.memory.is_full() {
        pressures.process_memory.refused(1);
        return FirstPacket::Refuse;
    }
    if underway >= most_handshakes(config.max_connections) {
        pressures.quic_handshakes.refused(1);
        return FirstPacket::Refuse;
    }
    if !proved && underway >= config.webtransport.retry_above {
        return FirstPacket::Retry;
    }
    match (services.addresses.may_begin_quic(address, proved, &config.addresses), proved) {
        (true, _) => FirstPacket::Welcome,
        (false, false) => FirstPacket::Retry,
        (false, true) => {
            pressures.addresses.refused_one(&counted_by(address));
            FirstPacket::Refuse
        }
    }
}

/// How many handshakes over QUIC may be under way: as many as may be connections, so that all can come at once.
#[must_use]
pub(super) fn most_handshakes(max_connections: usize) -> usize {
    max_connections.max(FEWEST_HANDSHAKES)
}
