//! Which customers' systems have settings: a line each. The only place of the configuration that names a customer's module.
//!
//! Owns the list. Never knows a key: these are in `compat/*/settings.rs`, which `tests/layers` counts as configuration.

use super::{
    customer::{CoreFacts, CustomerSettings},
    section::{Changes, Section},
    settings_error::SettingsError,
};

macro_rules! customers {
    ($($(#[doc = $doc:literal])+ $name:ident: $settings:ty;)*) => {
        /// The settings of every customer's system.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Customers {
            $($(#[doc = $doc])+ pub $name: $settings,)*
        }

        impl CustomerSettings for Customers {
            fn sections(&self) -> Vec<&dyn Section> {
                let mut sections = Vec::new();
                $(sections.extend(self.$name.sections());)*
                sections
            }

            fn sections_mut(&mut self) -> Vec<&mut dyn Section> {
                let mut sections = Vec::new();
                $(sections.extend(self.$name.sections_mut());)*
                sections
            }

            fn settle(&mut self, running: &Self, changes: &mut Changes) {
                $(self.$name.settle(&running.$name, changes);)*
            }

            fn check(&self, core: &CoreFacts, errors: &mut Vec<SettingsError>, warnings: &mut Vec<String>) {
                $(self.$name.check(core, errors, warnings);)*
            }
        }
    };
}

customers! {
    /// Loomio.
    loomio: crate::compat::loomio::settings::LoomioSettings;
    /// A ticket shop.
    ticketing: crate::compat::ticketing::settings::TicketingSettings;
}
