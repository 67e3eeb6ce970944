//! The key that names Engine.IO sessions: which pods of a fleet understand each other's.

use std::io;

use super::start_error::StartError;
use crate::{
    config::{ApiKey, Config},
    protocol::engineio::SessionKey,
};

/// A secret that all pods of a fleet share, or one of this pod alone.
pub(super) fn session_key(config: &Config) -> Result<SessionKey, StartError> {
    if let Some(secret) = &config.socketio.secret {
        return Ok(SessionKey::new(secret.reveal().as_bytes()));
    }
    let keys: Vec<&str> = config.api_keys.iter().map(ApiKey::reveal).filter(|key| !key.is_empty()).collect();
    if !keys.is_empty() {
        return Ok(SessionKey::new(format!("api keys\0{}", keys.join("\0")).as_bytes()));
    }
    let mut own = [0; 32];
    getrandom::fill(&mut own).map_err(|error| StartError::Thread(io::Error::other(error)))?;
    Ok(SessionKey::new(&own))
}
