//! The rights of a connection.
//!
//! Pure. Never verifies a token. Always holds: a connection without a token may do what anyone may, and nothing else.

use std::sync::Arc;

use crate::model::{Access, Room, UnixMillis, matches};

/// The claims of a verified token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user; `None`: an unknown token, where such clients are accepted.
    pub user: Option<Arc<str>>,
    /// When the token expires. A connection that has no newer token by then is closed.
    pub expires_at: Option<UnixMillis>,
    /// The rooms that the token names, with the rights there.
    pub rooms: Vec<RoomRight>,
    /// The personal room of the user, where the configuration has one.
    pub personal_room: Option<Room>,
    /// The rooms that each connection of the user joins without a command.
    pub given: Vec<Room>,
    /// The methods of the backend that the token names, by pattern.
    pub methods: Vec<Box<str>>,
    /// Whether others are told what the user has read.
    pub receipts: bool,
    /// The whole claims as a JSON object, where the configuration keeps them.
    pub content: Option<Box<str>>,
}

/// A pattern of rooms, and the rights in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRight {
    /// The rooms' names; each `*` stands for any characters.
    pub pattern: Box<str>,
    /// Whether they may be joined, and their history and presence read.
    pub join: bool,
    /// Whether events may be published to them.
    pub publish: bool,
}

/// The rights of a connection, from its token or the absence of one. One pointer wide: every connection has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant(Option<Arc<Claims>>);

impl Grant {
    /// The grant of a verified token. [`Grant::default`] is that of a connection without one.
    #[must_use]
    pub fn verified(claims: Claims) -> Self {
        Self(Some(Arc::new(claims)))
    }

    /// The claims; `None`: anonymous.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.0.as_deref()
    }

    /// The verified user; `None`: anonymous.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.claims().and_then(|claims| claims.user.as_ref())
    }

    /// Whether a room with this `join` rule may be joined, and its history and presence read.
    #[must_use]
    pub fn may_join(&self, room: &Room, access: Access) -> bool {
        self.passes(room, access, |right| right.join)
    }

    /// Whether events may be published to a room with this `publish` rule.
    #[must_use]
    pub fn may_publish(&self, room: &Room, access: Access) -> bool {
        self.passes(room, access, |right| right.publish)
    }

    /// Whether the backend may be called by this method, where this rule holds for calls.
    #[must_use]
    pub fn may_call(&self, method: &str, access: Access) -> bool {
        let Some(claims) = self.claims() else { return access == Access::Anyone };
        match access {
            Access::Anyone => true,
            Access::User => claims.user.is_some(),
            Access::Claim => claims.methods.iter().any(|pattern| matches(pattern, method)),
            // A method is no room.
            Access::Owner | Access::Nobody => false,
        }
    }

    fn passes(&self, room: &Room, access: Access, has: impl Fn(&RoomRight) -> bool) -> bool {
        let Some(claims) = self.claims() else { return access == Access::Anyone };
        match access {
            Access::Anyone => true,
            Access::User => claims.user.is_some(),
            Access::Claim => claims.rooms.iter().any(|right| has(right) && matches(&right.pattern, room.as_str())),
            Access::Owner => claims.personal_room.as_ref() == Some(room),
            Access::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_passed_by_whom_they_name() {
        let room = |name: &str| Room::parse(name).expect("a name");
        let right = |pattern: &str, join, publish| RoomRight { pattern: pattern.into(), join, publish };
        let anonymous = Grant::default();
        let ann = Grant::verified(Claims {
            user: Some("ann".into()),
            given: Vec::new(),
            methods: vec!["poll.*".into()],
            receipts: true,
            content: None,
            expires_at: None,
            rooms: vec![right("news:*", true, false), right("chat:1", true, true)],
            personal_room: Some(room("user:ann")),
        });
        for (access, room_name, anonymous_may, join, publish) in [
            (Access::Anyone, "x", true, true, true),
            (Access::User, "x", false, true, true),
            (Access::Claim, "x", false, false, false),
            (Access::Claim, "news:1", false, true, false),
            (Access::Claim, "chat:1", false, true, true),
            (Access::Owner, "user:ann", false, true, true),
            (Access::Owner, "user:bob", false, false, false),
            (Access::Nobody, "chat:1", false, false, false),
        ] {
            let room = room(room_name);
            assert_eq!(anonymous.may_join(&room, access), anonymous_may, "{access:?} {room}");
            assert_eq!(ann.may_join(&room, access), join, "{access:?} {room}");
            assert_eq!(ann.may_publish(&room, access), publish, "{access:?} {room}");
        }
        let may = |grant: &Grant, method| {
            [Access::Anyone, Access::User, Access::Claim, Access::Nobody].map(|access| grant.may_call(method, access))
        };
        assert_eq!(may(&anonymous, "poll.close"), [true, false, false, false]);
        assert_eq!(may(&ann, "poll.close"), [true, true, true, false]);
        assert_eq!(may(&ann, "user.ban"), [true, true, false, false]);
    }
}
