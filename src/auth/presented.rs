//! Where a request carries its token.
//!
//! A browser's WebSocket cannot set `Authorization`: it offers a subprotocol that holds the token, or puts it into the
//! query. Never judges the token.

use http::{HeaderMap, HeaderValue, header};

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

/// What is done where a request carries tokens that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Several {
    /// It is not clear which one is meant: the request is refused.
    Refuse,
    /// The first of `Authorization`, query and subprotocol, as a server that looks for its token in one place after the other.
    TakeFirst,
}

/// The token of a request: `Authorization: Bearer` (RFC 6750 section 2.1), the query's `token` or `also`, or a subprotocol. One of
/// `also`, which the application names for its own, is it whatever else is there. An empty one in the query is none, and the same one
/// twice is one.
///
/// # Errors
/// [`PresentError`].
pub fn presented(
    headers: &HeaderMap,
    query: Option<&str>,
    also: Option<&str>,
    several: Several,
) -> Result<Option<Token>, PresentError> {
    let parameters = |wanted: &str| {
        let wanted = wanted.to_owned();
        form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .filter(move |(name, value)| *name == *wanted && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    };
    let own: Vec<String> = also.into_iter().flat_map(parameters).collect();
    if !own.is_empty() {
        return one(own, several);
    }
    let mut found = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        match bearer(value) {
            Ok(token) => found.extend(token.map(str::to_owned)),
            // It may be another's than the client's.
            Err(_) if several == Several::TakeFirst => {}
            Err(error) => return Err(error),
        }
    }
    found.extend(parameters("token"));
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    let offers = offers.flat_map(|line| line.split(','));
    found.extend(offers.filter_map(|offer| offer.trim().strip_prefix(SUBPROTOCOL_PREFIX)).map(str::to_owned));
    one(found, several)
}

/// The token of an `Authorization` header. `None`: another scheme, which is the affair of a proxy before the pod (RFC 9110 section
/// 11.1), and says nothing of a token.
fn bearer(value: &HeaderValue) -> Result<Option<&str>, PresentError> {
    let value = value.to_str().map_err(|_| PresentError::NoBearer)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    match (scheme.eq_ignore_ascii_case("bearer"), token.trim()) {
        (false, _) => Ok(None),
        (true, "") => Err(PresentError::NoBearer),
        (true, token) => Ok(Some(token)),
    }
}

fn one(found: Vec<String>, several: Several) -> Result<Option<Token>, PresentError> {
    let mut found = found.into_iter();
    let Some(first) = found.next() else { return Ok(None) };
    match several {
        Several::Refuse if found.any(|other| other != first) => Err(PresentError::Several),
        Several::Refuse | Several::TakeFirst => Ok(Some(Token::new(first))),
    }
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
        presented(&map, query, Some("channel_token"), Several::Refuse).map(|token| token.map(|t| t.reveal().to_owned()))
    }

    fn first(headers: &[(&str, &str)], query: &str) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let found = presented(&map, Some(query), Some("channel_token"), Several::TakeFirst).unwrap();
        found.map(|token| token.reveal().to_owned())
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
        // An empty one is what a page writes that has none.
        assert_eq!(of(&[], Some("token=")), Ok(None));
        assert_eq!(of(&[], Some("channel_token=&token=a")), Ok(Some("a".to_owned())));
    }

    #[test]
    fn two_tokens_or_none_where_one_is_announced_are_refused() {
        let bearer = ("authorization", "Bearer a");
        let other = ("authorization", "Bearer b");
        assert_eq!(of(&[bearer, other], None), Err(PresentError::Several));
        assert_eq!(of(&[bearer], Some("token=b")), Err(PresentError::Several));
        assert_eq!(of(&[], Some("channel_token=a&channel_token=b")), Err(PresentError::Several));
        assert_eq!(of(&[], Some("token=a&token=b")), Err(PresentError::Several));
        let basic = ("authorization", "Basic YTpi");
        assert_eq!(of(&[basic], None), Ok(None), "a proxy's own");
        assert_eq!(of(&[basic], Some("token=a")), Ok(Some("a".to_owned())));
        assert_eq!(of(&[basic, bearer], None), Ok(Some("a".to_owned())));
        assert_eq!(of(&[("authorization", "Bearer")], None), Err(PresentError::NoBearer));
    }

    #[test]
    fn the_same_token_twice_is_one_and_the_applications_own_place_wins() {
        let (a, b) = (("authorization", "Bearer a"), ("authorization", "Bearer b"));
        let offer = ("sec-websocket-protocol", "roomcast.token.a");
        assert_eq!(of(&[a, a, offer], Some("token=a")), Ok(Some("a".to_owned())));
        assert_eq!(of(&[b], Some("token=c&channel_token=a")), Ok(Some("a".to_owned())));
    }

    #[test]
    fn where_the_first_is_taken_the_header_comes_before_the_query() {
        let b = ("authorization", "Bearer b");
        assert_eq!(first(&[b], "token=a").as_deref(), Some("b"));
        assert_eq!(first(&[], "token=a&token=b").as_deref(), Some("a"));
        assert_eq!(first(&[b], "channel_token=a&token=c").as_deref(), Some("a"));
        assert_eq!(first(&[("authorization", "Bearer ")], "token=a").as_deref(), Some("a"));
        assert_eq!(first(&[("authorization", "Bearer")], "token="), None);
    }
}
