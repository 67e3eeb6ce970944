//! Presets: configuration files that are built in, each of which makes a pod take the place of a known system.
//!
//! A preset lies below the operator's file, the environment and the flags. Its `${…}` are the variables of the system that
//! it replaces, so that these are read under their preset only; one that is empty counts as not set.

/// A configuration file that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// The file.
    pub file: &'static str,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] = [
        Self { name: "trips", file: include_str!("../../presets/trips.toml") },
        Self { name: "loomio", file: include_str!("../../presets/loomio.toml") },
        Self { name: "ticketing", file: include_str!("../../presets/ticketing.toml") },
        Self { name: "live-polls", file: include_str!("../../presets/live-polls.toml") },
        Self { name: "social", file: include_str!("../../presets/social.toml") },
    ];

    /// The preset of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        const ALL: &[Preset] = &Preset::ALL;
        ALL.iter().find(|preset| preset.name == name)
    }

    /// What it is for: the first line of the file.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.file.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
    }

    /// What its places are called in errors.
    pub(crate) fn path(&self) -> std::path::PathBuf {
        format!("preset {}", self.name).into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{ApiKey, Flags, Machine, MemoryCeiling, Variables, layers::merge_over, resolve};

    /// As `roomcast default-config --preset NAME > FILE` and `--config FILE` do.
    #[test]
    fn a_preset_that_is_printed_to_a_file_is_the_same_configuration() {
        let secret = ("JWT_SECRET".to_owned(), "s".repeat(32));
        let backend = ("BACKEND_HOOKS".to_owned(), "https://b.example".to_owned());
        let backend = [backend, ("BACKEND_SECRET".to_owned(), "s".repeat(16))];
        for variables in
            [Variables::new(), Variables::from([secret.clone()]), backend.into_iter().chain([secret]).collect()]
        {
            for preset in Preset::ALL {
                let within = merge_over(Some(&preset), &Flags::new(), &variables, None).unwrap();
                let file =
                    merge_over(None, &Flags::new(), &variables, Some(("rc.toml".as_ref(), preset.file))).unwrap();
                assert!(within.settings == file.settings, "{}", preset.name);
            }
        }
    }

    #[test]
    fn every_preset_makes_a_pod() {
        let machine = Machine {
            cores: 1,
            open_files: 10_000,
            memory: MemoryCeiling::detect(),
            state_dir: None,
            api_key: ApiKey::new("key".to_owned()).unwrap(),
        };
        // One of them lets no client in without a token, and so needs a key for them.
        let variables = Variables::from([("JWT_SECRET".to_owned(), "s".repeat(32))]);
        for preset in Preset::ALL {
            let merged = merge_over(Some(&preset), &Flags::new(), &variables, None).unwrap();
            let config = resolve(merged.settings, &machine).unwrap();
            assert!(!config.dev && !config.dialects.is_empty() && preset.about().len() > 20, "{}", preset.name);
            assert!(config.plain_listen.iter().all(|bind| bind.address.ip().is_unspecified()), "{}", preset.name);
        }
    }

    #[test]
    fn variables_of_loomio_may_name_several_servers_and_pages() {
        let variables = [
            ("PUBLIC_APP_URL", "https://a.example,https://b.example"),
            ("CHATBOT_SERVERS", "https://matrix.example.com, https://*.example.org"),
        ];
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let preset = Preset::named("loomio").unwrap();
        let settings = merge_over(Some(preset), &Flags::new(), &variables, None).unwrap().settings;
        assert_eq!(settings.general.origins.len(), 2);
        // By its key: the core names no customer's folder.
        let servers = settings.get("chatbots.servers");
        assert_eq!(servers.as_deref(), Some("[\"https://matrix.example.com\", \"https://*.example.org\"]"));
    }
}
