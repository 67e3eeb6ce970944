//! An event whose publish is traced, as pods tell each other.

use super::{Position, Room};

/// The publish of an event was traced: its fan-outs belong below this span.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TracedEvent {
    /// The room that it was published to.
    pub room: Room,
    /// Where it is.
    pub at: Position,
    /// The span of the publish, as `traceparent` writes it (W3C Trace Context).
    pub traceparent: Box<str>,
    /// The `tracestate` beside it; empty: none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub tracestate: Box<str>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    #[test]
    fn it_travels_as_json() {
        let event = TracedEvent {
            room: Room::parse("chat:1").unwrap(),
            at: Position::new(Epoch::new("e"), 7),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            tracestate: "".into(),
        };
        let json = r#"{"room":"chat:1","at":{"epoch":"e","offset":7},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<TracedEvent>(json).unwrap(), event);
    }
}
