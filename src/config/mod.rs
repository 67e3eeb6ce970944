//! What the operator decides: flags over environment over file over defaults.
//!
//! `settings` describes each key once: flags, variables, the file, the reference in `docs/CONFIGURATION.md` and every
//! error follow from it. `resolve` applies the rules between keys, development mode above all, and gives the [`Config`]
//! that the pod uses as it is.

mod address;
mod addresses;
mod api_key;
mod customer;
mod customers;
mod dialect;
mod error;
mod file;
mod grpc;
mod hooks;
mod host;
mod interpolate;
mod item;
mod layers;
mod legacy;
mod loader;
mod logging;
mod look_up;
mod memory_ceiling;
mod nearest;
mod network;
mod origins;
mod policies;
mod preset;
pub(crate) mod raw;
mod record_layer;
mod redaction;
mod redis;
mod redis_settings;
mod redis_url;
mod reference;
mod resolve;
pub(crate) mod section;
mod settings;
mod settings_error;
mod socketio;
mod tls;
mod token_settings;
mod tokens;
mod url_path;
pub(crate) mod value;
mod warnings;
mod webtransport;

pub use address::{Bind, ListenAddress};
pub use addresses::{AddressHeader, AddressSettings};
pub use api_key::ApiKey;
pub(crate) use customer::{CoreFacts, CustomerSettings};
pub use error::{ConfigError, Location};
pub use hooks::{HookSecret, HookSettings, HookUrl};
pub use interpolate::Variables;
pub use layers::{Flags, keys, merge, merge_over};
pub(crate) use legacy::ChannelPatternKind;
pub use legacy::{ChannelPattern, Encoding, Legacy};
pub use loader::Loader;
pub use logging::{LogFormat, LogLevel};
pub use look_up::{LookUpTemplate, TokenLookUp};
pub use memory_ceiling::{CgroupVersion, MemoryCeiling, MemorySource};
#[cfg(test)]
pub use network::Network;
pub use network::counted;
pub(crate) use origins::OriginKind;
pub use origins::{OriginPattern, Origins};
pub use policies::{Policies, RoomPattern, Rule};
pub use preset::Preset;
pub use record_layer::RecordLayer;
pub use redaction::without_secrets;
pub use redis::Redis;
pub use redis_url::{RedisKind, RedisPassword, RedisUrl};
pub use reference::{default_file, markdown};
pub use resolve::{Config, Machine, resolve};
pub use section::{Changes, Key};
pub use settings::{Settings, Timeouts};
pub use settings_error::SettingsError;
pub use tls::Tls;
pub use token_settings::TokenSettings;
pub(crate) use tokens::PersonalRoomKind;
pub use tokens::{HmacSecret, JwksUrl, PersonalRoom};
pub(crate) use url_path::MountPath;
pub use value::{GIB, KIB, MIB, duration};
pub use webtransport::WebTransport;
