//! The command line: what scripts rely on, and help that teaches.
//!
//! Every key of the configuration is a flag of `serve` and `check-config`, made from the key's own description.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueEnum, builder::EnumValueParser, value_parser};
use clap_complete::Shell;

use crate::config::{self, Bind, Config, ConfigError, Flags, Key, Loader, Place, Tls};

/// What is asked for.
pub enum Request {
    /// Run a pod.
    Serve(Loader),
    /// Say what is wrong with the configuration, or what a pod would do.
    CheckConfig(Loader),
    /// Print the reference.
    DefaultConfig(Format),
    /// Print a shell's completions.
    Completions(Shell),
}

/// How the reference is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A configuration file.
    Toml,
    /// The page `docs/CONFIGURATION.md`.
    Markdown,
}

/// Why a command line is not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The command line itself, or a request for help, which clap words and prints.
    Usage(clap::Error),
    /// The process' environment.
    Config(ConfigError),
}

/// The whole program: reads the command line and carries it out; `serve` runs a pod.
pub fn main(serve: impl FnOnce(Loader) -> ExitCode) -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Request::Serve(loader)) => serve(loader),
        Ok(Request::CheckConfig(loader)) => check(&loader),
        Ok(Request::DefaultConfig(Format::Toml)) => print(&config::default_file()),
        Ok(Request::DefaultConfig(Format::Markdown)) => print(&config::markdown()),
        Ok(Request::Completions(shell)) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "roomcast", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Err(Refusal::Usage(error)) => {
            // Help goes to stdout, errors to stderr; a closed pipe is nobody's fault.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(Refusal::Config(error)) => refuse(&error),
    }
}

/// Reads a command line, the program's name first. Without a command it is `serve`.
///
/// # Errors
/// [`Refusal`], which is also how help and version come out.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, Refusal> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let first = args.get(1).and_then(|arg| arg.to_str());
    let about_itself = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if first.is_none_or(|first| first.starts_with('-')) && !about_itself {
        args.insert(args.len().min(1), "serve".into());
    }
    let matches = command().try_get_matches_from(args).map_err(Refusal::Usage)?;
    match matches.subcommand() {
        Some(("check-config", matches)) => Ok(Request::CheckConfig(loader(matches)?)),
        Some(("default-config", matches)) => {
            Ok(Request::DefaultConfig(matches.get_one("format").copied().unwrap_or(Format::Toml)))
        }
        Some(("completions", matches)) => {
            Ok(Request::Completions(matches.get_one("shell").copied().unwrap_or(Shell::Bash)))
        }
        Some((_, matches)) => Ok(Request::Serve(loader(matches)?)),
        None => Err(Refusal::Usage(command().error(clap::error::ErrorKind::MissingSubcommand, "there is no command"))),
    }
}

/// Prints why the configuration was refused.
pub fn refuse(error: &ConfigError) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(2)
}

fn loader(matches: &ArgMatches) -> Result<Loader, Refusal> {
    let mut flags = Flags::new();
    for key in config::keys() {
        let values: Vec<&str> =
            matches.get_many::<String>(&key.path()).into_iter().flatten().map(String::as_str).collect();
        if !values.is_empty() {
            flags.insert(key.path(), values.join(","));
        }
    }
    Loader::new(flags, matches.get_one::<PathBuf>("config").cloned()).map_err(Refusal::Config)
}

fn command() -> Command {
    Command::new("roomcast")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A broadcast proxy: rooms over TLS WebSocket, encoded once, compressed once.")
        .after_help(
            "Without a command it is `serve`, and without flags that is a pod to try out on this machine.\n\n\
             Examples:\n  \
             roomcast                                    try it out: http://localhost:8080\n  \
             roomcast serve --help                       every flag\n  \
             roomcast serve --cert tls.crt --key tls.key --anonymous --origin https://app.example.com\n  \
             roomcast default-config > roomcast.toml     a configuration file to start from\n  \
             roomcast check-config --config roomcast.toml",
        )
        .subcommand(configured(Command::new("serve")).about("Run a pod (the default command)").after_help(
            "Every flag is also a variable (--max-connections: ROOMCAST_MAX_CONNECTIONS) and a key of the \
                     configuration file (max_connections). --help shows all of them, -h the most used.\n\n\
                     Examples:\n  \
                     roomcast serve                              development mode: loopback only, anybody may join\n  \
                     roomcast serve --listen :8443               the same, but reachable from other machines\n  \
                     roomcast serve --cert tls.crt --key tls.key --anonymous --origin 'https://*.example.com'\n  \
                     roomcast serve --dev=false --plain-listen 127.0.0.1:8080 --anonymous    behind a TLS proxy\n  \
                     ROOMCAST_API_KEY=… roomcast serve --config roomcast.toml",
        ))
        .subcommand(
            configured(Command::new("check-config"))
                .about("Say what is wrong with a configuration, or what a pod would do with it")
                .after_help(
                    "Takes the flags of `serve`. Exits 0 if a pod would start, else 2.\n\n\
                     Example:\n  roomcast check-config --config roomcast.toml",
                ),
        )
        .subcommand(
            Command::new("default-config")
                .about("Print every key of the configuration with its default")
                .arg(
                    Arg::new("format")
                        .long("format")
                        .value_parser(EnumValueParser::<Format>::new())
                        .default_value("toml")
                        .help("A configuration file, or the page docs/CONFIGURATION.md"),
                )
                .after_help("Example:\n  roomcast default-config > roomcast.toml"),
        )
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
                .after_help("Example:\n  source <(roomcast completions bash)"),
        )
}

/// Adds the flags of all keys.
fn configured(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file (TOML) [variable: ROOMCAST_CONFIG]");
    config::keys().iter().fold(command.arg(config), |command, key| command.arg(flag(key)))
}

fn flag(key: &Key) -> Arg {
    let first = key.doc.split_inclusive(". ").next().unwrap_or(&key.doc);
    let default = match key.default.as_deref() {
        None => key.unset.replace('`', ""),
        Some("[]") => "none".to_owned(),
        Some(toml) => toml.replace(['[', ']', '"'], ""),
    };
    let short = format!("{} [default: {default}]", first.replace('\n', " ").trim());
    let long = format!(
        "{}\n\nAllowed: {}\nDefault: {default}\nVariable: {}, key: {}",
        key.doc.replace('\n', " "),
        key.allowed,
        key.variable(),
        key.path()
    );
    let mut arg = Arg::new(key.path()).long(key.flag()).help(short).long_help(long).value_name(value_name(key));
    if key.kind == "switch" {
        arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    if key.list {
        arg = arg.action(ArgAction::Append);
    }
    if !key.section.is_empty() {
        arg = arg.hide_short_help(true).help_heading(format!("[{}]", key.section));
    }
    // A duration such as `-1s` should be refused for what it is, not as an unknown flag.
    arg.allow_hyphen_values(key.kind == "number" || key.kind == "duration")
}

fn value_name(key: &Key) -> &'static str {
    match key.kind.trim_start_matches("list of ") {
        "address" => "ADDR",
        "path" if key.allowed.contains("directory") => "DIR",
        "path" => "FILE",
        "secret" => "KEY",
        "origin" => "ORIGIN",
        "switch" => "true|false",
        "duration" => "TIME",
        "size" => "SIZE",
        "number" => "N",
        _ => "WORD",
    }
}

fn check(loader: &Loader) -> ExitCode {
    match loader.merged().and_then(|merged| Ok((merged.places.clone(), loader.resolve(merged)?))) {
        Ok((places, config)) => print(&report(&places, &config)),
        Err(error) => refuse(&error),
    }
}

/// What a pod would do.
fn report(places: &std::collections::BTreeMap<String, Place>, config: &Config) -> String {
    let list = |binds: &[Bind], scheme: &str| match binds {
        [] => "none".to_owned(),
        binds => binds.iter().map(|bind| format!("{scheme}://{}", bind.address)).collect::<Vec<_>>().join(" "),
    };
    let certificate = match &config.tls {
        None => "none".to_owned(),
        Some(Tls::Files { cert, .. }) => cert.display().to_string(),
        Some(Tls::Development { state_dir: Some(dir) }) => format!("made by the pod, kept in {}", dir.display()),
        Some(Tls::Development { state_dir: None }) => "made by the pod, kept in memory".to_owned(),
    };
    let api_keys = match config.api_keys.len() {
        _ if config.api_key_generated => "made by the pod".to_owned(),
        0 => "none: the API refuses everybody".to_owned(),
        count => count.to_string(),
    };
    let mut out = format!(
        "The configuration is good.\n\n\
         mode             {}\nclients, TLS     {}\nclients, plain   {}\ninternal         {}\ncertificate      {certificate}\n\
         API keys         {api_keys}\nanonymous        {}\nworkers          {}\nconnections      at most {}\n",
        if config.dev { "development" } else { "production" },
        list(&config.listen, "https"),
        list(&config.plain_listen, "http"),
        list(&config.internal_listen, "http"),
        config.anonymous,
        config.workers,
        config.max_connections,
    );
    if !places.is_empty() {
        out.push_str("\nSet:\n");
        for (key, place) in places {
            let value = config.settings.get(key).unwrap_or_default();
            out.push_str(&format!("  {key} = {value}  ({place})\n"));
        }
    }
    for rule in &config.settings.policies {
        let patterns: Vec<&str> = rule.patterns.iter().map(config::RoomPattern::as_str).collect();
        out.push_str(&format!("  policy for {}\n", patterns.join(", ")));
    }
    for warning in &config.warnings {
        out.push_str(&format!("\nWarning: {warning}\n"));
    }
    out
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        // `roomcast default-config | head` is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, Refusal> {
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
            Err(Refusal::Usage(error)) => error,
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
        assert!(!served("roomcast --dev --anonymous=false").anonymous);
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
        assert!(matches!(parsed("roomcast check-config --dev"), Ok(Request::CheckConfig(_))));
    }
}
