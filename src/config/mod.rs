//! What the operator decides: flags over environment over file over defaults.
//!
//! `settings` describes each key once: flags, variables, the file, the reference in `docs/CONFIGURATION.md` and every
//! error follow from it. `resolve` applies the rules between keys, development mode above all, and gives the [`Config`]
//! that the pod uses as it is.

mod address;
mod api_key;
mod chatbots;
mod condition;
mod dialect;
mod error;
mod file;
mod grpc;
mod hooks;
mod interpolate;
mod layers;
mod legacy;
mod loader;
mod look_up;
mod message;
mod missing;
mod origins;
mod pointer;
mod policies;
mod preset;
mod redis;
mod reference;
mod resolve;
mod saying;
mod section;
mod settings;
mod socketio;
mod template;
mod tokens;
mod value;

pub use address::{Advertise, Bind, ListenAddress};
pub use api_key::ApiKey;
pub use chatbots::{Chatbots, Hocuspocus, HookAddress};
pub use condition::{Condition, Expected, fits};
pub use dialect::{CommandRule, Description, Does, Envelope, EventRule, Greet};
pub use error::{ConfigError, Place, Problem};
pub use grpc::{Grpc, GrpcSettings};
pub use hooks::{HookSecret, HookSettings, HookUrl};
pub use layers::{Flags, Merged, Variables, keys, merge, merge_over};
pub use legacy::{ChannelPattern, Encoding, Legacy};
pub use loader::{Loader, Reload};
pub use look_up::{Places, TokenLookUp};
pub use message::{Clock, Lacking, MessageTemplate, Name, Piece, Place as Filled, Step};
pub use missing::Missing;
pub use origins::{OriginPattern, Origins};
pub use pointer::{Pointer, text_of};
pub use policies::{Policies, RoomPattern, Rule};
pub use preset::Preset;
pub use redis::{Redis, RedisKind, RedisPassword, RedisUrl};
pub use reference::{default_file, markdown};
pub use resolve::{Config, Drain, Machine, Tls, resolve};
pub use saying::Saying;
pub use section::{Changes, Key};
pub use settings::{
    Compression, DrainSettings, General, Limits, LogFormat, LogLevel, MemoryBroker, RedisSettings, Settings, Socket,
    SocketIoSettings, Timeouts, TokenSettings, WebTransport,
};
pub use socketio::FleetSecret;
#[cfg(test)]
pub(crate) use template::Offers;
pub use template::{Part, Source, Template};
pub use tokens::{HmacSecret, JwksUrl, PersonalRoom};
pub use value::{GIB, KIB, MIB, duration};
