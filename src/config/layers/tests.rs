//! Precedence, and what is read of each layer.

mod refusals;
mod secrets;

use std::time::Duration;

use super::*;
use crate::{
    config::{KIB, LogLevel},
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
