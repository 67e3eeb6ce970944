//! `roomcast archive migrate`: the tables of the archive, up and down.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{
    flags::{configured, loader},
    outcome::{CommandLineError, print, refuse, runtime},
};
use crate::{
    archive::{Level, MigrationError, Migrator},
    config::Loader,
};

/// What is done with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Up,
    /// The level that is left; `None`: one less than there is.
    Down(Option<i32>),
    Status,
}

/// The command, read.
pub struct ArchiveCommand {
    step: Step,
    loader: Loader,
}

/// The command's description.
pub(super) fn command() -> Command {
    let to = Arg::new("to")
        .long("to")
        .value_name("LEVEL")
        .value_parser(value_parser!(i32).range(0..=1_000))
        .help("The level that is left [default: one less than there is]");
    Command::new("archive").about("Look after the archive in PostgreSQL").subcommand_required(true).subcommand(
        Command::new("migrate")
            .about("Bring the archive's tables up or down, or say where they are")
            .subcommand_required(true)
            .subcommand(configured(Command::new("up")).about("Make what this build's tables lack"))
            .subcommand(
                configured(Command::new("down"))
                    .about("Take levels back, newest first, WITH ALL THAT IS IN THEM; level 0 is nothing")
                    .arg(to),
            )
            .subcommand(
                configured(Command::new("status"))
                    .about("Say where the tables are; exits 1 if a pod could not use them"),
            )
            .after_help(
                "Takes the flags and variables of `serve`; the password may stand in ROOMCAST_ARCHIVE_PASSWORD.\n\n\
                 Examples:\n  \
                 roomcast archive migrate up --config roomcast.toml\n  \
                 roomcast archive migrate status --archive-url postgres://roomcast@db.example.com/roomcast\n  \
                 roomcast archive migrate down --to 1 --config roomcast.toml",
            ),
    )
}

impl ArchiveCommand {
    /// Reads the command line.
    pub(super) fn from_arg_matches(matches: &ArgMatches) -> Result<Self, CommandLineError> {
        let migrate = matches.subcommand().map_or(matches, |(_, migrate)| migrate);
        let (word, of) = migrate.subcommand().unwrap_or(("status", migrate));
        let step = match word {
            "up" => Step::Up,
            "down" => Step::Down(of.get_one::<i32>("to").copied()),
            _ => Step::Status,
        };
        Ok(Self { step, loader: loader(of)? })
    }

    /// Does it.
    pub fn run(self) -> ExitCode {
        let config = match self.loader.load() {
            Ok(config) => config,
            Err(error) => return refuse(&error),
        };
        let failed = |why: String| {
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::FAILURE
        };
        let migrator = match Migrator::of(&config.archive) {
            Ok(Some(migrator)) => migrator,
            Ok(None) => return failed("there is no archive: set `archive.url` (--archive-url URL)".to_owned()),
            Err(error) => return failed(error.to_string()),
        };
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(why) => return failed(why),
        };
        match runtime.block_on(carry_out(&migrator, self.step)) {
            Ok((said, true)) => print(&said),
            Ok((said, false)) => failed(said.trim_end().to_owned()),
            Err(error) => failed(error.to_string()),
        }
    }
}

/// What is said, and whether a pod could use the tables.
async fn carry_out(migrator: &Migrator, step: Step) -> Result<(String, bool), MigrationError> {
    let levels = |levels: Vec<i32>| levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match step {
        Step::Up => {
            let made = migrator.up().await?;
            let said = if made.is_empty() {
                "The tables are up to date.\n".to_owned()
            } else {
                format!("Made: level {}.\n", levels(made))
            };
            Ok((said, true))
        }
        Step::Down(to) => {
            let to = match to {
                Some(to) => to,
                None => migrator.status().await?.found - 1,
            };
            let gone = migrator.down(to.max(0)).await?;
            let said = if gone.is_empty() {
                "There is nothing to take back.\n".to_owned()
            } else {
                format!("Taken back: level {}.\n", levels(gone))
            };
            Ok((said, true))
        }
        Step::Status => {
            let Level { found, own, trouble } = migrator.status().await?;
            let is_well = trouble.is_none();
            let trouble = trouble.map(|trouble| format!("{trouble}\n")).unwrap_or_default();
            Ok((format!("The tables are of level {found}, and this build's is {own}.\n{trouble}"), is_well))
        }
    }
}
