//! Orders of a backend about connections, sent between the pods of a fleet as JSON.

use super::{Disconnect, Room};

/// The connections that an order is for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One connection, by its name.
    Connection(Box<str>),
    /// All connections of a user.
    User(Box<str>),
}

/// The action of an order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Close with this code.
    Disconnect(Disconnect),
    /// Join a room, even if the room's policy does not allow it.
    Subscribe(Room),
    /// Leave a room.
    Unsubscribe(Room),
    /// Close, unless the client presents a newer token within so many milliseconds.
    Refresh(u64),
    /// Close for good: nothing is left by which the client's session could be continued.
    Erase,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// The connections that it is for.
    pub target: Target,
    /// The action.
    pub act: Act,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn orders_travel_as_json() {
        let room = || Room::parse("chat:1").unwrap();
        for (order, json) in [
            (
                Order { target: Target::User("ann".into()), act: Act::Disconnect(Disconnect::Disconnected) },
                r#"{"target":{"user":"ann"},"act":{"disconnect":4003}}"#,
            ),
            (
                Order { target: Target::Connection("5f2c9b1e77d0a346".into()), act: Act::Unsubscribe(room()) },
                r#"{"target":{"connection":"5f2c9b1e77d0a346"},"act":{"unsubscribe":"chat:1"}}"#,
            ),
            (
                Order { target: Target::User("ann".into()), act: Act::Refresh(30_000) },
                r#"{"target":{"user":"ann"},"act":{"refresh":30000}}"#,
            ),
            (
                Order { target: Target::User("ann".into()), act: Act::Erase },
                r#"{"target":{"user":"ann"},"act":"erase"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&order).unwrap(), json);
            assert_eq!(serde_json::from_str::<Order>(json).unwrap(), order);
        }
        for bad in [
            r#"{"target":{"user":"ann"},"act":{"disconnect":1}}"#,
            r#"{"target":{"user":"ann"},"act":{"subscribe":"a b"}}"#,
            r#"{"target":{"everybody":1},"act":{"refresh":1}}"#,
        ] {
            assert!(serde_json::from_str::<Order>(bad).is_err(), "{bad}");
        }
    }
}
