//! A pod's place in a tree of homes and edges, as an operator sees it: its links to a home, and those of edges to it.
//!
//! Names no room, no user and no client's address; a home's address has no secret in it. Always holds: the bytes of all links of a kind
//! together are those of the metrics.

/// From a lag of so much (ms) on, what comes over a link is late. Events of one region are some milliseconds old, those of another
/// continent some hundred.
const LATE_MS: u64 = 2_000;

/// The place of a pod that has a home, or edges.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TreeStatus {
    /// What it is.
    pub role: TreeRole,
    /// The pods that stand between it and the log, as its homes say.
    pub above: Vec<String>,
    /// Its links to its home, one for each of `upstream.urls`.
    pub links: Vec<LinkStatus>,
    /// How many links edges have to this pod.
    pub edge_links: usize,
    /// Those of them that carry most, at most [`TreeStatus::MOST_EDGES`].
    pub edges: Vec<EdgeStatus>,
}

impl TreeStatus {
    /// The most links of edges that are shown.
    pub const MOST_EDGES: usize = 100;
}

/// What a pod is in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TreeRole {
    /// Edges may follow it.
    #[default]
    Home,
    /// It follows a home.
    Edge,
    /// Both.
    Relay,
}

impl TreeRole {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Edge => "edge",
            Self::Relay => "relay",
        }
    }
}

/// A link to a home.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct LinkStatus {
    /// The home's address, as it is configured.
    pub home: String,
    /// The pod of the home at its end; `None`: the link does not stand.
    pub pod: Option<String>,
    /// Milliseconds since it stands, or since it does not.
    pub since_ms: u64,
    /// Why it does not, as far as that is known.
    pub error: Option<String>,
    /// Whether members are told and orders come over it.
    pub leads: bool,
    /// Rooms that go over it.
    pub rooms: usize,
    /// The largest age (ms) that an event had when it came, over the last 10 to 20 s; `None`: none came.
    pub lag_ms: Option<u64>,
    /// From the last sign of life to its answer (ms), behind all that waited on the way; `None`: there was none.
    pub round_trip_ms: Option<u64>,
    /// Bytes from the home since this pod's start.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
}

impl LinkStatus {
    /// Whether it stands.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.pod.is_some()
    }

    /// How late (ms) what comes over it is; `None`: it is not late.
    #[must_use]
    pub fn late_ms(&self) -> Option<u64> {
        self.lag_ms.max(self.round_trip_ms).filter(|lag| self.stands() && *lag >= LATE_MS)
    }
}

/// The link of an edge to this pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct EdgeStatus {
    /// The edge's name.
    pub pod: String,
    /// Milliseconds since the link stands.
    pub since_ms: u64,
    /// Whether the edge's members are told and orders go over it.
    pub leads: bool,
    /// Rooms that it follows over it.
    pub rooms: usize,
    /// Bytes that wait for the edge.
    pub queued_bytes: usize,
    /// Deliveries that found no place in its queue, since the link stands.
    pub dropped: u64,
    /// Bytes from the edge, since the link stands.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_late_by_its_events_or_by_its_signs_of_life() {
        let link = |lag_ms, round_trip_ms| LinkStatus {
            pod: Some("p".to_owned()),
            lag_ms,
            round_trip_ms,
            ..LinkStatus::default()
        };
        assert_eq!(link(None, None).late_ms(), None);
        assert_eq!(link(Some(300), Some(250)).late_ms(), None);
        assert_eq!(link(Some(LATE_MS), None).late_ms(), Some(LATE_MS));
        assert_eq!(link(Some(10), Some(4_000)).late_ms(), Some(4_000));
        assert_eq!(LinkStatus { pod: None, ..link(Some(9_000), None) }.late_ms(), None, "one that is cut is not late");
    }
}
