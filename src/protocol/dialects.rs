//! The dialects of a pod, and on which paths they are spoken.

use std::{collections::HashMap, sync::Arc};

use super::{
    dialect::Dialect,
    engineio::Endpoint,
    http_mount::{HttpMount, PollParameters},
    native::Native,
    wire_format::DialectId,
};
use crate::dialect::segments;

/// The dialects of a pod with their names, made once at start.
///
/// Always holds: the first is what a connection speaks that asks for no other, and no path is mounted twice.
pub struct Dialects {
    dialects: Vec<(Arc<str>, Box<dyn Dialect>)>,
    mounts: HashMap<Box<str>, DialectId>,
    http: HashMap<Box<str>, HttpMount>,
    /// The same for patterns of paths.
    patterns: Vec<(Box<str>, HttpMount)>,
    endpoints: Vec<Arc<Endpoint>>,
}

/// Why a dialect cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// There are as many as there may be.
    #[error("a pod speaks at most 255 dialects")]
    TooMany,
    /// Another one is there.
    #[error("two dialects are mounted on {0}, or something else of the pod is there")]
    Taken(Box<str>),
}

impl Default for Dialects {
    fn default() -> Self {
        Self::new(vec![("native".into(), Box::new(Native))])
    }
}

impl Dialects {
    /// Dialects of one's own, on no path; the first is what connections speak that ask for nothing else. At most 255.
    #[must_use]
    pub fn new(mut dialects: Vec<(Arc<str>, Box<dyn Dialect>)>) -> Self {
        dialects.truncate(usize::from(u8::MAX));
        let http = [
            ("/poll".into(), HttpMount::Poll(DialectId::NATIVE, PollParameters::default())),
            ("/send".into(), HttpMount::Send(DialectId::NATIVE)),
        ];
        let (http, patterns) = (http.into(), Vec::new());
        Self { dialects, mounts: HashMap::new(), http, patterns, endpoints: Vec::new() }
    }

    /// Adds a dialect that WebSockets on these paths speak unless they ask for `roomcast.v1`.
    ///
    /// # Errors
    /// [`MountError`]; nothing was added then.
    pub fn mount(
        &mut self,
        name: &str,
        dialect: Box<dyn Dialect>,
        paths: impl IntoIterator<Item = Box<str>>,
    ) -> Result<DialectId, MountError> {
        let paths: Vec<Box<str>> = paths.into_iter().collect();
        if let Some(taken) = paths.iter().find(|path| self.at(path).is_some() || self.http_at(path).is_some()) {
            return Err(MountError::Taken(taken.clone()));
        }
        let id = u8::try_from(self.dialects.len()).ok().filter(|id| *id < u8::MAX).ok_or(MountError::TooMany)?;
        self.dialects.push((name.into(), dialect));
        self.mounts.extend(paths.into_iter().map(|path| (path, DialectId(id))));
        Ok(DialectId(id))
    }

    /// Puts something for clients without a WebSocket on a path.
    ///
    /// # Errors
    /// [`MountError::Taken`]; nothing was added then.
    pub fn mount_http(&mut self, path: Box<str>, mount: HttpMount) -> Result<(), MountError> {
        if matches!(&*path, "/" | "/events") || self.at(&path).is_some() || self.http_at(&path).is_some() {
            return Err(MountError::Taken(path));
        }
        if path.split('/').any(|segment| segment == "*") {
            self.patterns.push((path, mount));
        } else {
            self.http.insert(path, mount);
        }
        Ok(())
    }

    /// What clients without a WebSocket find on a path.
    #[must_use]
    pub fn http_at(&self, path: &str) -> Option<&HttpMount> {
        let by_pattern = || self.patterns.iter().find(|(pattern, _)| segments(pattern, path).is_some());
        self.http.get(path).or_else(|| by_pattern().map(|(_, mount)| mount))
    }

    /// Speaks Engine.IO on a path.
    ///
    /// # Errors
    /// [`MountError`]; nothing was added then.
    pub fn serve(&mut self, endpoint: Endpoint) -> Result<(), MountError> {
        if self.mounts.contains_key(&endpoint.path)
            || self.http.contains_key(&endpoint.path)
            || self.endpoint(&endpoint.path).is_some()
        {
            return Err(MountError::Taken(endpoint.path));
        }
        self.endpoints.push(Arc::new(endpoint));
        Ok(())
    }

    /// What is spoken by Engine.IO on a path.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| *endpoint.path == *path)
    }

    /// All that is spoken by Engine.IO.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The dialect that is mounted on a path.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<DialectId> {
        self.mounts.get(path).copied()
    }

    /// The dialect behind an id.
    #[must_use]
    pub fn get(&self, id: DialectId) -> &dyn Dialect {
        &*self.dialects[id.index()].1
    }

    /// Its name, for metrics and the API.
    #[must_use]
    pub fn name(&self, id: DialectId) -> &Arc<str> {
        &self.dialects[id.index()].0
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = DialectId> {
        (0..=u8::MAX).take(self.dialects.len()).map(DialectId)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_dialect() {
        let mut dialects = Dialects::default();
        let mut mount = |name, path: &str| dialects.mount(name, Box::new(Native), [path.into()]);
        let other = mount("other", "/ws").unwrap();
        assert_eq!(mount("third", "/ws"), Err(MountError::Taken("/ws".into())));
        assert_eq!((dialects.at("/ws"), dialects.at("/ws/")), (Some(other), None));
        assert_eq!((dialects.ids().count(), &**dialects.name(other)), (2, "other"));
        assert_eq!(dialects.mount_http("/in".into(), HttpMount::Send(other)), Ok(()));
        assert_eq!(dialects.http_at("/in"), Some(&HttpMount::Send(other)));
        assert_eq!(dialects.mount_http("/in/*/log".into(), HttpMount::Ask(other, 1)), Ok(()));
        assert_eq!(dialects.http_at("/in/7/log"), Some(&HttpMount::Ask(other, 1)));
        for taken in ["/in/*/log", "/in", "/ws", "/poll", "/send", "/events", "/"] {
            let mounted = dialects.mount_http(taken.into(), HttpMount::Send(other));
            assert_eq!(mounted, Err(MountError::Taken(taken.into())));
        }
        for n in 2..255 {
            dialects.mount("more", Box::new(Native), [format!("/{n}").into()]).unwrap();
        }
        assert_eq!(dialects.mount("more", Box::new(Native), []), Err(MountError::TooMany));
    }
}
