//! Every kind of value, good and bad.

use std::time::Duration;

use super::*;
use crate::config::raw::Raw;

fn text(text: &str) -> Raw {
    Raw::Text(text.to_owned())
}

#[test]
fn sizes() {
    let kind = Bytes(KIB..=GIB);
    for (raw, bytes) in [
        (text("1024"), KIB),
        (text("64KiB"), 64 * KIB),
        (text("64 kib"), 64 * KIB),
        (text("16MiB"), 16 * MIB),
        (text("1GiB"), GIB),
        (text("2048B"), 2048),
        (Raw::Integer(4096), 4096),
    ] {
        assert_eq!(kind.parse(&raw), Ok(bytes), "{raw:?}");
    }
    for (raw, why) in [
        (text("1023"), "it is out of range"),
        (text("2GiB"), "it is out of range"),
        (text("99999999999GiB"), "it is out of range"),
        (Raw::Integer(-1), "it is out of range"),
        (text("64KB"), "\"KB\" is ambiguous, write KiB, MiB or GiB"),
        (text("64XiB"), "it is not a size"),
        (text("KiB"), "it is not a size"),
        (text("-1KiB"), "it is not a size"),
        (text("1.5MiB"), "it is not a size"),
        (text(""), "it is not a size"),
        (Raw::Bool(true), "it is not a size"),
    ] {
        assert_eq!(kind.parse(&raw), Err(why.to_owned()), "{raw:?}");
    }
    assert_eq!(kind.allowed(), "1KiB to 1GiB");
    for bytes in [0, 1000, KIB, 1500 * KIB, MIB, 3 * GIB] {
        let written = Bytes(0..=usize::MAX).render(&bytes).map(|toml| toml.trim_matches('"').to_owned());
        assert_eq!(Bytes(0..=usize::MAX).parse(&text(&written.unwrap_or_default())), Ok(bytes));
    }
}

#[test]
fn durations() {
    let kind = Time(Duration::ZERO..=Duration::from_secs(86_400));
    for (raw, millis) in [
        (text("200ms"), 200),
        (text("25s"), 25_000),
        (text("5m"), 300_000),
        (text("2 h"), 7_200_000),
        (text("1d"), 86_400_000),
        (text("1m30s"), 90_000),
        (text("1h 30m"), 5_400_000),
        (text("1.5s"), 1_500),
        (text("1.5h"), 5_400_000),
        (text(".5s"), 500),
        (text("1.s"), 1_000),
        (text("+1s"), 1_000),
        (text("2500us"), 3),
        (text("1500\u{b5}s"), 2),
        (text("1\u{3bc}s"), 1),
        (text("1ns"), 1),
        (text("0.0000000000000000000001s"), 0),
        (text("-0s"), 0),
        (text("0s"), 0),
        (text("0"), 0),
        (Raw::Integer(0), 0),
    ] {
        assert_eq!(kind.parse(&raw), Ok(Duration::from_millis(millis)), "{raw:?}");
    }
    for (raw, why) in [
        (text("25"), "it has no unit: write `25s` for seconds, `25ms` for milliseconds"),
        (Raw::Integer(25), "it has no unit: write `25s` for seconds, `25ms` for milliseconds"),
        (text("25h"), "it is out of range"),
        (text("99999999999999999999s"), "it is out of range"),
        (text("9999999999999999999999999999999999999999999d"), "it is out of range"),
        (text("18446744073709551615d"), "it is out of range"),
        (text("-5s"), "it is out of range"),
        (text("-"), "it is not a duration"),
        (text("--5s"), "it is not a duration"),
        (text("1s-5s"), "it is not a duration"),
        (text(".s"), "it is not a duration"),
        (text("1.5.s"), "it is not a duration"),
        (text("s"), "it is not a duration"),
        (text(""), "it is not a duration"),
        (text("5 parsecs"), "it is not a duration"),
        (text("1m30"), "it has no unit: write `30s` for seconds, `30ms` for milliseconds"),
        (text("1.2.3s"), "it is not a duration"),
        (text("1s,"), "it is not a duration"),
        (Raw::Other("number with a point"), "it is not a duration"),
    ] {
        assert_eq!(kind.parse(&raw), Err(why.to_owned()), "{raw:?}");
    }
    assert_eq!(kind.allowed(), "0ms to 1d (units ms, s, m, h, d)");
    // Elsewhere 0 often means "without a limit": where there is always one, that is said.
    let bounded = Time(Duration::from_millis(100)..=Duration::from_secs(600));
    for none in [text("0"), text("0s"), text("0m0.0s"), Raw::Integer(0)] {
        let why = "0 switches nothing off here: write 100ms or more, 10m at most, or leave it out for its default";
        assert_eq!(bounded.parse(&none), Err(why.to_owned()), "{none:?}");
    }
    assert_eq!(bounded.parse(&text("99ms")), Err("it is out of range".to_owned()));
    for (given, nearest) in [
        ("99ms", Some("100ms")),
        ("100us", Some("100ms")),
        ("1.5h", Some("10m")),
        ("-1s", None),
        ("0", None),
        ("1", None),
    ] {
        assert_eq!(bounded.nearest(&text(given)), nearest.map(text), "{given}");
    }
    assert_eq!(kind.render(&Duration::from_millis(1500)), Some("\"1500ms\"".to_owned()));
    assert_eq!(kind.render(&Duration::from_secs(90)), Some("\"90s\"".to_owned()));
}

#[test]
fn numbers_switches_and_words() {
    let count = Count(1..=100_u32);
    assert_eq!(count.parse(&text("100")), Ok(100));
    assert_eq!(count.parse(&Raw::Integer(1)), Ok(1));
    assert_eq!(count.parse(&text("0")), Err("it is out of range".to_owned()));
    assert_eq!(count.parse(&Raw::Integer(1 << 40)), Err("it is out of range".to_owned()));
    assert_eq!(count.parse(&text("four")), Err("it is not a whole number".to_owned()));
    assert_eq!(Switch.parse(&text("true")), Ok(true));
    assert_eq!(Switch.parse(&Raw::Bool(false)), Ok(false));
    for (word, switch) in [("1", true), ("t", true), ("True", true), ("0", false), ("F", false), ("FALSE", false)] {
        assert_eq!(Switch.parse(&text(word)), Ok(switch), "{word}");
    }
    for (word, meant) in [("yes", ": write `true`"), ("ON", ": write `true`"), ("off", ": write `false`"), ("2", "")] {
        assert_eq!(Switch.parse(&text(word)), Err(format!("it is neither true nor false{meant}")), "{word}");
    }
    let words = Choice(&[("topic", 1), ("key", 2)]);
    assert_eq!(words.parse(&text("key")), Ok(2));
    assert_eq!(words.parse(&text("KEY")), Ok(2), "as others write levels of their logs");
    assert_eq!(words.parse(&text("tpoic")), Err("it is not one of the words (`topic` perhaps?)".to_owned()));
    assert_eq!(words.parse(&text("value")), Err("it is not one of the words".to_owned()));
    let never = OrWord("never", Bytes(0..=KIB));
    assert_eq!(never.parse(&text("never")), Ok(None));
    assert_eq!(never.parse(&text("256")), Ok(Some(256)));
    assert_eq!(never.render(&None), Some("\"never\"".to_owned()));
    assert_eq!(never.allowed(), "0 to 1KiB, or `never`");
}

#[test]
fn lists() {
    let list = List(Text);
    let words = |words: &[&str]| Ok(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(list.parse(&text("a, b,c")), words(&["a", "b", "c"]));
    assert_eq!(list.parse(&text("a, b,")), words(&["a", "b"]));
    assert_eq!(list.parse(&text(",")), Err("it is empty".to_owned()));
    assert_eq!(list.parse(&text("none")), words(&[]));
    assert_eq!(list.parse(&Raw::List(vec![])), words(&[]));
    assert_eq!(list.parse(&Raw::List(vec![text("a,b"), text("none")])), words(&["a,b", "none"]));
    assert_eq!(list.parse(&text("a,, ,b")), words(&["a", "b"]));
    assert_eq!(list.parse(&text("")), Err("it is empty".to_owned()));
    assert_eq!(list.parse(&Raw::List(vec![text("a"), text("")])), Err("it is empty".to_owned()));
    assert_eq!(list.parse(&Raw::Integer(1)), Err("it is not a list".to_owned()));
    assert_eq!(list.render(&vec!["a\"b".to_owned()]), Some("['a\"b']".to_owned()));
}
