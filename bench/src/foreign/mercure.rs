//! Mercure's stream: server-sent events of one line of data each (HTML, section 9.2.6), and comments as signs of life.

use super::utterance::Utterance;

/// What the first line or event says; `None`: it is not all there.
pub(super) fn first(bytes: &[u8]) -> Option<(usize, Utterance<'_>)> {
    let line = bytes.iter().position(|&byte| byte == b'\n')?;
    if line == 0 || bytes[0] == b':' {
        return Some((line + 1, Utterance::Nothing));
    }
    let end = bytes.windows(2).position(|window| window == b"\n\n")?;
    let event = std::str::from_utf8(&bytes[..end]).ok();
    let data = event.and_then(|event| event.lines().find_map(|line| line.strip_prefix("data: ")));
    Some((end + 2, data.map_or(Utterance::Wrong, Utterance::Event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_and_comments_are_not() {
        let said = b":\n:\nid: urn:uuid:1\ndata: {\"n\":7}\n\n:\nid: 2";
        let mut rest = &said[..];
        let mut heard = Vec::new();
        while let Some((taken, utterance)) = first(rest) {
            heard.push(utterance);
            rest = &rest[taken..];
        }
        let nothing = || Utterance::Nothing;
        assert_eq!(heard, [nothing(), nothing(), Utterance::Event(r#"{"n":7}"#), nothing()]);
        assert_eq!(rest, b"id: 2");
        assert_eq!(first(b"id: 1\n\n"), Some((7, Utterance::Wrong)));
    }
}
