//! The words of every error: where it is, and what to do.

use std::time::Duration;

use super::*;
use crate::dialect::Greet;

#[test]
fn an_unknown_key_is_named_with_what_was_meant() {
    let tables = Settings::default().tables().into_iter().map(|table| table.name).filter(|name| !name.is_empty());
    let tables: Vec<_> = tables.chain(["policy", "legacy", "dialect"]).map(|name| format!("`{name}`")).collect();
    let no_section = format!("rc.toml:1: [broker]: there is no such section; allowed: {}", tables.join(", "));
    for (file, message) in [
        ("\nworkerz = 3", "rc.toml:2: workerz: there is no such key; did you mean `workers`?"),
        ("[limits]\n\nmax_romms = 3", "rc.toml:3: limits.max_romms: there is no such key; did you mean `max_rooms`?"),
        ("max_rooms = 3", "rc.toml:1: max_rooms: there is no such key here; `max_rooms` belongs to `[limits]`"),
        (
            "[limits]\nworkers = 3",
            "rc.toml:2: limits.workers: there is no such key here; `workers` belongs to the top of the file, \
             above every section",
        ),
        ("[drain]\nspeed = 3", "rc.toml:2: drain.speed: there is no such key; allowed: `delay`, `window`, `margin`"),
        ("[limit]\nmax_rooms = 3", "rc.toml:1: [limit]: there is no such section; did you mean `[limits]`?"),
        ("[broker]\nurl = ''", &no_section),
        ("limits = 3", "rc.toml:1: limits: it is a section: write `[limits]` and keys below"),
        ("[policy]\nmatch = 'x'", "rc.toml:1: policy: it is a list: write `[[policy]]`, once for each"),
        (
            "[[policies]]\nmatch = 'x'",
            "rc.toml:1: [[policies]]: there is no such list of tables; allowed: `[[policy]]`, `[[legacy]]`, `[[dialect]]`",
        ),
        ("policy = [3]", "rc.toml:1: policy: it is a list of tables: write `[[policy]]` and keys below"),
        (
            "[[policy]]\nmatch = 'x'\nconflat = 'key'",
            "rc.toml:3: policy.conflat: there is no such key; did you mean `conflate`?",
        ),
    ] {
        assert_eq!(refusal(file), message, "{file}");
    }
}

#[test]
fn a_bad_value_is_named_with_what_is_allowed() {
    for (file, message) in [
        ("workers = 0", "rc.toml:1: workers = 0: it is out of range; allowed: 1 to 1024"),
        ("workers = 1.5", "rc.toml:1: workers = a number with a point: it is not a whole number; allowed: 1 to 1024"),
        (
            "dev = 'yes'",
            "rc.toml:1: dev = \"yes\": it is neither true nor false: write `true`; allowed: `true` or `false`",
        ),
        (
            "[timeouts]\nping = 25",
            "rc.toml:2: timeouts.ping = 25: it has no unit: write `25s` for seconds, `25ms` for milliseconds; \
             allowed: 1s to 1h (units ms, s, m, h, d)",
        ),
        (
            "[default_policy]\nbatch_window = '61s'",
            "rc.toml:2: default_policy.batch_window = \"61s\": it is out of range; \
             allowed: 0ms to 1m (units ms, s, m, h, d)",
        ),
        (
            "[[policy]]\nmatch = 'x'\nslow = 'conflat'",
            "rc.toml:3: policy.slow = \"conflat\": it is not one of the words (`conflate` perhaps?); \
             allowed: `gap`, `conflate`, `close`",
        ),
        (
            "[[policy]]\nmatch = []",
            "rc.toml:2: policy.match = []: it matches nothing; allowed: a list of patterns, `*` for any characters, \
             `?` for one, `[a-z]` for one of these, `{a,b}` for either",
        ),
        (
            "\n[[policy]]\nslow = 'gap'",
            "rc.toml:2: policy: it has no `match`: write `match = [\"trip:*\"]`, the rooms that it is for",
        ),
        ("cert = ''", "rc.toml:1: cert = \"\": it is empty; allowed: the path of a PEM file"),
        ("log = '${FORMAT}'", "rc.toml:1: log: the variable FORMAT is not set; set it, or write `${FORMAT:-default}`"),
    ] {
        assert_eq!(refusal(file), message, "{file}");
    }
    for (pattern, why) in [
        ("trip:[", "it is not a pattern: "),
        ("a b", "no room's name contains ' '"),
        ("", "a pattern must not be empty; `*` matches every room"),
    ] {
        let error = refusal(&format!("[[policy]]\nmatch = ['*', '{pattern}']"));
        assert!(error.starts_with(&format!("rc.toml:2: policy.match = [\"*\", \"{pattern}\"]: {why}")), "{error}");
    }
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    for (file, line) in [("a = 1\nb = \n", 2), ("a = 1\na = 2", 2), ("[limits\n", 1), ("\n\n= 3", 3)] {
        let error = refusal(file);
        assert!(error.starts_with(&format!("rc.toml:{line}: it is not TOML: ")), "{error}");
    }
}

#[test]
fn all_problems_are_said_at_once() {
    let error = merged(
        &[("workers", "x"), ("listen", "example.com:80")],
        &[("ROOMCAST_LOG", "xml"), ("ROOMCAST_WORKER", "3")],
        "b = 1\nkez = 2\n[limits]\nmax_rooms = 0",
    )
    .expect_err("seven problems");
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 7, "{error}");
    assert!(lines.iter().any(|line| line.starts_with("rc.toml:2: kez: there is no such key; did you mean `key`?")));
    assert!(lines.contains(&"ROOMCAST_LOG=\"xml\": it is not one of the words; allowed: `json`, `text`, `console`"));
    assert!(lines.contains(&"ROOMCAST_WORKER: no key has this variable; did you mean ROOMCAST_WORKERS?"));
    assert!(lines.contains(&"--workers \"x\": it is not a whole number; allowed: 1 to 1024"));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("--listen \"example.com:80\": its host is not an IP address; allowed: ")),
        "{error}"
    );
}

#[test]
fn a_bad_value_is_an_error_even_if_another_layer_overrides_it() {
    assert!(merged(&[("workers", "2")], &[], "workers = 0").is_err());
}

#[test]
fn a_legacy_table_that_cannot_work_is_refused_with_its_lines() {
    let table = |rest: &str| format!("[[legacy]]\nchannels = ['trip:*']\nroom = 'r'\ntopic = 't'\n{rest}");
    assert_eq!(merged(&[], &[], &table("")).expect("a good table").settings.legacy.len(), 1);
    for (text, message) in [
        (table("datta = ''"), "rc.toml:5: legacy.datta: there is no such key; did you mean `data`?"),
        (
            table("data = 'a'"),
            "rc.toml:5: legacy.data = \"a\": a JSON pointer begins with `/`; allowed: a JSON pointer (RFC 6901) such as \
             `/data/0`, or an empty text",
        ),
        (
            table("key = '{chanel}'"),
            "rc.toml:5: legacy.key = \"{chanel}\": it must not contain `{chanel}`; allowed: text with `{channel}`, \
             `{channel:N}` (what the Nth `*` stands for) and `{/json/pointer}`",
        ),
        (
            table("key = '{channel:2}'"),
            "rc.toml:5: legacy.key = \"{channel:2}\": `{channel:2}` needs as many `*` in each of `channels`",
        ),
        (
            table("encoding = 'text'\nkey = '{/a}'"),
            "rc.toml:6: legacy.key = \"{/a}\": a text has no values to point to; use `encoding = \"json\"`",
        ),
        (
            "[[legacy]]\nchannels = 'a[b]'\nroom = 'r'\ntopic = 't'".to_owned(),
            "rc.toml:2: legacy.channels = \"a[b]\": it must not contain '['; allowed: a channel's name, `*` for any \
             characters, none of `? [ ] \\`; several as a list, or with commas between; `none` for an empty list",
        ),
        (
            "[[legacy]]\nchannels = []\nroom = 'r'\ntopic = 't'".to_owned(),
            "rc.toml:2: legacy.channels = []: it names no channel",
        ),
        (
            "[[legacy]]\nchannels = ['a']\nroom = 'a {channel}'\ntopic = 't'".to_owned(),
            "rc.toml:3: legacy.room = \"a {channel}\": it makes no room names: a room name must not contain ' ': no control \
             characters, white space or braces",
        ),
        (
            "[[legacy]]\nchannels = ['a']\ntopic = 't'".to_owned(),
            "rc.toml:1: legacy: it has no `room`: write for example `room = \"trip:{channel:1}\"`",
        ),
        ("[legacy]\nroom = 'r'".to_owned(), "rc.toml:1: legacy: it is a list: write `[[legacy]]`, once for each"),
    ] {
        assert_eq!(refusal(&text), message, "{text}");
    }
}

#[test]
fn how_a_dialect_begins_is_checked_with_its_lines() {
    let dialect = |keys: &str, rest: &str| {
        format!("[[dialect]]\nname = 'd'\nenvelope = 'socketio'\n{keys}\n[[dialect.event]]\nwrite = '[\"e\"]'\n{rest}")
    };
    let message = |on: &str, write: &str| format!("[[dialect.message]]\non = '{on}'\n{write}");
    let begins = "rooms = ['a:{query:a}']\ngreet = 'in_room'\ncontinue_after = '{query:after}'\nheartbeat = '5s'";
    let welcome = message("welcome", r#"write = '["hi", "{replayed}", "{claim:name}"]'"#);
    let beat = message("heartbeat", r#"write = '["beat", "{now}"]'"#);
    let good = merged(&[], &[], &dialect(begins, &format!("{welcome}\n{beat}"))).expect("a good dialect").settings;
    let description = &good.dialects[0];
    assert_eq!((description.greet, description.heartbeat), (Greet::InRoom, Some(Duration::from_secs(5))));
    assert!(description.names_claims());
    for (text, why) in [
        (dialect("greet = 'in_room'", ""), "rc.toml:4: dialect.greet = \"in_room\": it has no `rooms`"),
        (
            dialect("continue_after = '{query:a}'", ""),
            "rc.toml:4: dialect.continue_after = \"{query:a}\": it has no `rooms`",
        ),
        (
            dialect("continue_after = '{/a}'", ""),
            "rc.toml:4: dialect.continue_after = \"{/a}\": it must not contain `{/a}`",
        ),
        (
            dialect("rooms = ['a:{claim:}']", ""),
            "rc.toml:4: dialect.rooms = [\"a:{claim:}\"]: `{claim:…}` needs the name",
        ),
        (dialect("heartbeat = '5s'", ""), "rc.toml:4: dialect.heartbeat = \"5s\": a sign of life needs both"),
        (dialect("", &beat), "rc.toml:1: dialect: a sign of life needs both"),
        (dialect("", &welcome), "rc.toml:9: dialect.message.write = \"[\\\"hi\\\""),
        (dialect("", &message("pong", "")), "rc.toml:8: dialect.message: it has no `write`: write for example"),
        (
            dialect("", &message("pong", "ack = '{}'")),
            "rc.toml:9: dialect.message.ack = \"{}\": in Socket.IO each message is an array",
        ),
        (
            dialect("", &message("pong", "ack = '[\"{code}\"]'")),
            "rc.toml:9: dialect.message.ack = \"[\\\"{code}\\\"]\": `{code}` has no meaning here",
        ),
        (
            dialect("", &message("pong", "ack = '[]'")).replace("envelope = 'socketio'", "paths = ['/d']"),
            "rc.toml:9: dialect.message.ack = \"[]\": only Socket.IO has acknowledgements",
        ),
        (
            dialect("", &format!("{0}\n{0}", message("pong", "ack = '[]'"))),
            "rc.toml:11: dialect.message.on = \"pong\": another message is for this already",
        ),
    ] {
        let error = refusal(&text);
        assert!(error.starts_with(why), "{text}\n{error}");
    }
}
