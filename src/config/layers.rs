//! The layers over the defaults: file, then environment, then flags. The later one wins, key by key.
//!
//! Pure: takes texts, gives settings, or everything that is wrong with them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{
    address::ListenAddress,
    dialect,
    error::{ConfigError, Location, Problem},
    file,
    interpolate::{Variables, without_service_links},
    item::{bad_value, unknown_key},
    legacy::Legacy,
    nearest::nearest,
    policies::Rule,
    preset::Preset,
    raw::{Entry, Raw},
    section::{Key, Section},
    settings::Settings,
    tokens::HmacSecret,
    value::duration,
};

/// What stands before the name of every variable that sets a key.
pub(crate) const PREFIX: &str = "ROOMCAST_";

/// Variables of the other commands, which may be set where a pod starts too.
const OTHER_VARIABLES: [&str; 1] = ["ROOMCAST_TOKEN"];

/// Names the configuration file; not a key, because the file cannot name itself.
pub(crate) const CONFIG_VARIABLE: &str = "ROOMCAST_CONFIG";

/// Names the preset.
pub(crate) const PRESET_VARIABLE: &str = "ROOMCAST_PRESET";

/// Values of flags, by the key's path (`limits.max_rooms`). Repeated ones are joined with commas.
pub type Flags = BTreeMap<String, String>;

/// Settings, and where each that was set was set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// The settings.
    pub settings: Settings,
    /// By the key's path; keys that are missing here have their defaults.
    pub places: BTreeMap<String, Location>,
    /// What was taken otherwise than it was written.
    pub warnings: Vec<String>,
}

/// Merges the layers.
///
/// # Errors
/// Every unknown key and every bad value of every layer, also of one that another layer overrides.
pub fn merge(flags: &Flags, variables: &Variables, file: Option<(&Path, &str)>) -> Result<Merged, ConfigError> {
    merge_over(None, flags, variables, file)
}

/// Merges the layers over a preset.
///
/// # Errors
/// As [`merge`].
pub fn merge_over(
    preset: Option<&Preset>,
    flags: &Flags,
    variables: &Variables,
    file: Option<(&Path, &str)>,
) -> Result<Merged, ConfigError> {
    let mut merge = Merge { merged: Merged::default(), filled: BTreeMap::new(), problems: Vec::new() };
    let keys = keys();
    let mut used = Vec::new();
    let (mut policies, mut legacy, mut dialects) = (Vec::new(), Vec::new(), Vec::new());
    let below = preset.map(Preset::path);
    let of_others = without_service_links(variables);
    let preset = preset.map(|preset| (preset.path(), preset.file, true));
    let file = file.map(|(path, text)| (path.to_owned(), text, false));
    for (path, text, is_preset) in preset.into_iter().chain(file) {
        let contents = file::parse(&path, text, if is_preset { &of_others } else { variables }, is_preset)?;
        used.extend(contents.used);
        merge.problems.extend(contents.problems);
        policies = file::lay(policies, contents.policies, "match");
        legacy = file::lay(legacy, contents.legacy, "channels");
        dialects = file::lay(dialects, contents.dialects, "name");
        for entry in contents.entries {
            match keys.iter().find(|key| key.section == entry.section && key.name == entry.name) {
                Some(key) => merge.set_entry(key, &entry, Location::Line(path.clone(), entry.line)),
                None => merge.problems.push(unknown_key(&path, &entry, &keys)),
            }
        }
    }
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    for (name, value) in ours {
        match keys.iter().find(|key| key.variable() == *name) {
            Some(key) => merge.set(key, &Raw::Text(value.clone()), Location::Variable(name.clone()), &[]),
            None if OTHER_VARIABLES.contains(&name.as_str()) => {}
            None if name == CONFIG_VARIABLE
                || name == PRESET_VARIABLE
                || used.contains(name)
                || is_service_link(name) => {}
            None => merge.problems.push(unknown_variable(name, &keys)),
        }
    }
    for (path, value) in flags {
        if let Some(key) = keys.iter().find(|key| key.path() == *path) {
            merge.set(key, &Raw::Text(value.clone()), Location::Flag(key.flag()), &[]);
        }
    }
    merge.part_listeners(below.as_deref());
    merge.problems.extend(merge.short_secret());
    // Last, because the rules of a room start from the default policy, which every layer may have changed.
    for policy in policies {
        match Rule::read(policy, &merge.merged.settings.default_policy) {
            Ok(rule) => merge.merged.settings.policies.push(rule),
            Err(problems) => merge.problems.extend(problems),
        }
    }
    for item in legacy {
        match Legacy::read(&item) {
            Ok(legacy) => merge.merged.settings.legacy.push(legacy),
            Err(problems) => merge.problems.extend(problems),
        }
    }
    for item in dialects {
        match dialect::read(&item) {
            Ok(description) => merge.merged.settings.dialects.push(description),
            Err(problems) => merge.problems.extend(problems),
        }
    }
    if merge.problems.is_empty() { Ok(merge.merged) } else { Err(ConfigError { problems: merge.problems }) }
}

/// Every key outside of `[[policy]]`, in the order of the reference.
#[must_use]
pub fn keys() -> Vec<Key> {
    Settings::default().tables().into_iter().flat_map(|table| table.keys).collect()
}

struct Merge {
    merged: Merged,
    /// The variables that a value of the file was filled in from, by the key's path.
    filled: BTreeMap<String, Vec<String>>,
    problems: Vec<Problem>,
}

impl Merge {
    /// `filled`: the variables that the value was filled in from.
    fn set(&mut self, key: &Key, value: &Raw, place: Location, filled: &[String]) {
        if let Err(problem) = self.try_set(key, value, place, filled) {
            self.problems.push(problem);
        }
    }

    /// Sets a key of a file. A duration that a preset has from a variable is one of the system which it replaces. There 0, or less, means
    /// that there is no limit: where there is always one, that of the preset stays. What is out of range here becomes the nearest that is not.
    fn set_entry(&mut self, key: &Key, entry: &Entry, place: Location) {
        let Err(problem) = self.try_set(key, &entry.value, place.clone(), &entry.filled) else { return };
        match &entry.unfilled {
            Some(own) if key.kind == "duration" && is_no_time(&entry.value) => self.set(key, own, place, &[]),
            Some(_) => match self.section(key).and_then(|section| section.nearest(key.name, &entry.value)) {
                Some(nearest) => {
                    let (given, taken) = (entry.value.shown(), nearest.shown());
                    let from = come_from(&entry.filled);
                    let path = key.path();
                    self.merged.warnings.push(format!(
                        "`{path}` is {given}, which is out of range, and is taken for {taken} (allowed: {}){from}",
                        key.allowed
                    ));
                    self.set(key, &nearest, place, &entry.filled);
                }
                None => self.problems.push(problem),
            },
            None => self.problems.push(problem),
        }
    }

    fn section(&mut self, key: &Key) -> Option<&mut dyn Section> {
        let has = |section: &&mut dyn Section| {
            section.name() == key.section && section.keys().iter().any(|own| own.name == key.name)
        };
        self.merged.settings.sections_mut().into_iter().find(has)
    }

    fn try_set(&mut self, key: &Key, value: &Raw, place: Location, filled: &[String]) -> Result<(), Problem> {
        let Some(section) = self.section(key) else { return Ok(()) };
        section.set(key.name, value).map_err(|why| {
            let mut problem = bad_value(key, value, place.clone(), &why);
            problem.why.push_str(&come_from(filled));
            problem
        })?;
        self.merged.places.insert(key.path(), place);
        self.filled.insert(key.path(), filled.to_vec());
        Ok(())
    }

    /// A system that a preset replaces may have been told to show its metrics where its clients connect: it opens nothing more then. The
    /// internal listener has more than metrics, and stays what it is without a preset, on this machine.
    fn part_listeners(&mut self, preset: Option<&Path>) {
        const KEY: &str = "internal_listen";
        let place = self.merged.places.get(KEY);
        let is_preset = matches!((place, preset), (Some(Location::Line(file, _)), Some(preset)) if file == preset);
        let general = &self.merged.settings.general;
        let public: Vec<_> = general.listen.iter().chain(&general.plain_listen).flatten().collect();
        let meets = |own: &ListenAddress| public.iter().any(|public| own.meets(**public));
        if is_preset && general.internal_listen.iter().any(meets) {
            self.merged.settings.general.internal_listen = Settings::default().general.internal_listen;
            self.merged.places.remove(KEY);
        }
    }

    /// The problem with a secret that could be found by trying, unless such secrets are allowed.
    fn short_secret(&self) -> Option<Problem> {
        const KEY: &str = "tokens.hmac_secrets";
        let tokens = &self.merged.settings.tokens;
        let bytes = tokens.hmac_secrets.iter().filter(|_| !tokens.short_secrets).find_map(HmacSecret::too_short)?;
        let mut why = format!(
            "it has {bytes} bytes, and HS256 needs at least {} (RFC 7518 section 3.2); make one with: openssl rand -hex 32; \
             `tokens.short_secrets = true` (ROOMCAST_TOKENS_SHORT_SECRETS=true) keeps this one, which can be found by trying",
            HmacSecret::MIN_BYTES
        );
        why.push_str(&come_from(self.filled.get(KEY).map_or(&[], Vec::as_slice)));
        let place = self.merged.places.get(KEY).cloned().unwrap_or(Location::Whole);
        Some(Problem { place, key: KEY.to_owned(), given: None, why })
    }
}

/// Says where a value of the file came from: the operator that set the variable may not know the file.
fn come_from(filled: &[String]) -> String {
    if filled.is_empty() { String::new() } else { format!("; it comes from {}", filled.join(", ")) }
}

/// Whether a value is a duration of 0, or less.
fn is_no_time(value: &Raw) -> bool {
    let Raw::Text(text) = value else { return false };
    match text.trim().strip_prefix('-') {
        Some(time) => duration(time, Duration::ZERO..=Duration::MAX).is_ok(),
        None => duration(text, Duration::ZERO..=Duration::ZERO).is_ok(),
    }
}

fn unknown_variable(name: &str, keys: &[Key]) -> Problem {
    let known: Vec<String> = keys.iter().map(Key::variable).collect();
    let why = match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("no key has this variable; did you mean {meant}?"),
        None => "no key has this variable; `roomcast serve --help` lists them. \
                 If it is not meant for the pod, give it a name that does not start with ROOMCAST_"
            .to_owned(),
    };
    Problem { place: Location::Variable(name.to_owned()), key: String::new(), given: None, why }
}

/// Whether Kubernetes made this variable, for a service that is called roomcast or roomcast-something: such a pod must
/// start all the same.
fn is_service_link(name: &str) -> bool {
    let link = |suffix: &str| {
        suffix == "PORT"
            || suffix.starts_with("PORT_")
            || suffix == "SERVICE_HOST"
            || suffix.starts_with("SERVICE_PORT")
    };
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let mut words = rest.match_indices('_').map(|(at, _)| rest.get(at + 1..).unwrap_or(""));
    link(rest) || words.any(link)
}

#[cfg(test)]
mod tests;
