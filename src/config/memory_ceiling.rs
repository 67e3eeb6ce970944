//! How much memory this process may use in all: the tightest limit of its cgroups, else half of the machine's memory.
//!
//! Owns the words of the files that say so. Reads files through a function, so that tests have files of their own. Always holds: limits of
//! the process' own groups and of their parents count, of both versions of cgroups; what is used is asked of the group whose limit counts.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::value::{KIB, MIB};

/// Reads a file; `None`: it cannot be read.
type ReadFile<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How much memory this process may use in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryCeiling {
    /// The bytes.
    pub bytes: usize,
    /// What says so.
    pub source: MemorySource,
}

/// What says how much memory this process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemorySource {
    /// A cgroup.
    Cgroup {
        /// Of which version.
        version: CgroupVersion,
        /// Its folder.
        folder: PathBuf,
        /// The file with the limit.
        file: &'static str,
    },
    /// The machine's memory.
    Machine,
    /// Nothing: there is no such file here.
    Unknown,
}

/// A version of cgroups: what their files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// `memory` is a controller with a tree of its own.
    V1,
    /// One tree.
    V2,
}

/// Where cgroups of one version are, and which is this process' own.
struct Hierarchy {
    version: CgroupVersion,
    mount_point: PathBuf,
    own: PathBuf,
}

impl CgroupVersion {
    /// The files that may hold a limit.
    fn limits(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &["memory.limit_in_bytes"],
            // Above `high` the kernel stops the process again and again until memory is free.
            Self::V2 => &["memory.max", "memory.high"],
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }

    /// The line of `memory.stat` with the bytes of files that the kernel gives up first.
    fn inactive_files(self) -> &'static str {
        match self {
            Self::V1 => "total_inactive_file",
            Self::V2 => "inactive_file",
        }
    }
}

impl MemoryCeiling {
    /// The ceiling of this process, on this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::read(&read_file)
    }

    /// How much the process uses now; `None`: nothing says so.
    #[must_use]
    pub fn used(&self) -> Option<usize> {
        self.used_by(&read_file)
    }

    /// What newcomers must leave free: for what those that are in still need, and for what the pod does not count.
    #[must_use]
    pub fn reserve(&self) -> usize {
        (self.bytes / 8).clamp(4 * MIB, 256 * MIB).min(self.bytes / 2)
    }

    /// How much of it the pod's queues may hold where nothing else is set.
    #[must_use]
    pub fn budget(&self) -> usize {
        match self.source {
            MemorySource::Unknown => 256 * MIB,
            MemorySource::Cgroup { .. } | MemorySource::Machine => (self.bytes / 2).max(MIB),
        }
    }

    /// In words: where the queues' budget comes from, and what the whole process may use. `is_set`: the budget is the operator's.
    #[must_use]
    pub fn origin(&self, is_set: bool) -> String {
        match &self.source {
            _ if is_set => format!("the budget is set; the process may use {self}"),
            MemorySource::Unknown => format!("the budget is the one for {self}"),
            MemorySource::Cgroup { .. } | MemorySource::Machine => format!("the budget is half of {self}"),
        }
    }

    fn read(read: ReadFile<'_>) -> Self {
        let machine = read("/proc/meminfo").and_then(|text| kibibytes(&text, "MemTotal:"));
        let mounts = read("/proc/self/mountinfo").unwrap_or_default();
        let groups = read("/proc/self/cgroup").unwrap_or_default();
        let limits = hierarchies(&mounts, &groups).into_iter().flat_map(|hierarchy| limits(&hierarchy, read));
        // A group without a limit says a number that no machine has.
        let tightest =
            limits.filter(|limit| machine.is_none_or(|machine| limit.bytes < machine)).min_by_key(|it| it.bytes);
        tightest.unwrap_or(match machine {
            Some(machine) => Self { bytes: machine / 2, source: MemorySource::Machine },
            None => Self { bytes: usize::MAX, source: MemorySource::Unknown },
        })
    }

    fn used_by(&self, read: ReadFile<'_>) -> Option<usize> {
        match &self.source {
            MemorySource::Cgroup { version, folder, .. } => {
                let used = read(folder.join(version.usage()).to_str()?)?.trim().parse::<usize>().ok()?;
                let stat = read(folder.join("memory.stat").to_str()?).unwrap_or_default();
                Some(used.saturating_sub(number_behind(&stat, version.inactive_files()).unwrap_or_default()))
            }
            MemorySource::Machine => kibibytes(&read("/proc/self/status")?, "VmRSS:"),
            MemorySource::Unknown => None,
        }
    }
}

impl fmt::Display for MemoryCeiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes / MIB;
        match &self.source {
            MemorySource::Cgroup { folder, file, .. } => write!(f, "the {mib} MiB of {}", folder.join(file).display()),
            MemorySource::Machine => write!(f, "{mib} MiB, which is half of the machine's memory"),
            MemorySource::Unknown => f.write_str("memory without a known limit"),
        }
    }
}

fn read_file(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number in the line that begins with `name`, which counts in KiB.
fn kibibytes(text: &str, name: &str) -> Option<usize> {
    number_behind(text, name)?.checked_mul(KIB)
}

/// The number behind `name` at the beginning of a line.
fn number_behind(text: &str, name: &str) -> Option<usize> {
    let mut lines = text.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| words.next().filter(|word| *word == name).and_then(|_| words.next()?.parse().ok()))
}

/// Where the groups of this process are that could have a limit: from `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn hierarchies(mounts: &str, groups: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for mount in mounts.lines() {
        let Some((place, kind)) = mount.split_once(" - ") else { continue };
        let mut kind = kind.split(' ');
        let version = match kind.next() {
            Some("cgroup2") => CgroupVersion::V2,
            Some("cgroup") if kind.nth(1).is_some_and(|options| options.split(',').any(|it| it == "memory")) => {
                CgroupVersion::V1
            }
            _ => continue,
        };
        let mut place = place.split(' ').skip(3);
        let (Some(root), Some(mount_point)) = (place.next(), place.next()) else { continue };
        let Some(own) = groups.lines().find_map(|line| own_group(line, version)) else { continue };
        let (root, mount_point) = (unescape(root), PathBuf::from(unescape(mount_point)));
        // In a container the mount may begin below the group's place: what is above cannot be seen.
        let below = Path::new(own).strip_prefix(&root).unwrap_or(Path::new(""));
        let below = if below.components().any(|part| part.as_os_str() == "..") { Path::new("") } else { below };
        found.push(Hierarchy { version, own: mount_point.join(below), mount_point });
    }
    found
}

/// The group's place in its tree, if a line of `/proc/self/cgroup` is of that version's tree: `4:memory:/a/b`, `0::/a/b`.
fn own_group(line: &str, version: CgroupVersion) -> Option<&str> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, place) = (parts.next()?, parts.next()?, parts.next()?);
    let is_its = match version {
        CgroupVersion::V1 => controllers.split(',').any(|it| it == "memory"),
        CgroupVersion::V2 => number == "0" && controllers.is_empty(),
    };
    is_its.then_some(place)
}

/// A path of `mountinfo`, in which a space is `\040`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// The limits of a hierarchy's own group and of its parents.
fn limits(hierarchy: &Hierarchy, read: ReadFile<'_>) -> Vec<MemoryCeiling> {
    let &Hierarchy { version, ref own, ref mount_point } = hierarchy;
    let mut found = Vec::new();
    let mut add = |bytes: Option<usize>, folder: &Path, file: &'static str| {
        let source = MemorySource::Cgroup { version, folder: folder.to_owned(), file };
        found.extend(bytes.map(|bytes| MemoryCeiling { bytes, source }));
    };
    for folder in own.ancestors().take_while(|folder| folder.starts_with(mount_point)) {
        for file in version.limits() {
            let text = folder.join(file).to_str().and_then(read);
            add(text.and_then(|text| text.trim().parse().ok()), folder, file);
        }
    }
    if version == CgroupVersion::V1 {
        // Of parents that cannot be seen from here too.
        let stat = own.join("memory.stat").to_str().and_then(read).unwrap_or_default();
        add(number_behind(&stat, "hierarchical_memory_limit"), own, "memory.stat");
    }
    found
}

#[cfg(test)]
mod tests;
