//! What the operator decides: flags over environment over file over defaults.
//!
//! `settings` describes each key once: flags, variables, the file, the reference in `docs/CONFIGURATION.md` and every
//! error follow from it. `resolve` applies the rules between keys, development mode above all, and gives the [`Config`]
//! that the pod uses as it is.

mod address;
mod api_key;
mod error;
mod file;
mod grpc;
mod interpolate;
mod layers;
mod legacy;
mod loader;
mod look_up;
mod origins;
mod policies;
mod redis;
mod reference;
mod resolve;
mod section;
mod settings;
mod tokens;
mod value;

pub use address::{Advertise, Bind, ListenAddress};
pub use api_key::ApiKey;
pub use error::{ConfigError, Place, Problem};
pub use grpc::{Grpc, GrpcSettings};
pub use layers::{Flags, Merged, Variables, keys, merge};
pub use legacy::{ChannelPattern, Encoding, Legacy, Part, Pointer, Template};
pub use loader::{Loader, Reload};
pub use look_up::{Places, TokenLookUp};
pub use origins::{OriginPattern, Origins};
pub use policies::{Policies, RoomPattern, Rule};
pub use redis::{Redis, RedisKind, RedisPassword, RedisUrl};
pub use reference::{default_file, markdown};
pub use resolve::{Config, Drain, Machine, Missing, Tls, resolve};
pub use section::{Changes, Key};
pub use settings::{
    Compression, DrainSettings, General, Limits, LogFormat, LogLevel, MemoryBroker, RedisSettings, Settings, Socket,
    Timeouts, TokenSettings,
};
pub use tokens::{HmacSecret, JwksUrl, PersonalRoom};
pub use value::{GIB, KIB, MIB, duration};
