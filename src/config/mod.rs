//! What the operator decides: flags over environment over file over defaults.
//!
//! `settings` describes each key once: flags, variables, the file, the reference in `docs/CONFIGURATION.md` and every
//! error follow from it. `resolve` applies the rules between keys, development mode above all, and gives the [`Config`]
//! that the pod uses as it is.

mod address;
mod api_key;
mod origins;
mod policies;
mod resolve;
mod section;
mod settings;
mod value;

pub use address::{Bind, ListenAddress};
pub use api_key::ApiKey;
pub use origins::{OriginPattern, Origins};
pub use policies::{Policies, RoomPattern, Rule};
pub use resolve::{Config, Drain, Machine, Missing, Tls, resolve};
pub use section::Key;
pub use settings::{
    Compression, DrainSettings, General, Limits, LogFormat, LogLevel, MemoryBroker, Settings, Socket, Timeouts,
};
pub use value::{GIB, KIB, MIB};
