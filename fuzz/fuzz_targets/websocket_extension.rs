//! Whatever header lines a client sends, the server's answer is one that a client can accept; and no answer of a server
//! makes a client agree to what it did not offer.

#![no_main]

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
use libfuzzer_sys::fuzz_target;
use roomcast_websocket::{Offer, answer};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, value);
        }
    }
    if let Some((deflate, value)) = answer(&headers) {
        assert!((9..=15).contains(&deflate.server_max_window_bits));
        let mut response = HeaderMap::new();
        response.append(SEC_WEBSOCKET_EXTENSIONS, value);
        let offer = Offer {
            server_no_context_takeover: deflate.server_no_context_takeover,
            client_no_context_takeover: true,
            server_max_window_bits: Some(deflate.server_max_window_bits),
            client_max_window_bits: false,
        };
        assert_eq!(offer.agreed(&response), Ok(Some(deflate)));
    }
    let offer = Offer { server_no_context_takeover: true, server_max_window_bits: Some(10), ..Offer::default() };
    if let Ok(Some(agreed)) = offer.agreed(&headers) {
        assert!(agreed.server_no_context_takeover && agreed.server_max_window_bits <= 10);
        assert!((9..=15).contains(&agreed.client_max_window_bits));
    }
});
