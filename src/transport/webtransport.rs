//! The WebTransport layer as the pod uses it: `roomcast-webtransport` with the pod's settings, deflaters and disconnects.
//!
//! Owns the translations, and no rule of the protocol.

use roomcast_webtransport::write_chunk;
pub use roomcast_webtransport::{
    AddressValidation, AmplificationGuard, ConnectionIdKeyError, ConnectionIdKeys, ConnectionOrigin, DATAGRAM_PREFIX,
    EndpointSettings, MessageReader, Neighbours, PendingHandshake, Request, STREAM_END, SendState, Session,
    StrayPacket, ValidatedAddress, bind, endpoint_config, pod_in_connection_ids, server_config, write_message,
    write_some,
};

use super::websocket::Deflater;
use crate::{config, model::Disconnect};

/// Appends a chunk whose content is `plain`, compressed for itself if that makes it smaller. Returns whether it is.
pub fn write_compressed(deflater: &mut Deflater, plain: &[u8], out: &mut Vec<u8>) -> bool {
    let deflated = deflater.deflate(plain);
    write_chunk(plain, deflated, out);
    deflated.is_some()
}

/// The same behind the chunks that were compressed before.
pub fn write_next_compressed(deflater: &mut Deflater, plain: &[u8], out: &mut Vec<u8>) -> bool {
    let deflated = deflater.deflate_next(plain);
    write_chunk(plain, deflated, out);
    deflated.is_some()
}

/// Appends a chunk whose content is `plain`, as it is.
pub fn write_stored(plain: &[u8], out: &mut Vec<u8>) {
    write_chunk(plain, None, out);
}

/// The code of a session that is dropped without a close.
pub const DROP_CODE: u32 = Disconnect::Normal.code() as u32;

/// Tells the client that the session is closed and why, and stops sending.
pub fn close(session: &mut Session, disconnect: Disconnect) {
    session.close(disconnect.code().into(), disconnect.reason());
}

impl From<&config::WebTransport> for EndpointSettings {
    fn from(settings: &config::WebTransport) -> Self {
        let config::WebTransport { streams, idle, keep_alive, receive_window, send_window, offload, .. } = *settings;
        Self { streams, idle, keep_alive, receive_window, send_window, offload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_same() {
        let settings = config::WebTransport::default();
        assert_eq!(EndpointSettings::from(&settings), EndpointSettings::default());
    }

    #[test]
    fn a_dropped_session_ends_with_a_code_of_the_protocol() {
        assert_eq!(DROP_CODE, 1000);
    }

    #[test]
    fn what_does_not_shrink_is_stored() {
        let (mut deflater, mut out, mut stored) = (Deflater::new(6, 15), Vec::new(), Vec::new());
        write_compressed(&mut deflater, b"x", &mut out);
        write_stored(b"x", &mut stored);
        assert_eq!(out, stored);
        let long = [b'x'; 1_000];
        out.clear();
        write_compressed(&mut deflater, &long, &mut out);
        assert!(out.len() < 50 && out.ends_with(&[0, 0, 0xff, 0xff]), "{out:?}");
    }
}
