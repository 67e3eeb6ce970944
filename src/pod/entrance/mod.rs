//! What a worker's sockets meet before they are connections: places, clocks and turns.

mod lobby;
mod turns;
mod visit;
mod visits;

pub use lobby::{Guest, Lobby, waiting_limit};
pub use turns::Turns;
pub use visit::{HeldBytes, Stage, Visit};
