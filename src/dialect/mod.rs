//! The language of described dialects: a description of JSON messages, compiled when the configuration is read.
//!
//! Owns the compiled form of a description and the parts that it is made of: JSON pointers, conditions, templates,
//! messages. Never reads a configuration file and never sees a connection: `config` reads a `[[dialect]]` into a
//! [`Description`], `protocol::described` carries it out. Always holds: whatever can be wrong with a description is
//! found while it is compiled, so that only a client's message can fail to fit.
//!
//! `docs/DIALECTS.md` teaches the language.

mod condition;
mod description;
mod message;
mod path_pattern;
mod pointer;
mod server_message;
mod template;

pub use condition::{Condition, Expected, fits};
pub use description::{Action, CommandRule, Description, Envelope, EventRule, Greet, RequestRule};
pub use message::{Clock, Field, Lacking, MessageTemplate, Piece, Placeholder, Step};
pub use path_pattern::segments;
pub use pointer::{Pointer, text_of};
pub use server_message::{EVENT_FIELDS, ServerMessage};
pub use template::{Offers, Part, Source, Template};
