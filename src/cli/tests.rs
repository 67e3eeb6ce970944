//! What scripts rely on.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{Config, Tls};

fn parsed(line: &str) -> Result<Request, CommandLineError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn served(line: &str) -> Config {
    match parsed(line) {
        Ok(Request::Serve(loader)) => loader.load().unwrap(),
        Ok(_) => panic!("{line}: another command"),
        Err(_) => panic!("{line}: refused"),
    }
}

fn usage(line: &str) -> clap::Error {
    match parsed(line) {
        Err(CommandLineError::Usage(error)) => error,
        _ => panic!("{line}: accepted"),
    }
}

#[test]
fn clap_finds_no_fault() {
    command().debug_assert();
}

#[test]
fn without_a_command_it_is_serve() {
    for line in ["roomcast", "roomcast serve", "roomcast --dev", "roomcast serve --dev", "roomcast --dev=true"] {
        assert!(served(line).dev, "{line}");
    }
    assert_eq!(served("roomcast --workers 3").workers, 3);
}

#[test]
fn the_flags_that_scripts_rely_on() {
    let config = served(
        "roomcast serve --listen 127.0.0.1:1 --plain-listen 127.0.0.1:2 --internal-listen 127.0.0.1:3 --api-key a \
         --api-key b --cert c --key k --workers 2 --anonymous --origin https://x.example --origin https://y.example",
    );
    let ports = [&config.listen, &config.plain_listen, &config.internal_listen]
        .map(|binds| binds.iter().map(|bind| bind.address.port()).collect::<Vec<_>>());
    assert_eq!(ports, [[1], [2], [3]]);
    assert_eq!(config.api_keys.iter().map(config::ApiKey::reveal).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.tls, Some(Tls::Files { cert: "c".into(), key: "k".into() }));
    assert!(config.origins.allow(b"https://x.example") && config.origins.allow(b"https://y.example"));
    assert!(config.anonymous && !config.dev && config.workers == 2);
    for line in
        ["--dev --anonymous=false", "--dev --anonymous false", "--anonymous false --dev", "--dev true --anonymous 0"]
    {
        let config = served(&format!("roomcast {line}"));
        assert!(config.dev && !config.anonymous, "{line}");
    }
    let Ok(Request::Serve(loader)) = parsed("roomcast --anonymous perhaps") else { panic!("a usage error") };
    let error = loader.load().unwrap_err().to_string();
    assert_eq!(error, "--anonymous \"perhaps\": it is neither true nor false; allowed: `true` or `false`");
}

#[test]
fn every_key_is_a_flag_of_both_commands_and_every_flag_says_what_it_does() {
    for name in ["serve", "check-config"] {
        let command = command();
        let command = command.find_subcommand(name).unwrap();
        for key in config::keys() {
            let arg = command.get_arguments().find(|arg| arg.get_long() == Some(&key.flag())).unwrap();
            let help = arg.get_long_help().unwrap().to_string();
            assert!(help.contains(&key.variable()) && help.contains(&key.allowed), "{help}");
            assert!(!arg.get_help().unwrap().to_string().contains('\n'));
        }
    }
    let section = served("roomcast --limits-max-rooms 7 --timeouts-ping 5s --default-policy-batch-window 200ms");
    assert_eq!((section.limits.max_rooms, section.timeouts.ping.as_secs()), (7, 5));
    assert_eq!(section.settings.default_policy.batch_window.as_millis(), 200);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    use clap::error::ErrorKind;
    for (line, kind) in [
        ("roomcast --workerz 3", ErrorKind::UnknownArgument),
        ("roomcast sreve", ErrorKind::InvalidSubcommand),
        ("roomcast serve extra", ErrorKind::UnknownArgument),
        ("roomcast --workers 1 --workers 2", ErrorKind::ArgumentConflict),
        ("roomcast --workers", ErrorKind::InvalidValue),
        ("roomcast completions tcsh", ErrorKind::InvalidValue),
        ("roomcast --help", ErrorKind::DisplayHelp),
        ("roomcast -V", ErrorKind::DisplayVersion),
        ("roomcast serve --help", ErrorKind::DisplayHelp),
    ] {
        assert_eq!(usage(line).kind(), kind, "{line}");
    }
    assert!(usage("roomcast --workerz 3").to_string().contains("--workers"), "what was meant is said");
}

#[test]
fn a_negative_number_is_a_bad_value_and_no_unknown_flag() {
    let Ok(Request::Serve(loader)) = parsed("roomcast --workers -3") else { panic!("a usage error") };
    assert_eq!(loader.load().unwrap_err().to_string(), "--workers \"-3\": it is out of range; allowed: 1 to 1024");
}

#[test]
fn the_other_commands() {
    assert!(matches!(parsed("roomcast default-config"), Ok(Request::DefaultConfig(Format::Toml))));
    let markdown = parsed("roomcast default-config --format markdown");
    assert!(matches!(markdown, Ok(Request::DefaultConfig(Format::Markdown))));
    assert!(matches!(parsed("roomcast completions zsh"), Ok(Request::Completions(Shell::Zsh))));
    assert!(matches!(parsed("roomcast check-config --dev"), Ok(Request::CheckConfig(..))));
}
