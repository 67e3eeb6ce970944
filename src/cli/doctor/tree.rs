//! The links of a pod to its home, and of edges to it, where the doctor may ask the pod itself (`--status`).
//!
//! Never needs a key. Always holds: a link that is down or late is said in a sentence, with its address and since when.

use std::{path::Path, time::Duration};

use super::finding::Findings;
use crate::{
    cli::{
        figures::{bytes, clock, count, counted, span},
        status_source::StatusSource,
    },
    model::{EdgeStatus, LinkStatus, MAX_OFFSET, PodStatus, TreeStatus},
    transport::fetch::Limits,
};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_bytes: 1024 * 1024 };

/// An edge for which more than this waits is behind.
const BEHIND: usize = 1024 * 1024;

/// Asks the internal listener at `url`.
pub(super) async fn check_tree(url: &str, ca: Option<&Path>, findings: &mut Findings) {
    // Only what is so now: no moment is later than that.
    let asked = async { StatusSource::new(url, ca, LIMITS)?.ask::<PodStatus>(&format!("?after={MAX_OFFSET}")).await };
    match asked.await {
        Ok(status) => judge(status.tree.as_ref(), findings),
        Err(why) => findings.warn(
            "role",
            format!("the links of this pod are not known: {why}"),
            "let --status lead to the pod's internal listener (`internal_listen`), with `internal_metrics` on",
        ),
    }
}

fn judge(tree: Option<&TreeStatus>, findings: &mut Findings) {
    let Some(tree) = tree else {
        return findings.ok("role", "the pod has no home and takes no edges in");
    };
    let role = tree.role.as_str();
    match &*tree.above {
        [] => findings.ok("role", format!("the pod is of this role: {role}")),
        pods => findings.ok("role", format!("the pod is of this role: {role}; above it: {}", pods.join(", "))),
    }
    let stands = tree.links.iter().any(LinkStatus::stands);
    for link in &tree.links {
        judge_link(link, stands, findings);
    }
    if tree.edge_links > 0 {
        findings.ok("edges", followed_by(tree));
    }
    for edge in tree.edges.iter().filter(|edge| edge.queued_bytes > BEHIND) {
        let EdgeStatus { pod, queued_bytes, dropped, .. } = edge;
        findings.warn(
            "edges",
            format!("the edge {pod} is behind: {} wait for it, {} were dropped", waiting(*queued_bytes), count(*dropped)),
            "look at the bandwidth between: what was dropped it reads from the log; `batch_window` and `conflate` make it less",
        );
    }
}

fn waiting(queued: usize) -> String {
    bytes(queued as f64)
}

fn judge_link(link: &LinkStatus, another_stands: bool, findings: &mut Findings) {
    let LinkStatus { home, since_ms, rooms, .. } = link;
    let since = clock(*since_ms);
    let Some(pod) = &link.pod else {
        let why = link.error.as_deref().unwrap_or("it is being made");
        let says = format!("the link to {home} has been down for {since}: {why}");
        let change = "look at `upstream.urls`, at the key, and whether the home listens there (`relay.listen`)";
        return match another_stands {
            true => findings.warn("link", format!("{says}; its rooms go over another one"), change),
            false => findings.fail("link", format!("{says}; clients get nothing new"), change),
        };
    };
    let came = bytes(link.bytes_in as f64);
    let rooms = counted(*rooms as u64, "room", "rooms");
    let lag = |ms: Option<u64>| span(ms.map(|ms| ms as f64));
    if let Some(late) = link.late_ms() {
        return findings.warn(
            "link",
            format!("the link to {home} lags: what comes over it is {} late ({rooms})", lag(Some(late))),
            "look at the bandwidth to the home: a relay in the region makes one copy of each event, `batch_window` and `conflate` fewer",
        );
    }
    findings.ok(
        "link",
        format!("the link to {home} has stood for {since}: {rooms}, {came} in, lag {}, to pod {pod}", lag(link.lag_ms)),
    );
}

fn followed_by(tree: &TreeStatus) -> String {
    let out: u64 = tree.edges.iter().map(|edge| edge.bytes_out).sum();
    let links = counted(tree.edge_links as u64, "link of an edge leads", "links of edges lead");
    format!("{links} to this pod: {} out", bytes(out as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TreeRole;

    fn said(tree: &TreeStatus) -> String {
        let mut findings = Findings::default();
        judge(Some(tree), &mut findings);
        findings.text()
    }

    fn up(home: &str) -> LinkStatus {
        LinkStatus {
            home: home.to_owned(),
            pod: Some("0f".to_owned()),
            since_ms: 61_000,
            rooms: 3,
            lag_ms: Some(40),
            bytes_in: 1_500,
            ..LinkStatus::default()
        }
    }

    #[test]
    fn a_link_is_well_late_or_down() {
        let well = up("wss://a");
        let late = LinkStatus { lag_ms: Some(4_200), rooms: 1, ..up("wss://b") };
        let down = LinkStatus { pod: None, error: Some("connection refused".to_owned()), ..up("wss://c") };
        let tree = |links| TreeStatus { role: TreeRole::Edge, links, ..TreeStatus::default() };
        let text = said(&tree(vec![well, late.clone(), down.clone()]));
        for line in [
            "ok       role         the pod is of this role: edge\n",
            "ok       link         the link to wss://a has stood for 1:01: 3 rooms, 1.5 kB in, lag 40.0 ms, to pod 0f\n",
            "warning  link         the link to wss://b lags: what comes over it is 4.2 s late (1 room)\n",
            "warning  link         the link to wss://c has been down for 1:01: connection refused; its rooms go over another one\n",
            "2 ok, 2 warnings, 0 failed\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let text = said(&tree(vec![down]));
        assert!(text.contains("FAILED   link") && text.contains("clients get nothing new"), "{text}");
    }

    #[test]
    fn a_home_says_how_its_edges_are() {
        let edge = |queued_bytes| EdgeStatus {
            pod: "e1".to_owned(),
            queued_bytes,
            dropped: 7,
            bytes_out: 2_000_000,
            ..EdgeStatus::default()
        };
        let tree = TreeStatus { edge_links: 2, edges: vec![edge(BEHIND), edge(BEHIND + 1)], ..TreeStatus::default() };
        let text = said(&tree);
        for line in [
            "ok       edges        2 links of edges lead to this pod: 4.0 MB out\n",
            "warning  edges        the edge e1 is behind: 1.0 MB wait for it, 7 were dropped\n",
            "2 ok, 1 warning, 0 failed\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let mut findings = Findings::default();
        judge(None, &mut findings);
        assert!(findings.text().contains("the pod has no home and takes no edges in"));
    }
}
