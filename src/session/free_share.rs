//! What a connection may do at less than its price, so that coming back to all of one's rooms and namespaces is never punished.
//!
//! Pure. Always holds: of each kind no more than a client needs that comes back once.

/// So many connects: one to each namespace.
const CONNECTS: u8 = 64;

/// What is left of it.
#[derive(Debug)]
pub(super) struct FreeShare {
    /// Rooms that it may still ask for at no cost.
    rooms: u32,
    /// Lists of members, at the price of a command.
    lists: u32,
    /// Connects, at the price of a command.
    connects: u8,
}

impl FreeShare {
    /// That of a connection that may be in so many rooms.
    pub(super) fn new(max_rooms: usize) -> Self {
        let rooms = u32::try_from(max_rooms).unwrap_or(u32::MAX);
        Self { rooms, lists: rooms, connects: CONNECTS }
    }

    /// None: of a client whose next request begins anew.
    pub(super) fn none() -> Self {
        Self { rooms: 0, lists: 0, connects: 0 }
    }

    /// What so many rooms cost.
    pub(super) fn cost_of_rooms(&mut self, asked: u32) -> u32 {
        let free = asked.min(self.rooms);
        self.rooms -= free;
        asked - free
    }

    /// What a list of members costs, whose price is this.
    pub(super) fn cost_of_list(&mut self, price: u32) -> u32 {
        match self.lists.checked_sub(1) {
            Some(left) => {
                self.lists = left;
                1
            }
            None => price,
        }
    }

    /// What a connect costs, whose price is this.
    pub(super) fn cost_of_connect(&mut self, price: u32) -> u32 {
        match self.connects.checked_sub(1) {
            Some(left) => {
                self.connects = left;
                1
            }
            None => price,
        }
    }
}
