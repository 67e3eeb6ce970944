//! Files as kernels and container engines show them.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::*;

const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       24684012 kB\nMemFree:        22261000 kB\n");
const NO_LIMIT: &str = "9223372036854771712\n";
const V1_MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
     32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
     35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
const V2_MOUNTS: &str =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

fn files<'a>(files: &[(&'a str, &'a str)]) -> HashMap<&'a str, &'a str> {
    files.iter().copied().chain([MACHINE]).collect()
}

fn ceiling(files: &HashMap<&str, &str>) -> MemoryCeiling {
    MemoryCeiling::read(&|path| files.get(path).map(|&text| text.to_owned()))
}

fn used(ceiling: &MemoryCeiling, files: &HashMap<&str, &str>) -> Option<usize> {
    ceiling.used_by(&|path| files.get(path).map(|&text| text.to_owned()))
}

#[test]
fn the_tightest_of_a_group_and_its_parents_counts() {
    let mut files = files(&[
        ("/proc/self/mountinfo", V2_MOUNTS),
        ("/proc/self/cgroup", "0::/kubepods.slice/pod1/box\n"),
        ("/sys/fs/cgroup/kubepods.slice/pod1/box/memory.max", "max\n"),
        ("/sys/fs/cgroup/kubepods.slice/pod1/box/memory.high", "max\n"),
        ("/sys/fs/cgroup/kubepods.slice/pod1/memory.max", "134217728\n"),
        ("/sys/fs/cgroup/kubepods.slice/pod1/memory.current", "50000000\n"),
        ("/sys/fs/cgroup/kubepods.slice/pod1/memory.stat", "anon 30000000\ninactive_file 12000000\nactive_file 1\n"),
        ("/sys/fs/cgroup/kubepods.slice/memory.max", "8589934592\n"),
    ]);
    let tightest = ceiling(&files);
    assert_eq!(tightest.bytes, 128 * MIB);
    assert_eq!(tightest.to_string(), "the 128 MiB of /sys/fs/cgroup/kubepods.slice/pod1/memory.max");
    assert_eq!(used(&tightest, &files), Some(38_000_000), "less the files that the kernel gives up first");
    assert_eq!((tightest.reserve(), tightest.budget()), (16 * MIB, 64 * MIB));
    files.insert("/sys/fs/cgroup/kubepods.slice/pod1/box/memory.high", "104857600\n");
    assert_eq!(ceiling(&files).to_string(), "the 100 MiB of /sys/fs/cgroup/kubepods.slice/pod1/box/memory.high");
}

#[test]
fn the_first_version_has_a_tree_for_memory() {
    let mut files = files(&[
        ("/proc/self/mountinfo", V1_MOUNTS),
        ("/proc/self/cgroup", "8:pids:/\n4:memory:/ops-test\n1:cpu:/x\n0::/\n"),
        ("/sys/fs/cgroup/memory/ops-test/memory.limit_in_bytes", "67108864\n"),
        ("/sys/fs/cgroup/memory/ops-test/memory.usage_in_bytes", "20000000\n"),
        ("/sys/fs/cgroup/memory/ops-test/memory.stat", "inactive_file 1\ntotal_inactive_file 5000000\n"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT),
    ]);
    let own = ceiling(&files);
    assert_eq!(own.to_string(), "the 64 MiB of /sys/fs/cgroup/memory/ops-test/memory.limit_in_bytes");
    assert_eq!(used(&own, &files), Some(15_000_000));
    // A parent's limit may be visible as this line only.
    files.insert("/sys/fs/cgroup/memory/ops-test/memory.stat", "hierarchical_memory_limit 33554432\n");
    assert_eq!(ceiling(&files).to_string(), "the 32 MiB of /sys/fs/cgroup/memory/ops-test/memory.stat");
}

#[test]
fn a_container_sees_its_group_at_the_mount() {
    for (mount, group) in [
        // Without a namespace of its own: the mount begins where the group is.
        ("35 31 0:32 /docker/ab\\040c /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/ab c\n"),
        // With one, from inside and from outside of it.
        ("35 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/\n"),
        ("35 31 0:32 /../.. /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/../other\n"),
        ("35 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/../other\n"),
        // The group's folder is not there.
        ("35 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/gone\n"),
    ] {
        let limit = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
        let files = files(&[("/proc/self/mountinfo", mount), ("/proc/self/cgroup", group), limit]);
        assert_eq!(ceiling(&files).bytes, 256 * MIB, "{mount} {group}");
    }
}

#[test]
fn without_a_limit_half_of_the_machine_counts() {
    let status = ("/proc/self/status", "VmPeak:\t  999 kB\nVmRSS:\t  20480 kB\n");
    for extra in [
        vec![status],
        vec![
            status,
            ("/proc/self/mountinfo", V1_MOUNTS),
            ("/proc/self/cgroup", "4:memory:/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT),
            ("/sys/fs/cgroup/memory/memory.stat", "hierarchical_memory_limit 9223372036854771712\n"),
        ],
        vec![status, ("/proc/self/mountinfo", "broken\n- - -\n1 - cgroup2\n"), ("/proc/self/cgroup", "x\n::\n")],
    ] {
        let files = files(&extra);
        let half = ceiling(&files);
        assert_eq!((half.bytes, &half.source), (24_684_012 / 2 * KIB, &MemorySource::Machine));
        assert_eq!((used(&half, &files), half.reserve()), (Some(20 * MIB), 256 * MIB));
        assert!(half.to_string().ends_with("half of the machine's memory"), "{half}");
    }
}

#[test]
fn without_those_files_nothing_is_known() {
    let unknown = ceiling(&HashMap::new());
    assert_eq!((unknown.source.clone(), unknown.budget()), (MemorySource::Unknown, 256 * MIB));
    assert_eq!(used(&unknown, &HashMap::new()), None);
}
