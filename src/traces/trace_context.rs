//! What a caller says of the trace that its call is a part of: `traceparent` and `tracestate` (W3C Trace Context, Recommendation of
//! 2021-11-23, sections 3.2 and 3.3). Pure.
//!
//! Always holds: what breaks a rule counts as not said, and never fails a call. A `tracestate` that breaks one is left out alone.

use http::HeaderMap;

/// The header and the metadata of a trace and the caller's span in it.
const TRACEPARENT: &str = "traceparent";

/// The header and the metadata of what tracing systems add.
const TRACESTATE: &str = "tracestate";

/// The bytes of a `traceparent` of version 00. Later versions only append.
const LENGTH: usize = 55;

/// The most entries of a `tracestate` (section 3.3.1.1).
const MAX_ENTRIES: usize = 32;

/// The most bytes of a `tracestate` that are passed on (section 3.3.1.5).
const MAX_STATE: usize = 512;

/// The most bytes of a key and of a value.
const MAX_PART: usize = 256;

/// The name of a trace. Never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// The name of a span in its trace. Never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// The flags of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceFlags(u8);

impl TraceFlags {
    const SAMPLED: u8 = 1;
    /// Of level 2: the name of the trace is random.
    const RANDOM: u8 = 2;

    /// Of a trace that begins here.
    pub const OWN: Self = Self(Self::SAMPLED | Self::RANDOM);

    /// Whether its spans are to be kept.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED != 0
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// The caller's span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteParent {
    /// Its trace.
    pub trace: TraceId,
    /// It.
    pub span: SpanId,
    /// The flags of its trace.
    pub flags: TraceFlags,
    /// What tracing systems added; empty: nothing.
    pub state: String,
}

impl RemoteParent {
    /// As the headers of a request say it; `None`: they say nothing that counts.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(TRACEPARENT).iter();
        // Of two it cannot be told which one is meant.
        let (Some(traceparent), None) = (given.next(), given.next()) else { return None };
        let states = headers.get_all(TRACESTATE).iter().map(http::HeaderValue::as_bytes);
        Self::parse(traceparent.as_bytes(), states)
    }

    /// Reads a `traceparent`, and the `tracestate` beside it, which may come in several pieces.
    #[must_use]
    pub fn parse<'a>(traceparent: &[u8], states: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let (known, rest) = traceparent.split_at_checked(LENGTH)?;
        let [version] = bytes_of(&known[..2])?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        if !is_whole || [2, 35, 52].iter().any(|at| known[*at] != b'-') {
            return None;
        }
        let (trace, span) = (TraceId(bytes_of(&known[3..35])?), SpanId(bytes_of(&known[36..52])?));
        let [flags] = bytes_of(&known[53..])?;
        if trace.0 == [0; 16] || span.0 == [0; 8] {
            return None;
        }
        let flags = TraceFlags(flags & (TraceFlags::SAMPLED | TraceFlags::RANDOM));
        Some(Self { trace, span, flags, state: state_of(states).unwrap_or_default() })
    }
}

/// A span as `traceparent` writes it.
pub(super) fn traceparent(trace: TraceId, span: SpanId, flags: TraceFlags) -> String {
    let (trace, span) = (u128::from_be_bytes(trace.0), u64::from_be_bytes(span.0));
    format!("00-{trace:032x}-{span:016x}-{:02x}", flags.0)
}

/// Bytes in lower-case hexadecimal digits, which alone are allowed.
fn bytes_of<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks(2)) {
        let [high, low] = *pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// The entries of a `tracestate` in their order, without what is empty; `None`: it breaks a rule, or is too long.
fn state_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut keys: Vec<&[u8]> = Vec::new();
    let mut state = String::new();
    for piece in pieces {
        for entry in piece.split(|byte| *byte == b',').map(without_spaces).filter(|entry| !entry.is_empty()) {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let (key, value) = (&entry[..at], &entry[at + 1..]);
            if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MAX_ENTRIES {
                return None;
            }
            keys.push(key);
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(std::str::from_utf8(entry).ok()?);
        }
    }
    (state.len() <= MAX_STATE).then_some(state)
}

fn without_spaces(entry: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = entry.iter().position(|byte| !is_space(byte)).unwrap_or(entry.len());
    let to = entry.iter().rposition(|byte| !is_space(byte)).map_or(from, |last| last + 1);
    &entry[from..to]
}

fn is_key(key: &[u8]) -> bool {
    let begins = key.first().is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let goes_on = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    begins && key.len() <= MAX_PART && key.iter().all(goes_on)
}

fn is_value(value: &[u8]) -> bool {
    !value.is_empty()
        && value.len() <= MAX_PART
        && value.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'=')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// That of the recommendation.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(traceparent: &str) -> Option<RemoteParent> {
        RemoteParent::parse(traceparent.as_bytes(), std::iter::empty())
    }

    fn state(pieces: &[&str]) -> String {
        RemoteParent::parse(EXAMPLE.as_bytes(), pieces.iter().map(|piece| piece.as_bytes())).unwrap().state
    }

    #[test]
    fn the_recommendations_example_is_read() {
        let parent = read(EXAMPLE).unwrap();
        assert_eq!(u128::from_be_bytes(parent.trace.0), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(u64::from_be_bytes(parent.span.0), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(traceparent(parent.trace, parent.span, parent.flags), EXAMPLE);
        assert!(parent.flags.is_sampled() && parent.state.is_empty());
        for (flags, sampled) in [("00", false), ("03", true), ("fe", false), ("ff", true)] {
            let parent = read(&EXAMPLE.replace("-01", &format!("-{flags}"))).unwrap();
            assert_eq!(parent.flags.is_sampled(), sampled, "{flags}");
            assert!(parent.flags.bits() <= 3, "no flag that has no meaning is passed on");
        }
    }

    #[test]
    fn a_later_version_may_append_and_nothing_else_may_differ() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        for good in [later.clone(), format!("{later}-what-the-future-will-be-like")] {
            assert!(read(&good).is_some(), "{good}");
        }
        for bad in [
            String::new(),
            "00".to_owned(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}-00"),
            format!("{EXAMPLE} "),
            format!("{later}.what"),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replacen("00", "0g", 1),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace('-', "_"),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            EXAMPLE.replace("4bf92f", "4bf92é"),
            EXAMPLE.replace("-01", "-0x"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn of_two_traceparents_neither_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(RemoteParent::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(EXAMPLE));
        headers.append(TRACESTATE, HeaderValue::from_static("a=1"));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        assert_eq!(RemoteParent::of(&headers).unwrap().state, "a=1,b=2");
        headers.append(TRACEPARENT, HeaderValue::from_static(EXAMPLE));
        assert_eq!(RemoteParent::of(&headers), None);
    }

    #[test]
    fn a_tracestate_that_breaks_a_rule_is_left_out_alone() {
        assert_eq!(state(&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"]), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
        assert_eq!(state(&[" a=1 ,\t, b@c=x y ", "", "0/d*=~"]), "a=1,b@c=x y,0/d*=~");
        for bad in ["a", "=1", "a=", "A=1", "a=1=2", "a=1,a=2", "a b=1", "a=\u{e9}", "@a=1", "a=1\n"] {
            assert_eq!(state(&[bad]), "", "{bad}");
        }
        let many = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&[&many(32)]), many(32));
        assert_eq!(state(&[&many(33)]), "");
        let long = |bytes: usize| format!("a={}", "v".repeat(bytes));
        assert_eq!((state(&[&long(256)]), state(&[&long(257)])), (long(256), String::new()));
        let (key, value) = ("k".repeat(250), "v".repeat(250));
        assert_eq!(state(&[&format!("{key}={value},a={value}")]), "", "more than 512 bytes");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_ignored(parent in ".{0,80}", state in ".{0,600}") {
            if let Some(read) = RemoteParent::parse(parent.as_bytes(), std::iter::once(state.as_bytes())) {
                prop_assert!(read.state.len() <= MAX_STATE && read.state.is_ascii());
            }
        }

        #[test]
        fn what_is_written_as_the_recommendation_says_is_read(trace in 1u128.., span in 1u64.., flags in 0u8..) {
            let parent = read(&format!("00-{trace:032x}-{span:016x}-{flags:02x}")).unwrap();
            prop_assert_eq!((parent.trace, parent.span), (TraceId(trace.to_be_bytes()), SpanId(span.to_be_bytes())));
            prop_assert_eq!(parent.flags.is_sampled(), flags % 2 == 1);
        }
    }
}
