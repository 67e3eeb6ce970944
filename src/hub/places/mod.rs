//! How many connections a user has: claims and what is given back wait here for the broker, and what it says is done.
//!
//! Never on the way of a connection's beginning: it is let in, judged as soon as the broker has answered, and closed with a code if it is
//! one too many. Always holds: nothing of this happens where `limits.user_connections` is not set; what waits is bounded; the broker is
//! asked in rounds, one at a time, whatever the number of clients that come at once.

pub mod claim;
pub mod place_book;
pub mod place_desk;
pub mod rounds;
