//! The link between a home and its edges, and the home's end of it.
//!
//! An edge is a pod without a log of its own: it follows rooms of another pod, its home, over one WebSocket for all of them
//! (`roomcast.relay.v1`). Owns the words of the link, the followers of rooms, and what a home does for an edge. Never listens and never
//! connects: `pod` does the one, `upstream` the other. Always holds:
//!
//! - *A room has one home.* Epochs, offsets, idempotency keys and retained values are the home's; a link carries them and makes none.
//! - *What an edge misses, it sees.* A delivery that a link's queue has no place for is dropped, and nothing more of that room is sent until
//!   the home's broker has said anew where the room stands ([`Delivery::Started`](super::Delivery::Started)): the edge reads what lies between.
//! - *A home's own clients wait for no edge.* A delivery is handed to bounded queues and nowhere else.
//! - *What an edge may make its home hold has a bound*, in bytes, for each link, and is on the pod's account of memory while it waits: what it
//!   asks ([`link_places`]), what it is told ([`out_queue`]), how long each part of it may be ([`rules`]).
//! - *There is no circle.* A home says which pods stand between it and the log, and says so again when that changes.

pub mod call;
mod carry_out;
pub mod delivered;
mod edge_account;
mod edge_answer;
mod edge_link;
mod edge_members;
mod edge_names;
mod edge_session;
mod edges;
mod fleet;
mod followers;
mod hidden_members;
mod home;
mod home_presence;
mod link_end;
mod link_packer;
mod link_places;
mod link_turn;
mod member_claims;
mod member_departure;
mod member_steps;
pub mod message;
pub mod out_queue;
mod pod_answers;
pub mod pod_memory;
pub mod rules;
mod status;
pub mod taking_pace;
mod user_check;
mod vouched_users;

pub use edge_link::serve_edge;
pub use edges::{Edges, RelayAccess, STRANGERS_CALM, VouchedUser};
pub use fleet::HomeControl;
pub use followers::Followers;
pub use home::{Home, HomeBroker, HomeErasure, HomeStore};
pub use home_presence::HomePresence;

/// The subprotocol of the link, and its version: a home speaks no other.
pub const RELAY_PROTOCOL: &str = "roomcast.relay.v1";

/// Where a home takes edges in, on the listeners of `relay.listen`.
pub const RELAY_PATH: &str = "/relay";

/// The most pods between an edge and the log, its home included.
pub const MAX_HOPS: usize = 4;

/// The largest record of the link: an answer with a part of a log is the largest there is.
pub const MAX_RECORD: usize = 40 * 1024 * 1024;

/// The most bytes of events that are compressed together, and that a compressed record comes to.
pub const MOST_PACKED: usize = 64 * 1024;

/// The most bytes that records are put together to.
pub const MAX_TOGETHER: usize = 256 * 1024;
