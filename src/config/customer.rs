//! The seam between the configuration and the settings of single customers' systems.

use super::{
    section::{Changes, Section},
    settings_error::SettingsError,
};

/// The keys of one customer's system, in tables of their own or in tables that the core has too.
pub(crate) trait CustomerSettings {
    /// Its keys by table.
    fn sections(&self) -> Vec<&dyn Section>;

    /// The same, to set them.
    fn sections_mut(&mut self) -> Vec<&mut dyn Section>;

    /// Notes what differs from `running`, and takes back what needs a restart.
    fn settle(&mut self, running: &Self, changes: &mut Changes);

    /// The rules between its keys and the core's.
    fn check(&self, _core: &CoreFacts, _errors: &mut Vec<SettingsError>, _warnings: &mut Vec<String>) {}
}

/// What a customer's rules may ask of the other settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CoreFacts {
    /// Whether there is a Redis, usable or not.
    pub(crate) has_redis: bool,
    /// Whether tokens are looked up in it.
    pub(crate) looks_tokens_up: bool,
}
