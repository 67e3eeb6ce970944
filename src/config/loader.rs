//! Reads the layers from where they are, at start and again on SIGHUP.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use rustix::process::{Resource, getrlimit};

use super::{
    api_key::ApiKey,
    error::{ConfigError, Location, Problem},
    file_watch::{FileWatch, MAX_FILE_BYTES},
    interpolate::Variables,
    layers::{CONFIG_VARIABLE, Flags, Merged, PREFIX, PRESET_VARIABLE, merge_over},
    machine::Machine,
    memory_ceiling::MemoryCeiling,
    preset::Preset,
    resolve::{Config, resolve},
    section::Changes,
    settings_error::SettingsError,
};

/// Where the configuration comes from: it can be read as often as wanted. Not `Debug`: it holds secrets as plain text.
#[derive(Clone)]
pub struct Loader {
    preset: Option<&'static Preset>,
    flags: Flags,
    file: Option<PathBuf>,
    variables: Variables,
    machine: Machine,
}

/// A configuration read again.
#[derive(Debug, Clone)]
pub struct Reload {
    /// The new configuration. Keys that need a restart have their running values in it.
    pub config: Config,
    /// Which keys changed.
    pub changes: Changes,
}

impl Loader {
    /// A loader of flags, this process' environment, the file that `file` or `ROOMCAST_CONFIG` names, and the preset that
    /// `preset` or `ROOMCAST_PRESET` names.
    ///
    /// # Errors
    /// When one of our variables is not UTF-8, there is no such preset, or the system has no randomness.
    pub fn new(flags: Flags, file: Option<PathBuf>, preset: Option<&str>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new();
        for (name, value) in env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => {
                    variables.insert(name, value);
                }
                (Ok(name), Err(_)) if name.starts_with(PREFIX) => {
                    return Err(Problem {
                        place: Location::Variable(name),
                        key: String::new(),
                        given: None,
                        why: "it is not UTF-8".to_owned(),
                    }
                    .into());
                }
                _ => {}
            }
        }
        let machine = Machine::detect(&variables).map_err(|error| Problem {
            place: Location::Whole,
            key: String::new(),
            given: None,
            why: format!("the system gives no random numbers: {error}"),
        })?;
        let file = match (file, variables.get(CONFIG_VARIABLE)) {
            (None, Some(name)) if name.is_empty() => return Err(no_file().into()),
            (file, variable) => file.or_else(|| variable.map(PathBuf::from)),
        };
        let named = match preset {
            Some(name) => Some((name, Location::Flag("preset".to_owned()))),
            None => {
                variables.get(PRESET_VARIABLE).map(|name| (&**name, Location::Variable(PRESET_VARIABLE.to_owned())))
            }
        };
        let preset =
            named.map(|(name, place)| Preset::named(name).ok_or_else(|| no_preset(name, place))).transpose()?;
        Ok(Self { preset, flags, file, variables, machine })
    }

    /// The preset, if there is one.
    #[must_use]
    pub fn preset(&self) -> Option<&'static Preset> {
        self.preset
    }

    /// The file's own watch, if there is a file.
    #[must_use]
    pub fn watch(&self) -> Option<FileWatch> {
        self.file.clone().map(FileWatch::new)
    }

    /// Reads the layers and applies the rules between keys.
    ///
    /// # Errors
    /// Everything that is wrong or missing.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.resolve(self.merged()?)
    }

    /// Reads the layers again. What needs a restart stays as it runs.
    ///
    /// # Errors
    /// Everything that is wrong or missing: the running configuration should stay.
    pub fn reload(&self, running: &Config) -> Result<Reload, ConfigError> {
        let mut merged = self.merged()?;
        let changes = merged.settings.settle(&running.settings);
        match self.resolve(merged) {
            Ok(config) => Ok(Reload { config, changes }),
            Err(mut error) => {
                error.problems.extend(still_running(&changes.restart));
                Err(error)
            }
        }
    }

    /// Merges the layers.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn merged(&self) -> Result<Merged, ConfigError> {
        match &self.file {
            None => merge_over(self.preset, &self.flags, &self.variables, None),
            Some(path) => {
                let text = read(path).map_err(|error| Problem {
                    place: Location::File(path.clone()),
                    key: String::new(),
                    given: None,
                    why: format!("cannot read the configuration file: {error}"),
                })?;
                merge_over(self.preset, &self.flags, &self.variables, Some((path, &text)))
            }
        }
    }

    /// Applies the rules between keys.
    ///
    /// # Errors
    /// Everything that is missing.
    pub fn resolve(&self, merged: Merged) -> Result<Config, ConfigError> {
        let mut config = resolve(merged.settings, &self.machine)?;
        config.warnings.extend(merged.warnings);
        Ok(config)
    }
}

/// Why a configuration that a pod could start with may yet not do for one that runs.
fn still_running(keys: &[String]) -> Option<Problem> {
    if keys.is_empty() {
        return None;
    }
    let keys = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let why =
        format!("{keys} changed, but take effect only after a restart: if that is what is missing, restart the pod");
    Some(Problem { place: Location::Whole, key: String::new(), given: None, why })
}

fn no_file() -> Problem {
    let why = "it is empty: name a configuration file, or take the variable away".to_owned();
    let (place, given) = (Location::Variable(CONFIG_VARIABLE.to_owned()), Some("\"\"".to_owned()));
    Problem { place, key: String::new(), given, why }
}

fn no_preset(name: &str, place: Location) -> Problem {
    let all: Vec<_> = Preset::ALL.iter().map(|preset| format!("`{}`", preset.name)).collect();
    let or_none = if name.is_empty() { "; for none of them leave it out" } else { "" };
    let why = format!("there is no such preset; there are {}{or_none}", all.join(", "));
    Problem { place, key: String::new(), given: Some(format!("{name:?}")), why }
}

impl From<Vec<SettingsError>> for ConfigError {
    fn from(errors: Vec<SettingsError>) -> Self {
        let problem = |error: SettingsError| Problem {
            place: Location::Whole,
            key: String::new(),
            given: None,
            why: error.to_string(),
        };
        Self { problems: errors.into_iter().map(problem).collect() }
    }
}

impl Machine {
    /// This machine and process.
    ///
    /// # Errors
    /// When the system has no randomness for the API key of development mode.
    pub fn detect(variables: &Variables) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let api_key = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            cores: available_parallelism().map_or(1, usize::from),
            // Without a limit the number is as large as it can be.
            open_files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            memory: MemoryCeiling::detect(),
            state_dir: state_dir(variables),
            api_key: ApiKey::new(api_key).ok_or(getrandom::Error::UNEXPECTED)?,
        })
    }
}

/// The XDG base directory for state. A relative path is to be ignored, says its specification.
fn state_dir(variables: &Variables) -> Option<PathBuf> {
    let absolute = |name: &str| variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("roomcast"))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn loader(file: &Path) -> Loader {
        let variables = Variables::from([("HOME".to_owned(), "/home/me".to_owned())]);
        let machine = Machine::detect(&variables).unwrap();
        Loader { preset: None, flags: Flags::new(), file: Some(file.to_owned()), variables, machine }
    }

    #[test]
    fn a_reload_changes_what_it_can_and_keeps_what_needs_a_restart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let loader = loader(file.path());
        write("workers = 2\norigins = ['https://a.example']\n[limits]\nmax_rooms = 5\n");
        let running = loader.load().unwrap();
        assert_eq!(loader.reload(&running).unwrap().changes, Changes::default());

        write("workers = 3\norigins = ['https://b.example']\n[limits]\nmax_rooms = 6\n[[policy]]\nmatch = '*'\n");
        let reload = loader.reload(&running).unwrap();
        assert_eq!(reload.changes.live, ["origins", "limits.max_rooms", "policy"]);
        assert_eq!(reload.changes.restart, ["workers"]);
        assert_eq!(reload.config.workers, 2);
        assert_eq!(reload.config.limits.max_rooms, 6);
        assert!(
            reload.config.origins.allow(b"https://b.example") && !reload.config.origins.allow(b"https://a.example")
        );
        assert_eq!(reload.config.api_keys, running.api_keys, "the key that was made and printed stays");

        // The next reload is compared with what runs: the restart is still due, the rest is done.
        let again = loader.reload(&reload.config).unwrap();
        assert_eq!((again.changes.live.len(), again.changes.restart), (0, vec!["workers".to_owned()]));
    }

    #[test]
    fn who_is_asked_and_where_tokens_are_looked_up_is_decided_at_the_start() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let loader = loader(file.path());
        write("");
        let running = loader.load().unwrap();
        let hooks = "[hooks]\nconnect = 'https://b.example/c'\nsubscribe = 'https://b.example/s'\nsecret = 's3cret-s3cret-s3cret'\n";
        write(&format!("{hooks}timeout = '1s'\n[grpc]\nwithout_key = true\n[token_lookup]\nuser = '/name'\n"));
        let reload = loader.reload(&running).unwrap();
        let expected = [
            "hooks.connect",
            "hooks.subscribe",
            "hooks.secret",
            "hooks.timeout",
            "grpc.without_key",
            "token_lookup.user",
        ];
        let mut named = reload.changes.restart.clone();
        named.sort_by_key(|name| expected.iter().position(|known| known == name));
        assert_eq!((named, reload.changes.live.len()), (expected.map(str::to_owned).to_vec(), 0));
        assert_eq!(reload.config.settings, running.settings);
        // A live key that needs one of them: nothing is taken over, and the reason is not that the file lacks it.
        let policy = "[[policy]]\nmatch = 'a:*'\nsubscribe_hook = true\n";
        write(&format!("{hooks}{policy}"));
        let error = loader.reload(&running).unwrap_err().to_string();
        assert!(error.contains("set `hooks.subscribe` to the URL of a backend"), "{error}");
        let why = "`hooks.connect`, `hooks.subscribe`, `hooks.secret` changed, but take effect only after a restart";
        assert!(error.contains(why) && !error.contains("s3cret"), "{error}");
        assert!(loader.load().is_ok(), "a pod may start with it");
    }

    #[test]
    fn a_reload_leaves_rooms_in_the_log_that_they_are_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let loader = loader(file.path());
        let rule = |log: &str, join: &str| {
            format!("[[policy]]\nmatch = 'r:*'\nlog = '{log}'\nslow = 'close'\njoin = '{join}'\n")
        };
        write(&rule("a", "anyone"));
        let running = loader.load().unwrap();
        let room = crate::model::Room::parse("r:1").unwrap();
        write(&rule("b", "nobody"));
        let reload = loader.reload(&running).unwrap();
        assert_eq!((reload.changes.live.len(), reload.changes.restart), (0, vec!["policy.log".to_owned()]));
        assert_eq!(reload.config.policies.of(&room), running.policies.of(&room));
        write(&rule("a", "nobody"));
        let reload = loader.reload(&running).unwrap();
        assert_eq!((reload.changes.live, reload.changes.restart.len()), (vec!["policy".to_owned()], 0));
        // The first that fits counts, so that one before it would take a room from the log.
        write(&format!("[[policy]]\nmatch = 'r:1'\n{}", rule("a", "anyone")));
        let reload = loader.reload(&running).unwrap();
        assert_eq!(reload.changes.restart, ["policy.log"]);
        assert_eq!(reload.config.policies.of(&room), running.policies.of(&room));
    }

    #[test]
    fn a_reload_never_changes_the_mode_under_a_running_pod() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let loader = loader(file.path());
        let running = loader.load().unwrap();
        std::fs::write(file.path(), "cert = 'c.pem'\nkey = 'k.pem'\n").unwrap();
        let reload = loader.reload(&running).unwrap();
        assert_eq!(reload.changes.restart, ["cert", "key"]);
        assert!(reload.config.dev && reload.config.anonymous && reload.config.api_key_generated);
        assert_eq!(reload.config.tls, running.tls);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = loader(Path::new("/nowhere/rc.toml")).load().unwrap_err().to_string();
        assert_eq!(
            error,
            "/nowhere/rc.toml: cannot read the configuration file: No such file or directory (os error 2)"
        );
        let error = loader(Path::new("/dev/zero")).load().unwrap_err().to_string();
        assert_eq!(error, "/dev/zero: cannot read the configuration file: it is larger than 4194304 bytes");
    }

    #[test]
    fn a_variable_that_names_no_file_says_so() {
        let why = "ROOMCAST_CONFIG=\"\": it is empty: name a configuration file, or take the variable away";
        assert_eq!(no_file().to_string(), why);
    }

    #[test]
    fn what_is_missing_comes_without_a_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "dev = false").unwrap();
        let error = loader(file.path()).load().unwrap_err().to_string();
        assert!(error.starts_with("there is no listener for clients: set"), "{error}");
        assert!(error.contains("\nno client could join: set `anonymous = true`"), "{error}");
    }

    #[test]
    fn the_state_directory_follows_the_xdg_specification() {
        let dir = |variables: &[(&str, &str)]| {
            state_dir(&variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        let home = ("HOME", "/home/me");
        assert_eq!(dir(&[home, ("XDG_STATE_HOME", "/state")]), Some("/state/roomcast".into()));
        assert_eq!(dir(&[home, ("XDG_STATE_HOME", "state")]), Some("/home/me/.local/state/roomcast".into()));
        assert_eq!(dir(&[home, ("XDG_STATE_HOME", "")]), Some("/home/me/.local/state/roomcast".into()));
        assert_eq!(dir(&[("HOME", "")]), None);
        assert_eq!(dir(&[]), None);
    }

    #[test]
    fn two_processes_never_make_the_same_api_key() {
        let key = || Machine::detect(&Variables::new()).unwrap().api_key.reveal().to_owned();
        let (one, two) = (key(), key());
        assert!(one.len() == 32 && one != two);
    }
}
