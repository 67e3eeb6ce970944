//! Which of several homes' pods has a room: by rendezvous hashing, so that a pod that comes or goes moves its own rooms and no others. Pure.

/// The pod with the highest weight for a name, among those that are live.
pub(super) fn best(name: &str, urls: &[String], is_live: impl Fn(usize) -> bool) -> Option<usize> {
    let live = urls.iter().enumerate().filter(|(index, _)| is_live(*index));
    live.max_by_key(|(index, url)| (weight(url, name), *index)).map(|(index, _)| index)
}

/// FNV-1a over both, and a finish that spreads it: the same in every build, so that all edges of a region agree.
fn weight(url: &str, name: &str) -> u64 {
    let bytes = url.bytes().chain([0]).chain(name.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_spread_and_only_a_dead_pods_rooms_move() {
        let urls: Vec<String> = (0..3).map(|n| format!("wss://home-{n}:9443")).collect();
        let names: Vec<String> = (0..3_000).map(|n| format!("room:{n}")).collect();
        let all: Vec<usize> = names.iter().map(|name| best(name, &urls, |_| true).unwrap()).collect();
        for pod in 0..3 {
            let count = all.iter().filter(|home| **home == pod).count();
            assert!((800..1_200).contains(&count), "{count}");
        }
        for (name, before) in names.iter().zip(&all) {
            let after = best(name, &urls, |pod| pod != 1).unwrap();
            assert!(after != 1 && (*before == 1 || after == *before));
        }
        assert_eq!(best("a", &urls, |_| false), None);
    }
}
