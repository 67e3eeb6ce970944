//! A request's head is read the same whatever follows it and however it comes, within its limits; every shorter beginning of it
//! asks for more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::testing::transport::head::{Head, HeadError, MAX_HEADERS, asks_for_websocket};

/// What was read, as text.
fn shown(result: Result<Option<Head>, HeadError>) -> Result<Option<String>, HeadError> {
    result.map(|head| head.map(|head| format!("{head:?}")))
}

fuzz_target!(|data: &[u8]| {
    let [limit, text @ ..] = data else { return };
    let limit = usize::from(*limit) * 16;
    let result = Head::parse(text, limit);
    if let Err(error) = &result {
        assert!(matches!(error.status(), 400 | 431) && !error.to_string().is_empty());
    }
    let Ok(Some(head)) = result else {
        // Nothing is a head only because more is there.
        if text.len() <= limit {
            for end in (0..text.len()).step_by(1 + text.len() / 16) {
                assert!(!matches!(Head::parse(&text[..end], limit), Ok(Some(_))), "{end} bytes are a head");
            }
        }
        return;
    };
    let len = head.len;
    assert!(len > 0 && len <= limit.min(text.len()) && text[..len].ends_with(b"\n"));
    assert!(head.headers.len() <= MAX_HEADERS && head.version <= 1);
    assert_eq!(head.is_websocket(), head.version == 1 && head.method == "GET" && asks_for_websocket(&head.headers));
    let whole = shown(Ok(Some(head)));
    assert_eq!(shown(Head::parse(&text[..len], len)), whole, "the head alone, at its very limit");
    let longer = [&text[..len], b"\0\r\n\r\nGET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(shown(Head::parse(&longer, longer.len())), whole, "another request behind it");
    for end in (0..len).step_by(1 + len / 32) {
        assert_eq!(shown(Head::parse(&text[..end], limit)), Ok(None), "the first {end} bytes of {len}");
    }
    let request = Head::parse(text, limit).ok().flatten().map(Head::into_request).expect("it was a head");
    assert!(request.headers().len() <= MAX_HEADERS);
});
