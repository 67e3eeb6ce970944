//! Which wire formats a pod speaks, and where: the native one, those that the configuration describes, and Socket.IO with
//! what it surrounds.
//!
//! Decided once, at start. Always holds: no two of them have a path in common.

use crate::{
    config::Config,
    dialect,
    protocol::{
        Described, Dialect, Dialects, HttpMount, MountError, PollParameters,
        engineio::{Endpoint, Timing, Within},
        socketio::{Envelope, Rooms},
    },
};

/// The dialects of a configuration.
///
/// # Errors
/// Two of them claim one path or name, or there are too many.
pub(super) fn of(config: &Config) -> Result<Dialects, MountError> {
    let mut dialects = Dialects::default();
    for description in config.dialects.iter().filter(|it| it.envelope == dialect::Envelope::Json) {
        let paths = description.paths.iter().map(|path| path.as_str().into());
        let id = dialects.mount(&description.name, Box::new(Described::new(description.clone())), paths)?;
        let (cursor, room) = (description.poll_cursor.as_str().into(), description.poll_room.as_str().into());
        let parameters = PollParameters { cursor, room, no_others: false };
        for path in &description.poll_paths {
            dialects.mount_http(path.as_str().into(), HttpMount::Poll(id, parameters.clone()))?;
        }
        for path in &description.send_paths {
            dialects.mount_http(path.as_str().into(), HttpMount::Send(id))?;
        }
        for (at, request) in description.requests.iter().enumerate() {
            dialects.mount_http(request.path.as_str().into(), HttpMount::Ask(id, at))?;
        }
    }
    let settings = &config.socketio;
    if settings.enabled {
        let mut namespaces = Vec::new();
        for name in &settings.namespaces {
            let mut described = config.dialects.iter().filter(|it| it.envelope == dialect::Envelope::Socketio);
            let inner: Box<dyn Dialect> = match described.find(|it| it.is_for(name)) {
                Some(description) => Box::new(Described::new(description.clone())),
                None => Box::new(Rooms),
            };
            let dialect = Box::new(Envelope::new(name, inner, settings.recovery.is_some()));
            let named = if name == "/" { "socketio".to_owned() } else { format!("socketio{name}") };
            namespaces.push((name.as_str().into(), dialects.mount(&named, dialect, [])?));
        }
        dialects.serve(Endpoint {
            path: settings.path.as_str().into(),
            within: Within::SocketIo(namespaces.into()),
            max_payload: settings.max_payload,
            timing: Timing {
                ping_interval: settings.ping_interval,
                ping_timeout: settings.ping_timeout,
                upgrade_timeout: settings.upgrade_timeout,
                connect_timeout: settings.connect_timeout,
                recovery: settings.recovery,
            },
            compress: settings.compression,
        })?;
    }
    Ok(dialects)
}
