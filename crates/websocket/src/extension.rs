//! Negotiation of permessage-deflate (RFC 7692 section 7; header grammar: RFC 6455 section 9.1).
//!
//! Owns the `Sec-WebSocket-Extensions` header in both directions. Never agrees to a compression context that outlives a
//! message on the client's side: `client_no_context_takeover` is in every answer.

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

use super::extension_header::{Extension, parse};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// What was agreed for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deflate {
    /// The server compresses with a window of at most 2^this bytes, 9 to 15 (on the client's side 8 to 15).
    pub server_max_window_bits: u8,
    /// The server compresses every message for itself.
    pub server_no_context_takeover: bool,
    /// The client compresses with a window of at most 2^this bytes, 8 to 15; a server's inflater takes all of them.
    pub client_max_window_bits: u8,
}

/// The server's choice among what the client offers, with the value of the answer's header; `None`: no compression.
///
/// Offers are tried in the client's order. One with an unknown, repeated or invalid parameter is declined, as is
/// `server_max_window_bits=8`, which zlib cannot produce. A header line that breaks the grammar offers nothing.
#[must_use]
pub fn answer(headers: &HeaderMap) -> Option<(Deflate, HeaderValue)> {
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    let offers = lines.iter().filter_map(|line| parse(line.to_str().ok()?)).flatten();
    let (parameters, bits) = offers
        .filter(|extension| extension.name.eq_ignore_ascii_case(NAME))
        .filter_map(|extension| Parameters::of(&extension, Side::Offer))
        .find_map(|parameters| {
            let bits = parameters.server_max_window_bits.unwrap_or(15);
            (bits >= 9).then_some((parameters, bits))
        })?;
    let mut value = format!("{NAME}; {CLIENT_NO_CONTEXT_TAKEOVER}");
    if parameters.server_no_context_takeover {
        value += "; ";
        value += SERVER_NO_CONTEXT_TAKEOVER;
    }
    if parameters.server_max_window_bits.is_some() {
        value += &format!("; {SERVER_MAX_WINDOW_BITS}={bits}");
    }
    // `client_max_window_bits` stays out of the answer: the inflater takes every window, there is nothing to restrict.
    let deflate = Deflate {
        server_max_window_bits: bits,
        server_no_context_takeover: parameters.server_no_context_takeover,
        client_max_window_bits: 15,
    };
    Some((deflate, HeaderValue::try_from(value).ok()?))
}

/// A client's offer. [`Offer::default`] is what browsers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Asks the server to compress every message for itself. A client with a [`super::Reader`] needs that unless it
    /// knows the server to do so anyway.
    pub server_no_context_takeover: bool,
    /// Says that the client compresses every message for itself.
    pub client_no_context_takeover: bool,
    /// Asks the server for a smaller window, 8 to 15.
    pub server_max_window_bits: Option<u8>,
    /// Says that the server may ask for a smaller window.
    pub client_max_window_bits: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: true,
        }
    }
}

/// Why a server's answer does not fit the offer: the client fails the connection (RFC 7692 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// The header breaks the grammar, or has parameters that an answer must not have.
    #[error("the server's Sec-WebSocket-Extensions header is malformed")]
    Malformed,
    /// The server answers with an extension that was not offered, or twice with the same.
    #[error("the server answers with an extension that was not offered")]
    NotOffered,
    /// The server's parameters do not fit the offered ones, or cannot be met.
    #[error("the server's permessage-deflate parameters do not fit the offer")]
    Unfit,
}

impl Offer {
    /// The value of the request's `Sec-WebSocket-Extensions` header.
    #[must_use]
    pub fn header(&self) -> String {
        let mut value = NAME.to_owned();
        for (wanted, parameter) in [
            (self.server_no_context_takeover, SERVER_NO_CONTEXT_TAKEOVER),
            (self.client_no_context_takeover, CLIENT_NO_CONTEXT_TAKEOVER),
            (self.client_max_window_bits, CLIENT_MAX_WINDOW_BITS),
        ] {
            if wanted {
                value += "; ";
                value += parameter;
            }
        }
        if let Some(bits) = self.server_max_window_bits {
            value += &format!("; {SERVER_MAX_WINDOW_BITS}={bits}");
        }
        value
    }

    /// What the server agreed to; `None`: no compression.
    ///
    /// # Errors
    /// [`ExtensionError`] if the answer does not fit the offer.
    pub fn agreed(&self, headers: &HeaderMap) -> Result<Option<Deflate>, ExtensionError> {
        let mut answers = Vec::new();
        for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
            answers.extend(line.to_str().ok().and_then(parse).ok_or(ExtensionError::Malformed)?);
        }
        let extension = match &answers[..] {
            [] => return Ok(None),
            [one] if one.name.eq_ignore_ascii_case(NAME) => one,
            _ => return Err(ExtensionError::NotOffered),
        };
        let answer = Parameters::of(extension, Side::Answer).ok_or(ExtensionError::Malformed)?;
        let server_max_window_bits = answer.server_max_window_bits.unwrap_or(15);
        let client_max_window_bits = answer.client_max_window_bits.flatten().unwrap_or(15);
        let fits = (answer.server_no_context_takeover || !self.server_no_context_takeover)
            && server_max_window_bits <= self.server_max_window_bits.unwrap_or(15)
            && (self.client_max_window_bits || answer.client_max_window_bits.is_none())
            // Eight bits cannot be produced.
            && client_max_window_bits >= 9;
        let agreed = Deflate {
            server_max_window_bits,
            server_no_context_takeover: answer.server_no_context_takeover,
            client_max_window_bits,
        };
        if fits { Ok(Some(agreed)) } else { Err(ExtensionError::Unfit) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Offer,
    Answer,
}

/// The parameters of one permessage-deflate offer or answer.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` if a parameter is unknown, repeated or has a wrong value (RFC 7692 section 7.1).
    fn of(extension: &Extension<'_>, side: Side) -> Option<Self> {
        let mut found = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let new = match *name {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut found.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut found.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => found.server_max_window_bits.replace(window_bits(value?)?).is_none(),
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        // Only an offer may leave it open (section 7.1.2.2).
                        None if side == Side::Offer => None,
                        None => return None,
                    };
                    found.client_max_window_bits.replace(bits).is_none()
                }
                _ => return None,
            };
            if !new {
                return None;
            }
        }
        Some(found)
    }
}

/// 8 to 15, decimal without leading zeros (RFC 7692 section 7.1.2.1).
fn window_bits(value: &str) -> Option<u8> {
    matches!(value, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15").then(|| value.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn answered(lines: &[&str]) -> Option<String> {
        answer(&headers(lines)).map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn offers_are_answered_as_the_rfc_says() {
        let plain = "permessage-deflate; client_no_context_takeover";
        for (offer, expected) in [
            ("permessage-deflate", plain),
            ("Permessage-Deflate", plain),
            ("permessage-deflate; client_max_window_bits", plain),
            ("permessage-deflate; client_max_window_bits=8", plain),
            ("permessage-deflate;client_max_window_bits=\"15\"", plain),
            ("permessage-deflate; client_no_context_takeover", plain),
            (
                "permessage-deflate; server_no_context_takeover",
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            ),
            (
                "permessage-deflate; server_max_window_bits=9",
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
            ),
            (
                "permessage-deflate ; server_max_window_bits = \"1\\5\" ;server_no_context_takeover",
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=15",
            ),
            (", ,x-webkit-deflate-frame, permessage-deflate,", plain),
            ("bzip; level=\"9\", permessage-deflate; unknown, permessage-deflate", plain),
            // Section 7.1.3: a preferred offer that cannot be met, and its fallback.
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", plain),
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10",
                "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
            ),
        ] {
            assert_eq!(answered(&[offer]).as_deref(), Some(expected), "{offer}");
        }
        assert_eq!(answered(&["foo", "permessage-deflate"]).as_deref(), Some(plain));
        assert_eq!(answered(&["permessage-deflate; =", "permessage-deflate"]).as_deref(), Some(plain));
    }

    #[test]
    fn what_cannot_be_met_is_declined() {
        for offer in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=\"10\"x",
            "permessage-deflate; client_max_window_bits=0",
            "permessage-deflate; client_max_window_bits=\" 9\"",
            "permessage-deflate;",
            "permessage-deflate; ,",
            "permessage-deflate x",
            "permessage-deflate, (",
        ] {
            assert_eq!(answered(&[offer]), None, "{offer}");
        }
        let mut binary = HeaderMap::new();
        binary.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_bytes(b"permessage-deflate; \xff").unwrap());
        assert!(answer(&binary).is_none());
        assert!(answer(&HeaderMap::new()).is_none());
    }

    #[test]
    fn every_offer_fits_the_servers_answer() {
        for server_no_context_takeover in [false, true] {
            for bits in [None, Some(8), Some(9), Some(12), Some(15)] {
                let offer = Offer { server_no_context_takeover, server_max_window_bits: bits, ..Offer::default() };
                let answer = answer(&headers(&[&offer.header()]));
                assert_eq!(answer.is_none(), bits == Some(8));
                let mut response = HeaderMap::new();
                response.extend(answer.clone().map(|(_, value)| (SEC_WEBSOCKET_EXTENSIONS, value)));
                assert_eq!(offer.agreed(&response), Ok(answer.map(|(deflate, _)| deflate)));
            }
        }
    }

    #[test]
    fn answers_that_do_not_fit_fail() {
        let offer = Offer { server_no_context_takeover: true, server_max_window_bits: Some(10), ..Offer::default() };
        let fit = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
        assert!(offer.agreed(&headers(&[fit])).is_ok());
        for (answer, error) in [
            ("permessage-deflate; server_max_window_bits=10", ExtensionError::Unfit),
            ("permessage-deflate; server_no_context_takeover", ExtensionError::Unfit),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=11", ExtensionError::Unfit),
            ("permessage-deflate; client_max_window_bits", ExtensionError::Malformed),
            ("permessage-deflate; what", ExtensionError::Malformed),
            ("permessage-deflate;;", ExtensionError::Malformed),
            ("permessage-bzip2", ExtensionError::NotOffered),
            ("permessage-deflate, permessage-deflate", ExtensionError::NotOffered),
        ] {
            assert_eq!(offer.agreed(&headers(&[answer])), Err(error), "{answer}");
        }
        let closed = Offer { client_max_window_bits: false, ..Offer::default() };
        let answer = headers(&["permessage-deflate; client_max_window_bits=10"]);
        assert_eq!(closed.agreed(&answer), Err(ExtensionError::Unfit));
        assert_eq!(Offer::default().agreed(&answer).unwrap().unwrap().client_max_window_bits, 10);
    }
}
