//! What /proc says about a process and about the kernel, and the two signals that the bench sends. Linux only.

use std::{collections::BTreeMap, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::error::{BenchError, Doing as _};

/// A process that is watched from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

/// What a process holds in memory, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Memory {
    /// VmRSS: all resident pages.
    pub(crate) resident: u64,
    /// RssAnon: those that are its own (heap and stacks), without mapped files.
    pub(crate) anonymous: u64,
}

impl Process {
    /// The process `pid`.
    pub(crate) fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// The processor time that all its threads have used, in nanoseconds: `schedstat` of each task, and `stat` with its
    /// clock ticks where the kernel has no `schedstat`.
    pub(crate) fn cpu(&self) -> Result<u64, BenchError> {
        let tasks = format!("/proc/{}/task", self.0);
        let entries = fs::read_dir(&tasks).doing(|| format!("reading {tasks} (is the process still running?)"))?;
        let mut total = 0;
        for task in entries.filter_map(Result::ok) {
            match schedstat(&task.path().join("schedstat")) {
                Some(nanoseconds) => total += nanoseconds,
                None => return self.cpu_ticks(),
            }
        }
        Ok(total)
    }

    /// The processor time that its threads of this name have used, in nanoseconds.
    pub(crate) fn thread_cpu(&self, name: &str) -> Result<u64, BenchError> {
        let tasks = format!("/proc/{}/task", self.0);
        let entries = fs::read_dir(&tasks).doing(|| format!("reading {tasks} (is the process still running?)"))?;
        let called = |task: &Path| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
        let times = entries.filter_map(Result::ok).map(|task| task.path()).filter(|task| called(task));
        let times: Option<Vec<u64>> = times.map(|task| schedstat(&task.join("schedstat"))).collect();
        match times {
            Some(times) if !times.is_empty() => Ok(times.iter().sum()),
            _ => Err(BenchError::Protocol(format!("{tasks} says nothing of the processor time of a thread {name:?}"))),
        }
    }

    fn cpu_ticks(&self) -> Result<u64, BenchError> {
        let path = format!("/proc/{}/stat", self.0);
        let text = fs::read_to_string(&path).doing(|| format!("reading {path} (is the process still running?)"))?;
        let ticks = parse_ticks(&text).ok_or_else(|| BenchError::Protocol(format!("{path} has an unknown shape")))?;
        Ok(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// What it holds in memory.
    pub(crate) fn memory(&self) -> Result<Memory, BenchError> {
        let path = format!("/proc/{}/status", self.0);
        let text = fs::read_to_string(&path).doing(|| format!("reading {path} (is the process still running?)"))?;
        let fields = kilobytes(&text);
        let bytes = |name: &str| fields.get(name).copied().unwrap_or(0) * 1024;
        Ok(Memory { resident: bytes("VmRSS"), anonymous: bytes("RssAnon") })
    }

    /// The bytes of memory that are its own, with its share of what it has in common with other processes (Pss).
    pub(crate) fn proportional(&self) -> Result<u64, BenchError> {
        let path = format!("/proc/{}/smaps_rollup", self.0);
        let text = fs::read_to_string(&path).doing(|| format!("reading {path} (is the process still running?)"))?;
        let bytes = kilobytes(&text).get("Pss").map(|kilobytes| kilobytes * 1024);
        bytes.ok_or_else(|| BenchError::Protocol(format!("{path} has an unknown shape")))
    }

    /// The processes that it has started and that still run.
    pub(crate) fn children(&self) -> Vec<Self> {
        let all = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_child = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            parse_parent(&stat) == Some(self.0)
        };
        pids.filter(is_child).map(Self).collect()
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub(crate) fn hang_up(&self) -> Result<(), BenchError> {
        self.signal(Signal::HUP)
    }

    /// Ends it at once (SIGKILL).
    pub(crate) fn kill(&self) -> Result<(), BenchError> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<(), BenchError> {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        let gone = || BenchError::Protocol(format!("there is no process {}", self.0));
        kill_process(pid.ok_or_else(gone)?, signal).doing(|| format!("sending {signal:?} to process {}", self.0))
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).map_or(0, Iterator::count)
    }
}

/// `schedstat`'s first field: nanoseconds on a processor.
fn schedstat(path: &Path) -> Option<u64> {
    match fs::read_to_string(path) {
        Ok(text) => text.split_ascii_whitespace().next()?.parse().ok(),
        // A thread that ended since the directory was read.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Some(0),
        Err(_) => None,
    }
}

/// utime + stime of `/proc/PID/stat`; the command's name may hold anything, so fields are counted after its parenthesis.
fn parse_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The parent in `/proc/PID/stat`.
fn parse_parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// `Name:   123 kB` lines.
fn kilobytes(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.filter_map(|(name, rest)| Some((name, rest.split_ascii_whitespace().next()?.parse().ok()?))).collect()
}

/// What the whole kernel holds, in bytes. Only differences mean anything, and they hold both ends of every loopback
/// connection.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KernelMemory {
    /// TCP sockets in use.
    pub(crate) sockets: u64,
    /// Pages that TCP's buffers hold, in bytes (`sockstat`, mem).
    pub(crate) tcp_buffers: u64,
    /// All slabs that cannot be reclaimed (sockets, files, epoll items), and the sockets' inodes, which count as
    /// reclaimable, where `/proc/slabinfo` is readable. Not dentries: any process that walks a directory makes them.
    pub(crate) slab: u64,
    /// Page tables of all processes.
    pub(crate) page_tables: u64,
    /// Bytes of each slab cache; empty where `/proc/slabinfo` is not readable.
    pub(crate) caches: BTreeMap<String, u64>,
}

impl KernelMemory {
    /// Reads it now.
    pub(crate) fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (meminfo, sockstat, slabinfo) = (file("/proc/meminfo"), file("/proc/net/sockstat"), file("/proc/slabinfo"));
        let fields = kilobytes(&meminfo);
        let bytes = |name: &str| fields.get(name).copied().unwrap_or(0) * 1024;
        let (sockets, pages) = parse_sockstat(&sockstat).unwrap_or((0, 0));
        let caches = parse_slabs(&slabinfo);
        let inodes = caches.get("sock_inode_cache").copied().unwrap_or(0);
        Self {
            sockets,
            tcp_buffers: pages * rustix::param::page_size() as u64,
            slab: bytes("SUnreclaim") + inodes,
            page_tables: bytes("PageTables"),
            caches,
        }
    }

    /// What was added since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let caches = self.caches.iter().filter_map(|(name, bytes)| {
            let grown = bytes.saturating_sub(before.caches.get(name).copied().unwrap_or(0));
            (grown >= 1 << 20).then(|| (name.clone(), grown))
        });
        Self {
            sockets: self.sockets.saturating_sub(before.sockets),
            tcp_buffers: self.tcp_buffers.saturating_sub(before.tcp_buffers),
            slab: self.slab.saturating_sub(before.slab),
            page_tables: self.page_tables.saturating_sub(before.page_tables),
            caches: caches.collect(),
        }
    }
}

/// (TCP sockets in use, pages of buffers) of `/proc/net/sockstat`.
fn parse_sockstat(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = text.lines().find_map(|l| l.strip_prefix("TCP: "))?.split_ascii_whitespace().collect();
    let value = |name| fields.chunks_exact(2).find(|pair| pair[0] == name)?[1].parse().ok();
    Some((value("inuse")?, value("mem")?))
}

/// Objects times their size, by cache.
fn parse_slabs(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().skip(2).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?;
        let (objects, size): (u64, u64) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((name.to_owned(), objects * size))
    });
    lines.collect()
}

/// The machine, for the report: figures of two machines must not be compared by accident.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// Logical processors.
    pub(crate) cores: usize,
    /// Installed memory, in bytes.
    pub(crate) memory: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, meminfo) = (file("/proc/cpuinfo"), file("/proc/meminfo"));
        let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()),
            cores: cores(),
            memory: kilobytes(&meminfo).get("MemTotal").copied().unwrap_or(0) * 1024,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// Logical processors that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The most open files of one process.
pub(crate) fn file_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.or(limit.current).map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_file_limit() -> Result<(), BenchError> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        .doing(|| "raising the soft limit of open files to the hard one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 900 0 0 0 150 25 0 0 20 0 3 0 100 1000 20";
        assert_eq!(parse_ticks(stat), Some(175));
        assert_eq!(parse_ticks("42 (a) S 1"), None);
        assert_eq!((parse_parent(stat), parse_parent("42 (a")), (Some(1), None));
    }

    #[test]
    fn sockstat_and_slabs_are_read() {
        let sockstat = "sockets: used 14\nTCP: inuse 30001 orphan 0 tw 0 alloc 1 mem 124\nUDP: inuse 0 mem 0\n";
        assert_eq!(parse_sockstat(sockstat), Some((30_001, 124)));
        assert_eq!(parse_sockstat("TCP6: inuse 1"), None);
        let slabs = "slabinfo - version: 2.1\n# name <active> ...\nTCP 10 12 2368 13 8 : tunables 0\n";
        assert_eq!(parse_slabs(slabs), BTreeMap::from([("TCP".to_owned(), 12 * 2368)]));
    }

    #[test]
    fn this_process_uses_processor_time_and_memory() {
        let me = Process::new(std::process::id());
        let before = me.cpu().expect("schedstat or stat");
        let mut sum = 0u64;
        let mut used = 0;
        // A busy machine may give it little of its time.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while used <= 5_000_000 && std::time::Instant::now() < end {
            for _ in 0..1_000_000 {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            used = me.cpu().expect("schedstat or stat") - before;
        }
        assert!(used > 5_000_000, "{used} ns of 20 s of spinning");
        assert!(me.memory().expect("status").resident > 1 << 20);
        assert!(me.proportional().expect("smaps_rollup") > 1 << 18);
        assert!(me.threads() >= 1);
        assert!(me.thread_cpu("no-such-thread").is_err());
    }
}
