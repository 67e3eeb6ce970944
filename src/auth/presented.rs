//! Where a request carries its token.
//!
//! A browser's WebSocket cannot set `Authorization`: it offers a subprotocol that holds the token, or puts it into the
//! query. Never judges the token.

use http::{HeaderMap, header};

use crate::model::Token;

/// What stands before a token among the offered subprotocols (RFC 6455 section 1.9). A token of base64url and dots is a
/// valid one; it is never answered.
pub const SUBPROTOCOL_PREFIX: &str = "roomcast.token.";

/// Why it is not clear which token is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PresentError {
    /// There are several.
    #[error("the request carries more than one token: send it once, in Authorization, as ?token= or as a subprotocol")]
    Several,
    /// `Authorization` holds no token, although its scheme says so.
    #[error("the Authorization header is for a bearer token and holds none: \"Authorization: Bearer <token>\"")]
    NoBearer,
}

/// The token of a request: `Authorization: Bearer` (RFC 6750 section 2.1), the query's `token` or `also`, or a subprotocol.
///
/// # Errors
/// [`PresentError`].
pub fn presented(headers: &HeaderMap, query: Option<&str>, also: Option<&str>) -> Result<Option<Token>, PresentError> {
    let mut found = None;
    let mut take =
        |token: String| if found.replace(Token::new(token)).is_some() { Err(PresentError::Several) } else { Ok(()) };
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = value.to_str().map_err(|_| PresentError::NoBearer)?;
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        // Another scheme is the affair of a proxy before the pod (RFC 9110 section 11.1), and says nothing of a token.
        if !scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        if token.trim().is_empty() {
            return Err(PresentError::NoBearer);
        }
        take(token.trim().to_owned())?;
    }
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name == "token" || Some(&*name) == also {
            take(value.into_owned())?;
        }
    }
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    for offer in offers.flat_map(|line| line.split(',')) {
        if let Some(token) = offer.trim().strip_prefix(SUBPROTOCOL_PREFIX) {
            take(token.to_owned())?;
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)], query: Option<&str>) -> Result<Option<String>, PresentError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        presented(&map, query, Some("channel_token")).map(|token| token.map(|t| t.reveal().to_owned()))
    }

    #[test]
    fn a_token_comes_in_one_of_three_places() {
        assert_eq!(of(&[], None), Ok(None));
        assert_eq!(of(&[], Some("a=1&tokens=x")), Ok(None));
        for (headers, query) in [
            (vec![("authorization", "Bearer a.b-c_d")], None),
            (vec![("authorization", "bearer  a.b-c_d ")], None),
            (vec![], Some("x=1&token=a.b-c_d")),
            (vec![], Some("token=a%2Eb-c_d")),
            (vec![], Some("EIO=4&channel_token=a.b-c_d")),
            (vec![("sec-websocket-protocol", "roomcast.v1, roomcast.token.a.b-c_d")], None),
            (
                vec![("sec-websocket-protocol", "roomcast.v1"), ("sec-websocket-protocol", "roomcast.token.a.b-c_d")],
                None,
            ),
        ] {
            assert_eq!(of(&headers, query), Ok(Some("a.b-c_d".to_owned())), "{headers:?} {query:?}");
        }
        // An empty token counts as a token: it is refused.
        assert_eq!(of(&[], Some("token=")), Ok(Some(String::new())));
    }

    #[test]
    fn two_tokens_or_none_where_one_is_announced_are_refused() {
        let bearer = ("authorization", "Bearer a");
        assert_eq!(of(&[bearer, bearer], None), Err(PresentError::Several));
        assert_eq!(of(&[bearer], Some("token=a")), Err(PresentError::Several));
        assert_eq!(of(&[], Some("channel_token=a&token=a")), Err(PresentError::Several));
        assert_eq!(of(&[], Some("token=a&token=b")), Err(PresentError::Several));
        let basic = ("authorization", "Basic YTpi");
        assert_eq!(of(&[basic], None), Ok(None), "a proxy's own");
        assert_eq!(of(&[basic], Some("token=a")), Ok(Some("a".to_owned())));
        assert_eq!(of(&[basic, bearer], None), Ok(Some("a".to_owned())));
        assert_eq!(of(&[("authorization", "Bearer")], None), Err(PresentError::NoBearer));
    }
}
