//! The members of a room.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{Member, PresenceList};

/// A room's members by connection; nothing is allocated for a room without any.
#[derive(Default)]
pub(super) struct MemberList {
    users: BTreeMap<Arc<str>, Option<Arc<str>>>,
    bytes: usize,
}

impl MemberList {
    /// The bytes held. The names are shared with their connections, and yet counted.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Adds a member or renews its user; whether it is new.
    pub(super) fn join(&mut self, member: &Member) -> bool {
        let before = self.users.insert(Arc::clone(&member.connection), member.user.clone());
        self.bytes += cost(&member.connection, member.user.as_deref());
        if let Some(user) = &before {
            self.bytes -= cost(&member.connection, user.as_deref());
        }
        before.is_none()
    }

    /// Removes a connection; its member as it had joined.
    pub(super) fn leave(&mut self, connection: &str) -> Option<Member> {
        let (connection, user) = self.users.remove_entry(connection)?;
        self.bytes -= cost(&connection, user.as_deref());
        Some(Member { connection, user })
    }

    /// At most `limit` members, and how many there are.
    pub(super) fn list(&self, limit: usize) -> PresenceList {
        let member = |(connection, user): (&Arc<str>, &Option<Arc<str>>)| Member {
            connection: Arc::clone(connection),
            user: user.clone(),
        };
        PresenceList { members: self.users.iter().take(limit).map(member).collect(), total: self.users.len() }
    }
}

fn cost(connection: &str, user: Option<&str>) -> usize {
    connection.len() + user.map_or(0, str::len) + 136
}

#[cfg(test)]
impl MemberList {
    pub(super) fn bytes_anew(&self) -> usize {
        self.users.iter().map(|(connection, user)| cost(connection, user.as_deref())).sum()
    }
}
