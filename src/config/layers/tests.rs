//! Precedence, and the words of every error.

use std::time::Duration;

use super::*;
use crate::{
    config::{KIB, LogLevel},
    dialect::Greet,
    model::{Access, Conflate, PresenceMode, Retain},
};

fn merged(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Merged, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let (flags, variables) = (flags.iter().map(own).collect(), variables.iter().map(own).collect());
    merge(&flags, &variables, Some((Path::new("rc.toml"), file))).map_err(|error| error.to_string())
}

fn refusal(file: &str) -> String {
    merged(&[], &[], file).expect_err(file)
}

#[test]
fn nothing_set_is_the_defaults() {
    assert_eq!(merged(&[], &[], ""), Ok(Merged::default()));
    assert_eq!(merge(&Flags::new(), &Variables::new(), None).map(|merged| merged.settings), Ok(Settings::default()));
}

#[test]
fn flag_over_variable_over_file_over_default() {
    let key = "limits.max_rooms";
    let (flag, variable) = ([(key, "1")], [("ROOMCAST_LIMITS_MAX_ROOMS", "2")]);
    let file = "\n[limits]\nmax_rooms = 3\n";
    for (flags, variables, file, rooms, place) in [
        (&flag[..], &variable[..], file, 1, Some(Location::Flag("limits-max-rooms".to_owned()))),
        (&flag[..], &[][..], file, 1, Some(Location::Flag("limits-max-rooms".to_owned()))),
        (&[][..], &variable[..], file, 2, Some(Location::Variable("ROOMCAST_LIMITS_MAX_ROOMS".to_owned()))),
        (&[][..], &[][..], file, 3, Some(Location::Line("rc.toml".into(), 3))),
        (&[][..], &[][..], "", 128, None),
    ] {
        let merged = merged(flags, variables, file).expect("good layers");
        assert_eq!(merged.settings.limits.max_rooms, rooms);
        assert_eq!(merged.places.get(key), place.as_ref());
    }
}

#[test]
fn every_kind_of_value_in_a_file() {
    let file = r#"
        dev = false
        listen = [":8443", "127.0.0.1:8444"]
        internal_listen = "none"
        api_keys = "${KEYS}"
        origins = ["https://${HOST:-app.example.com}", "http://localhost:*"]
        workers = "${WORKERS:-3}"
        log_level = "debug"

        [limits]
        max_message = 0x400
        max_rooms = 1_000

        [timeouts]
        tls = "500ms"

        [compression]
        enabled = "${COMPRESS:-false}"

        [default_policy]
        compress_from = "never"
        retain_remove_topics = ["gone", "left"]
    "#;
    let settings = merged(&[], &[("KEYS", "one,two")], file).expect("a good file").settings;
    let general = &settings.general;
    assert_eq!(general.dev, Some(false));
    assert_eq!(general.listen.as_ref().map(Vec::len), Some(2));
    assert!(general.internal_listen.is_empty());
    assert_eq!(general.api_keys.as_ref().map(Vec::len), Some(2));
    assert_eq!(general.origins.len(), 2);
    assert_eq!(general.workers, Some(3));
    assert_eq!(general.log_level, LogLevel::Debug);
    assert_eq!(settings.limits.max_message, KIB);
    assert_eq!(settings.limits.max_rooms, 1000);
    assert_eq!(settings.timeouts.tls, Duration::from_millis(500));
    assert!(!settings.compression.enabled);
    assert_eq!(settings.default_policy.compress_from, None);
    assert_eq!(settings.default_policy.retain_remove_topics, ["gone", "left"]);
}

#[test]
fn policies_start_from_the_default_policy_of_all_layers() {
    let file = r#"
        [[policy]]
        match = ["trip:*", "driver:[0-9]"]
        batch_window = "200ms"
        conflate = "key"

        [[policy]]
        match = "{a,b}:*"
        presence = "events"
        publish = "anyone"

        [default_policy]
        history_size = 7
        retain = "topic"
    "#;
    let flags = [("default_policy.history_size", "9")];
    let rules = merged(&flags, &[], file).expect("a good file").settings.policies;
    let [trips, others] = rules.as_slice() else { panic!("two policies: {rules:?}") };
    assert_eq!(trips.patterns.len(), 2);
    assert_eq!(trips.policy.batch_window, Duration::from_millis(200));
    assert_eq!(trips.policy.conflate, Conflate::Key);
    assert_eq!(trips.policy.history_size, 9);
    assert_eq!(trips.policy.retain, Retain::Topic);
    assert_eq!(others.policy.presence, PresenceMode::Events);
    assert_eq!(others.policy.publish, Access::Anyone);
    assert_eq!(others.policy.batch_window, Duration::ZERO);
    assert!(others.patterns.iter().any(|pattern| pattern.matcher().is_match("b:1")), "one pattern, comma and all");
}

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
        ("[drain]\nspeed = 3", "rc.toml:2: drain.speed: there is no such key; allowed: `delay`, `window`"),
        ("[limit]\nmax_rooms = 3", "rc.toml:1: [limit]: there is no such section; did you mean `[limits]`?"),
        ("[broker]\nurl = ''", &no_section),
        ("limits = 3", "rc.toml:1: limits: it is a section: write `[limits]` and keys below"),
        ("[policy]\nmatch = 'x'", "rc.toml:1: policy: it is a list: write `[[policy]]`, once for each"),
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
        ("dev = 'yes'", "rc.toml:1: dev = \"yes\": it is neither true nor false; allowed: `true` or `false`"),
        (
            "[timeouts]\nping = 25",
            "rc.toml:2: timeouts.ping = 25: it has no unit; allowed: 1s to 1h (units ms, s, m, h, d)",
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
    assert!(lines.contains(&"ROOMCAST_LOG=\"xml\": it is not one of the words; allowed: `json`, `text`"));
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
fn secrets_are_not_repeated() {
    let error =
        merged(&[("api_keys", "hunter2 ")], &[("ROOMCAST_API_KEY", "hunter2\u{7}")], "api_keys = ['hunter\t2']");
    let error = error.expect_err("keys that no header can carry");
    assert_eq!(error.lines().count(), 2, "white space around a list's items is not part of them: {error}");
    assert!(!error.contains("hunter"), "{error}");
    assert!(error.starts_with("rc.toml:1: api_keys: it has white space"), "{error}");
    assert!(error.contains("\nROOMCAST_API_KEY: it has white space"), "{error}");
}

#[test]
fn a_whole_number_may_be_written_with_a_point() {
    let merged = merged(
        &[("limits.max_rooms", "64.0")],
        &[("ROOMCAST_LIMITS_MAX_FRAGMENTS", "1e3")],
        "workers = 3.0\nmax_connections = 1.5e+04\n[limits]\nmax_message = 65_536.0",
    );
    let Settings { general, limits, .. } = merged.expect("whole numbers").settings;
    assert_eq!((general.workers, general.max_connections), (Some(3), Some(15_000)));
    assert_eq!((limits.max_rooms, limits.max_fragments, limits.max_message), (64, 1_000, 64 * KIB));
    for file in
        ["workers = 3.5", "workers = inf", "workers = nan", "workers = -3.0", "workers = '3.'", "workers = '3.1'"]
    {
        refusal(file);
    }
}

#[test]
fn a_short_secret_is_refused_unless_it_is_asked_for() {
    let file = "[tokens]\nhmac_secrets = ['${JWT_SECRET:-long-enough-long-enough-long-enough}']";
    let short = [("JWT_SECRET", "hunter2")];
    let error = merged(&[], &short, file).expect_err("7 bytes");
    assert!(
        error.starts_with("rc.toml:2: tokens.hmac_secrets: it has 7 bytes, and HS256 needs at least 32"),
        "{error}"
    );
    assert!(
        error.contains("`tokens.short_secrets = true`") && error.ends_with("; it comes from JWT_SECRET"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    let flag = merged(&[("tokens.hmac_secrets", "hunter2")], &[], file).expect_err("7 bytes");
    assert!(flag.starts_with("--tokens-hmac-secrets: it has 7 bytes") && !flag.contains("comes from"), "{flag}");
    // Which layer asks for it is no matter, nor in which order.
    for (flags, variable, switch) in [
        (&[("tokens.short_secrets", "true")][..], None, ""),
        (&[], Some(("ROOMCAST_TOKENS_SHORT_SECRETS", "true")), ""),
        (&[], None, "\nshort_secrets = true"),
    ] {
        let variables: Vec<_> = short.into_iter().chain(variable).collect();
        let merged = merged(flags, &variables, &format!("{file}{switch}")).expect("asked for");
        assert_eq!(merged.settings.tokens.hmac_secrets[0].reveal(), "hunter2");
    }
    assert!(merged(&[("tokens.short_secrets", "false")], &short, &format!("{file}\nshort_secrets = true")).is_err());
    assert!(merged(&[], &[], file).is_ok());
}

#[test]
fn no_url_shows_a_login_or_a_query() {
    // An error in a table of pointers names the pointer, which no URL is.
    for key in keys().into_iter().filter(|key| !key.allowed.contains("pointer")) {
        let path = key.path();
        for text in [
            "https://ann:s3cret@a.example/b",
            "https://s3cret@a.example/b",
            "https://a.example/b?key=s3cret",
            "https://ann:s3cret@a.example/b?key=s3cret#s3cret",
            "ftp://ann:s3cret@a.example",
            "ann:s3cret@a.example:99999",
            "//ann:s3cret@a.example/b?key=s3cret",
            "https://ann:s3c/r?et@a.example",
            "https://ann:s3cret@a b",
            "redis://ann:s3cret@a.example:1",
            "redis://s3cret@a.example:1",
            "redis://ann:s3cret@a.example:1/x",
            "redis://ann:x?s3cret@a.example:1",
            "redis-sentinel://ann:s3cret@a.example:1?sentinelPassword=s3cret",
            "redis-sentinel://a.example:1?sentinelServiceName=m&sentinelPassword=s3cret&sentinelUsername=s3cret",
        ] {
            let is_url = key.kind.contains("URL") || key.kind.contains("Redis address") || key.kind.contains("origin");
            let shown = match merged(&[(&path, text)], &[], "") {
                Ok(merged) if is_url => merged.settings.get(&path).expect("it was set"),
                Ok(_) => continue,
                Err(error) => error,
            };
            assert!(!shown.contains("s3cret") && !shown.contains("ann:"), "{path} = {text}: {shown}");
        }
    }
    let list = refusal("origins = ['https://ann:s3cret@a.example', 'https://b.example/?s3cret']");
    assert!(
        list.contains("origins = [\"https://…@a.example\", \"https://b.example/?…\"]: it is not an origin"),
        "{list}"
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    let kubernetes = [
        ("ROOMCAST_SERVICE_HOST", "10.0.0.1"),
        ("ROOMCAST_SERVICE_PORT_WSS", "443"),
        ("ROOMCAST_PORT", "tcp://10.0.0.1:443"),
        ("ROOMCAST_PORT_443_TCP_ADDR", "10.0.0.1"),
        ("ROOMCAST_INTERNAL_SERVICE_HOST", "10.0.0.2"),
        ("ROOMCAST_INTERNAL_PORT_9000_TCP", "tcp://10.0.0.2:9000"),
        ("ROOMCAST_CONFIG", "rc.toml"),
        ("PATH", "/bin"),
    ];
    assert_eq!(merged(&[], &kubernetes, "").map(|merged| merged.settings), Ok(Settings::default()));
    let mine = [("ROOMCAST_POD_NUMBER", "7")];
    assert_eq!(
        merged(&[], &mine, ""),
        Err("ROOMCAST_POD_NUMBER: no key has this variable; `roomcast serve --help` lists them. \
             If it is not meant for the pod, give it a name that does not start with ROOMCAST_"
            .to_owned())
    );
    let used = merged(&[], &mine, "state_dir = '/var/lib/roomcast/${ROOMCAST_POD_NUMBER}'").expect("a used variable");
    assert_eq!(used.settings.general.state_dir, Some("/var/lib/roomcast/7".into()));
}

#[test]
fn flags_and_variables_have_names_of_their_own() {
    let keys = keys();
    let mut flags: Vec<String> = keys.iter().map(Key::flag).collect();
    let mut variables: Vec<String> = keys.iter().map(Key::variable).collect();
    flags.sort();
    flags.dedup();
    variables.sort();
    variables.dedup();
    assert_eq!((flags.len(), variables.len()), (keys.len(), keys.len()));
    assert!(!flags.iter().any(|flag| ["config", "help", "version"].contains(&flag.as_str())));
    assert!(!variables.iter().any(|name| name == CONFIG_VARIABLE || is_service_link(name)));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd_for_an_answer(
        file in "([a-z_.\\[\\]]{0,12}( = (['\"]?[a-z0-9$:,{}*\\[\\]-]{0,9}['\"]?))?\n?){0,8}",
        value in "\\PC{0,12}",
    ) {
        let variables = [("ROOMCAST_LISTEN", value.as_str()), ("ROOMCAST_ORIGIN", &value), ("ROOMCAST_WORKERS", &value)];
        if let Err(error) = merged(&[("timeouts.tls", &value), ("limits.max_head", &value)], &variables, &file) {
            proptest::prop_assert!(!error.is_empty());
        }
    }
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
