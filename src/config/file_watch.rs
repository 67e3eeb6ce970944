//! Whether the configuration file has changed, by its content: where no SIGHUP comes, as in Kubernetes, which replaces the files of a
//! ConfigMap below a pod that runs.
//!
//! Always holds: a change counts once, and only when two looks have found it, so that a file that is being written is left alone.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A configuration file above this size is refused unread.
pub(super) const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A file, as it was taken over, and as it was at the last look.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    taken: Option<u64>,
    seen: Option<u64>,
}

impl FileWatch {
    /// Of a file that is taken over as it is now.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let now = look(&path);
        Self { path, taken: now, seen: now }
    }

    /// Looks; whether there is a change to be taken over. A file that cannot be read any more is a change too, of which reading it says
    /// what is wrong.
    pub fn has_changed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.seen, look(&self.path));
        let settled = self.seen == before && self.seen != self.taken;
        if settled {
            self.taken = self.seen;
        }
        settled
    }

    /// Notes that the file is read as it is now, for another reason.
    pub fn take(&mut self) {
        self.seen = look(&self.path);
        self.taken = self.seen;
    }
}

/// What is in the file; `None`: it cannot be read. Of a file that is too large to be taken, the beginning.
fn look(path: &Path) -> Option<u64> {
    let read = || -> io::Result<u64> {
        let mut content = Vec::new();
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Ok(hasher.finish())
    };
    read().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_stands_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rc.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("a");
        let mut watch = FileWatch::new(path.clone());
        assert!(!watch.has_changed() && !watch.has_changed());
        write("half");
        assert!(!watch.has_changed(), "it may be being written");
        write("whole");
        assert!(!watch.has_changed(), "it was");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "once");
        write("other");
        assert!(!watch.has_changed());
        write("whole");
        assert!(!watch.has_changed() && !watch.has_changed(), "it is again what was taken");
        write("by signal");
        watch.take();
        assert!(!watch.has_changed() && !watch.has_changed());
    }

    #[test]
    fn a_file_that_is_gone_and_one_that_is_back_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rc.toml");
        std::fs::write(&path, "a").unwrap();
        let mut watch = FileWatch::new(path.clone());
        std::fs::remove_file(&path).unwrap();
        assert!(!watch.has_changed() && watch.has_changed() && !watch.has_changed());
        std::fs::write(&path, "a").unwrap();
        assert!(!watch.has_changed() && watch.has_changed() && !watch.has_changed());
    }

    #[test]
    fn a_link_that_points_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("one"), "a").unwrap();
        std::fs::write(at("two"), "b").unwrap();
        std::os::unix::fs::symlink("one", at("now")).unwrap();
        let mut watch = FileWatch::new(at("now"));
        std::os::unix::fs::symlink("two", at("next")).unwrap();
        std::fs::rename(at("next"), at("now")).unwrap();
        assert!(!watch.has_changed() && watch.has_changed());
    }
}
