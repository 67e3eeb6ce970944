//! `roomcast token`: makes a token to try a pod with, and says what a pod makes of one.
//!
//! Both read `[tokens]` of the configuration, so that they agree with the pod. Neither makes up a key.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};
use serde_json::{Value, json};

use super::{
    flags::{configured, loader},
    outcome::{CommandLineError, print, refuse, runtime},
};
use crate::{
    auth::{Authority, Claims, SigningKey, TokenError},
    config::{self, Flags, HmacSecret, Loader, TokenSettings},
    model::Token,
};

/// What a pod needs before a token can be good.
const NO_KEY: &str = "set one for this command and for the pod:\n  \
    export ROOMCAST_TOKENS_HMAC_SECRETS=$(openssl rand -hex 32)\n\
    or give the pod `tokens.public_keys`, and this command --private-key FILE with the other half";

/// More than a key or a token has.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What is asked for.
pub enum Task {
    /// A token.
    Make(Box<Make>),
    /// What the pod makes of a token; `-` is the one on stdin.
    Check(Box<Loader>, String),
}

/// A token to make.
#[derive(Args)]
pub struct Make {
    /// The user that it is for
    #[arg(long, value_name = "NAME")]
    user: String,
    /// A room that it names, or several with `*`; can be repeated
    #[arg(long = "room", value_name = "PATTERN")]
    rooms: Vec<String>,
    /// What may be done in these rooms; can be repeated
    #[arg(long = "right", value_name = "RIGHT", value_parser = ["join", "publish"], default_value = "join", requires = "rooms")]
    rights: Vec<String>,
    /// When it ends: 90s, 5m, 1h, 7d from now
    #[arg(long, value_name = "TIME", value_parser = expires, default_value = "1h")]
    expires: Duration,
    /// Its `iss` [default: tokens.issuer]
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// Its `aud`; can be repeated [default: the first of tokens.audiences]
    #[arg(long = "audience", value_name = "TEXT")]
    audiences: Vec<String>,
    /// Its `kid`, where the pod has several keys in a set
    #[arg(long, value_name = "TEXT")]
    key_id: Option<String>,
    /// Sign with this secret; as a flag, other users of this machine can see it
    #[arg(long, value_name = "SECRET", group = "key")]
    hmac_secret: Option<String>,
    /// Sign with the secret in this file, `-` for stdin
    #[arg(long, value_name = "FILE", group = "key")]
    hmac_secret_file: Option<PathBuf>,
    /// Sign with this private key (PEM: RSA, P-256, P-384, P-521 or Ed25519), `-` for stdin
    #[arg(long, value_name = "FILE", group = "key")]
    private_key: Option<PathBuf>,
    /// The configuration file (TOML) [variable: ROOMCAST_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The command and its flags.
pub(super) fn command() -> Command {
    let make =
        Make::augment_args(Command::new("make")).about("Print a token that a pod with the same keys takes").after_help(
            "Without a key it signs with the first of `tokens.hmac_secrets`, as the pod's configuration has it: in the \
             file, or in ROOMCAST_TOKENS_HMAC_SECRETS.\n\n\
             A secret in a flag is in the list of processes and in the shell's history: give it in the environment or \
             in a file.\n\n\
             Examples:\n  \
             export ROOMCAST_TOKENS_HMAC_SECRETS=$(openssl rand -hex 32)\n  \
             roomcast token make --user ann\n  \
             roomcast token make --user ann --room 'chat:*' --right join --right publish --expires 5m\n  \
             roomcast token make --user ann --private-key key.pem",
        );
    let check = configured(Command::new("check"))
        .about("Say what a pod makes of a token, or why it refuses it")
        .arg(Arg::new("token").value_name("TOKEN").default_value("-").help("The token, or `-` to read it from stdin"))
        .after_help(
            "Takes the flags, the file and the variables of `serve`. Exits 0 if the pod would take the token, else 1.\n\n\
             A token in an argument is in the list of processes while this runs, and every program that reads the list can \
             use it. A token from stdin is not.\n\n\
             Examples:\n  \
             roomcast token make --user ann | roomcast token check\n  \
             roomcast token check --config roomcast.toml < token.txt",
        );
    Command::new("token")
        .about("Make a token, or say what a pod makes of one")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(make)
        .subcommand(check)
}

fn expires(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_secs(1)..=Duration::from_secs(10 * 365 * 86_400))
}

impl Task {
    /// What the command line asks for.
    pub(super) fn from_arg_matches(matches: &ArgMatches) -> Result<Self, CommandLineError> {
        match matches.subcommand() {
            Some(("check", matches)) => {
                let token = matches.get_one::<String>("token").cloned().unwrap_or_default();
                Ok(Self::Check(Box::new(loader(matches)?), token))
            }
            Some((_, matches)) => {
                Ok(Self::Make(Box::new(Make::from_arg_matches(matches).map_err(CommandLineError::Usage)?)))
            }
            None => Err(CommandLineError::Usage(command().error(ErrorKind::MissingSubcommand, "there is no command"))),
        }
    }

    /// Carries it out.
    pub(super) fn run(&self) -> ExitCode {
        let settings = |loader: &Loader| loader.merged().map(|merged| merged.settings.tokens);
        match self {
            Self::Make(make) => {
                let loader = Loader::new(Flags::new(), make.config.clone(), None);
                match loader.and_then(|loader| settings(&loader)) {
                    Ok(settings) => match make.token(&settings, SystemTime::now()) {
                        Ok(token) => print(&format!("{token}\n")),
                        Err(why) => fail(&why, 2),
                    },
                    Err(error) => refuse(&error),
                }
            }
            Self::Check(loader, token) => match settings(loader) {
                Ok(settings) => match check(token, &settings, SystemTime::now()) {
                    Ok(report) => print(&report),
                    Err(why) => fail(&why, 1),
                },
                Err(error) => refuse(&error),
            },
        }
    }
}

fn fail(why: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::from(code)
}

impl Make {
    fn token(&self, settings: &TokenSettings, now: SystemTime) -> Result<String, String> {
        let key = self.signing_key(settings)?;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut claims = json!({"iat": seconds, "exp": seconds + self.expires.as_secs()});
        let mut put = |name: &str, value: Value| claims[name] = value;
        put(settings.user_claims.first().map_or("sub", String::as_str), self.user.as_str().into());
        if let Some(issuer) = self.issuer.as_ref().or(settings.issuer.as_ref()) {
            put("iss", issuer.as_str().into());
        }
        match (self.audiences.as_slice(), settings.audiences.first()) {
            ([], None) => {}
            ([], Some(first)) => put("aud", first.as_str().into()),
            ([one], _) => put("aud", one.as_str().into()),
            (several, _) => put("aud", several.into()),
        }
        if !self.rooms.is_empty() {
            let entry = |room: &String| match self.rights.as_slice() {
                [right] if right == "join" => json!(room),
                rights => json!({"room": room, "rights": rights}),
            };
            let claim = settings.rooms_claim.as_deref();
            let claim = claim.ok_or("`tokens.rooms_claim` is none, so that no token can name rooms (--room)")?;
            put(claim, self.rooms.iter().map(entry).collect());
        }
        key.token(&claims, self.key_id.as_deref()).map_err(|_| "the system gives no random numbers".to_owned())
    }

    fn signing_key(&self, settings: &TokenSettings) -> Result<SigningKey, String> {
        let secret = |text: &str, from: &str| {
            let short = || {
                let (has, min) = (text.len(), HmacSecret::MIN_BYTES);
                format!("{from}: the secret has {has} bytes, and HS256 needs at least {min} (RFC 7518 section 3.2)")
            };
            let secret =
                HmacSecret::new(text).filter(|_| settings.short_secrets || text.len() >= HmacSecret::MIN_BYTES);
            secret.map(|secret| SigningKey::secret(&secret)).ok_or_else(short)
        };
        if let Some(text) = &self.hmac_secret {
            secret(text, "--hmac-secret")
        } else if let Some(file) = &self.hmac_secret_file {
            let text = read(file)?;
            let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            secret(line.unwrap_or(&text), &file.display().to_string())
        } else if let Some(file) = &self.private_key {
            SigningKey::pem(read(file)?.as_bytes()).map_err(|error| format!("{}: {error}", file.display()))
        } else if let Some(first) = settings.hmac_secrets.first() {
            Ok(SigningKey::secret(first))
        } else {
            Err(format!("there is no key to sign with; {NO_KEY}"))
        }
    }
}

/// A small file, or stdin.
fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let limit = MAX_FILE_BYTES + 1;
    let result = if path == Path::new("-") {
        io::stdin().take(limit).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    match result {
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        Ok(_) if text.len() as u64 > MAX_FILE_BYTES => {
            Err(format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display()))
        }
        Ok(_) => Ok(text),
    }
}

fn check(token: &str, settings: &TokenSettings, now: SystemTime) -> Result<String, String> {
    let token = if token == "-" { read(Path::new("-"))? } else { token.to_owned() };
    let authority = Arc::new(Authority::new(settings).map_err(|error| error.to_string())?);
    // Why keys could not be fetched is in the log only.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .try_init();
    let verdict = runtime()?.block_on(async {
        tokio::spawn(Arc::clone(&authority).run());
        authority.verify(&Token::new(token.trim()), now).await
    });
    match verdict.as_ref().map(|grant| grant.claims()) {
        Ok(Some(claims)) => Ok(report(claims, settings, now)),
        Ok(None) => Err("the token names no user".to_owned()),
        Err(TokenError::NoKeys) => Err(format!("This pod has no key to check tokens with; {NO_KEY}")),
        Err(error) => Err(format!("The token is refused: {error}")),
    }
}

/// What a pod makes of a token.
fn report(claims: &Claims, settings: &TokenSettings, now: SystemTime) -> String {
    let ends = match claims.expires_at {
        None => "never".to_owned(),
        Some(end) => {
            let left = (UNIX_EPOCH + Duration::from_millis(end)).duration_since(now).unwrap_or_default();
            match settings.leeway.as_secs() {
                0 => format!("in {}", words(left)),
                _ => format!("in {}, with {} of leeway", words(left), words(settings.leeway)),
            }
        }
    };
    let personal = match (&claims.personal_room, &settings.personal_room) {
        (Some(room), _) => room.as_str(),
        (None, Some(_)) => "none: the user's name makes no room's name",
        (None, None) => "none: tokens.personal_room is not set",
    };
    let mut out = format!(
        "The token is good.\n\nuser             {}\nends             {ends}\npersonal room    {personal}\n",
        claims.user.as_deref().unwrap_or("none")
    );
    let rooms = claims.rooms.iter().map(|right| {
        let rights: Vec<&str> = [(right.join, "join"), (right.publish, "publish")]
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, name)| *name)
            .collect();
        let rights = if rights.is_empty() { "nothing".to_owned() } else { rights.join(", ") };
        format!("{}: {rights}", right.pattern)
    });
    let rooms: Vec<String> = rooms.collect();
    let rooms = if rooms.is_empty() { vec!["none by name".to_owned()] } else { rooms };
    for (index, room) in rooms.iter().enumerate() {
        out.push_str(&format!("{:<17}{room}\n", if index == 0 { "rooms" } else { "" }));
    }
    out
}

/// A duration in words, as exact as is of use.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = |count: u64, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let two = |large: u64, large_name: &str, small: u64, small_name: &str| match small {
        0 => unit(large, large_name),
        _ => format!("{} {}", unit(large, large_name), unit(small, small_name)),
    };
    match seconds {
        0..60 => unit(seconds, "second"),
        60..3600 => two(seconds / 60, "minute", seconds % 60, "second"),
        3600..86_400 => two(seconds / 3600, "hour", seconds % 3600 / 60, "minute"),
        _ => two(seconds / 86_400, "day", seconds % 86_400 / 3600, "hour"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (seconds, expected) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (3599, "59 minutes 59 seconds"),
            (3600, "1 hour"),
            (3660, "1 hour 1 minute"),
            (86_400 * 2 + 3600, "2 days 1 hour"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), expected);
        }
    }
}
