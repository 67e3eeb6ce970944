//! Every key of the configuration as a flag, made from the key's own description.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::outcome::CommandLineError;
use crate::config::{self, Flags, Key, Loader};

/// The loader of a command with [`configured`] flags.
pub(super) fn loader(matches: &ArgMatches) -> Result<Loader, CommandLineError> {
    let mut flags = Flags::new();
    for key in config::keys() {
        let values: Vec<&str> =
            matches.get_many::<String>(&key.path()).into_iter().flatten().map(String::as_str).collect();
        if !values.is_empty() {
            flags.insert(key.path(), values.join(","));
        }
    }
    let preset = matches.get_one::<String>("preset").map(String::as_str);
    Loader::new(flags, matches.get_one::<PathBuf>("config").cloned(), preset).map_err(CommandLineError::Config)
}

/// Adds the flags of all keys.
pub(super) fn configured(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file (TOML) [variable: ROOMCAST_CONFIG]");
    config::keys().iter().fold(command.arg(config).arg(preset()), |command, key| command.arg(flag(key)))
}

/// The flag that names a preset.
pub(super) fn preset() -> Arg {
    Arg::new("preset")
        .long("preset")
        .value_name("NAME")
        .help("Take the place of a known system: a configuration below all others [variable: ROOMCAST_PRESET]")
        .long_help(
            "Take the place of a known system, with its port, paths, messages, channels and variables: a configuration file \
             that is built in and lies below all others.\n\nAllowed: what `roomcast presets` lists\nDefault: none\n\
             Variable: ROOMCAST_PRESET",
        )
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
        // Behind a space too, as people and lists of arguments write it: no command with these flags has words of its own.
        arg = arg.num_args(0..=1).default_missing_value("true");
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
