//! The command line: what scripts rely on, and help that teaches.
//!
//! Every key of the configuration is a flag of `serve` and `check-config`, made from the key's own description.

mod archive;
mod check;
mod console;
mod dial;
mod doctor;
mod figures;
mod flags;
mod fleet_rows;
mod outcome;
mod positions;
mod publish;
mod report;
mod stats;
mod status_lines;
mod status_source;
mod subscribe;
mod token;
mod top;

use std::{ffi::OsString, process::ExitCode};

use clap::{Arg, Args, Command, FromArgMatches, ValueEnum, builder::EnumValueParser, value_parser};
use clap_complete::Shell;

use crate::config::{self, Loader, Preset};
use archive::ArchiveCommand;
use doctor::DoctorCommand;
use flags::{configured, loader};
use outcome::{CommandLineError, print};
use publish::Publish;
use stats::StatsCommand;
use subscribe::Subscribe;
use token::Task;
use top::TopCommand;

pub use outcome::refuse;

/// The version and the commit that this program is built from; `build.rs` finds out which.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("COMMIT"), ")");

/// What is asked for.
pub enum Request {
    /// Run a pod.
    Serve(Loader),
    /// Publish events.
    Publish(Publish),
    /// Print what happens in rooms.
    Subscribe(Subscribe),
    /// Print how a pod is.
    Stats(StatsCommand),
    /// Show a pod live.
    Top(TopCommand),
    /// Check a deployment from outside.
    Doctor(DoctorCommand),
    /// Look after the archive.
    Archive(ArchiveCommand),
    /// Say what is wrong with the configuration, or what a pod would do.
    CheckConfig(Loader, crate::pod::Reads),
    /// Print the reference.
    DefaultConfig(Format),
    /// Print a preset.
    Preset(&'static Preset),
    /// List the presets.
    Presets,
    /// Make or check a token.
    Token(Task),
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

/// The whole program: reads the command line and carries it out; `serve` runs a pod.
pub fn main(serve: impl FnOnce(Loader) -> ExitCode) -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Request::Serve(loader)) => serve(loader),
        Ok(Request::Publish(publish)) => publish.run(),
        Ok(Request::Subscribe(subscribe)) => subscribe.run(),
        Ok(Request::Stats(stats)) => stats.run(),
        Ok(Request::Top(top)) => top.run(),
        Ok(Request::Doctor(doctor)) => doctor.run(),
        Ok(Request::Archive(archive)) => archive.run(),
        Ok(Request::CheckConfig(loader, reads)) => check::run(&loader, reads),
        Ok(Request::Token(task)) => task.run(),
        Ok(Request::DefaultConfig(Format::Toml)) => print(&config::default_file()),
        Ok(Request::DefaultConfig(Format::Markdown)) => print(&config::markdown()),
        Ok(Request::Preset(preset)) => print(preset.file),
        Ok(Request::Presets) => {
            let line = |preset: Preset| format!("{:<12} {}\n", preset.name, preset.about());
            print(&Preset::ALL.map(line).concat())
        }
        Ok(Request::Completions(shell)) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "roomcast", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Err(CommandLineError::Usage(error)) => {
            // Help goes to stdout, errors to stderr; a closed pipe is not an error.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(CommandLineError::Config(error)) => refuse(&error),
    }
}

/// Reads a command line, the program's name first. Without a command it is `serve`.
///
/// # Errors
/// [`CommandLineError`], which is also how help and version come out.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, CommandLineError> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let first = args.get(1).and_then(|arg| arg.to_str());
    let about_itself = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if first.is_none_or(|first| first.starts_with('-')) && !about_itself {
        args.insert(args.len().min(1), "serve".into());
    }
    let matches = command().try_get_matches_from(args).map_err(CommandLineError::Usage)?;
    match matches.subcommand() {
        Some(("publish", matches)) => {
            Publish::from_arg_matches(matches).map(Request::Publish).map_err(CommandLineError::Usage)
        }
        Some(("subscribe", matches)) => {
            Subscribe::from_arg_matches(matches).map(Request::Subscribe).map_err(CommandLineError::Usage)
        }
        Some(("stats", matches)) => {
            StatsCommand::from_arg_matches(matches).map(Request::Stats).map_err(CommandLineError::Usage)
        }
        Some(("top", matches)) => {
            TopCommand::from_arg_matches(matches).map(Request::Top).map_err(CommandLineError::Usage)
        }
        Some(("doctor", matches)) => {
            DoctorCommand::from_arg_matches(matches).map(Request::Doctor).map_err(CommandLineError::Usage)
        }
        Some(("archive", matches)) => ArchiveCommand::from_arg_matches(matches).map(Request::Archive),
        Some(("check-config", matches)) => Ok(Request::CheckConfig(loader(matches)?, check::reads(matches))),
        Some(("presets", _)) => Ok(Request::Presets),
        Some(("default-config", matches)) if matches.contains_id("preset") => {
            let name = matches.get_one::<String>("preset").map(String::as_str);
            let loader = Loader::new(config::Flags::new(), None, name).map_err(CommandLineError::Config)?;
            Ok(loader.preset().map_or(Request::Presets, Request::Preset))
        }
        Some(("default-config", matches)) => {
            Ok(Request::DefaultConfig(matches.get_one("format").copied().unwrap_or(Format::Toml)))
        }
        Some(("token", matches)) => Task::from_arg_matches(matches).map(Request::Token),
        Some(("completions", matches)) => {
            Ok(Request::Completions(matches.get_one("shell").copied().unwrap_or(Shell::Bash)))
        }
        Some((_, matches)) => Ok(Request::Serve(loader(matches)?)),
        None => Err(CommandLineError::Usage(
            command().error(clap::error::ErrorKind::MissingSubcommand, "there is no command"),
        )),
    }
}

fn command() -> Command {
    Command::new("roomcast")
        .version(VERSION)
        .about("A broadcast proxy: rooms over TLS WebSocket, encoded once, compressed once.")
        .after_help(
            "Without a command it is `serve`, and without flags that is a pod to try out on this machine.\n\n\
             Examples:\n  \
             roomcast                                    try it out: http://localhost:8080\n  \
             roomcast subscribe demo:1                   what happens in a room of it\n  \
             roomcast publish demo:1 hello '{\"to\": \"all\"}' --api-key KEY\n  \
             roomcast stats                              how the pod is\n  \
             roomcast top                                the same, live\n  \
             roomcast doctor https://push.example.com    what keeps clients from being served\n  \
             roomcast serve --help                       every flag\n  \
             roomcast serve --cert tls.crt --key tls.key --anonymous --origin https://app.example.com\n  \
             roomcast default-config > roomcast.toml     a configuration file to start from\n  \
             roomcast check-config --config roomcast.toml\n  \
             roomcast token make --user ann              a token to connect with",
        )
        .subcommand(configured(Command::new("serve")).about("Run a pod (the default command)").after_help(
            "Every flag is also a variable (--max-connections: ROOMCAST_MAX_CONNECTIONS) and a key of the \
                     configuration file (max_connections). --help shows all of them, -h the most used.\n\n\
                     Examples:\n  \
                     roomcast serve                              development mode: loopback only, any client may join\n  \
                     roomcast serve --listen :8443               the same, but reachable from other machines\n  \
                     roomcast serve --cert tls.crt --key tls.key --anonymous --origin 'https://*.example.com'\n  \
                     roomcast serve --dev=false --plain-listen 127.0.0.1:8080 --anonymous    behind a TLS proxy\n  \
                     ROOMCAST_API_KEY=… roomcast serve --config roomcast.toml",
        ))
        .subcommand(
            Publish::augment_args(Command::new("publish"))
                .about("Publish an event over a pod's API")
                .after_help(publish::EXAMPLES),
        )
        .subcommand(
            Subscribe::augment_args(Command::new("subscribe"))
                .about("Print what happens in rooms, and come back if the connection is lost")
                .after_help(subscribe::EXAMPLES),
        )
        .subcommand(
            StatsCommand::augment_args(Command::new("stats"))
                .about("Print how a pod is: connections, rates, limits, Redis")
                .after_help(stats::EXAMPLES),
        )
        .subcommand(
            TopCommand::augment_args(Command::new("top"))
                .about("Show a pod and its fleet live, in a terminal")
                .after_help(top::EXAMPLES),
        )
        .subcommand(
            DoctorCommand::augment_args(Command::new("doctor"))
                .about("Check a deployment from outside, as a client would, and say what to change")
                .after_help(doctor::EXAMPLES),
        )
        .subcommand(
            configured(Command::new("check-config"))
                .arg(check::without_certificates())
                .about("Say what is wrong with a configuration, or what a pod would do with it")
                .after_help(
                    "Takes the flags of `serve`, and reads the files that a pod would read. Exits 0 if a pod would start, else 2.\n\n\
                     Example:\n  roomcast check-config --config roomcast.toml",
                ),
        )
        .subcommand(archive::command())
        .subcommand(token::command())
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
                .arg(flags::preset().help("Print this preset instead").conflicts_with("format"))
                .after_help(
                    "Examples:\n  roomcast default-config > roomcast.toml\n  roomcast default-config --preset trips",
                ),
        )
        .subcommand(
            Command::new("presets")
                .about("List the known systems whose place a pod can take")
                .after_help("Example:\n  roomcast presets"),
        )
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
                .after_help("Example:\n  source <(roomcast completions bash)"),
        )
}

#[cfg(test)]
mod tests;
