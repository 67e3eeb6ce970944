//! The words of roomcast as types: rooms, events, positions, batches, commands, replies, disconnects, policies.
//!
//! Owns the rules by which a value is valid, and no other behaviour. Never does I/O, never reads a clock. Always holds: a value
//! is cheap to clone (an `Arc` inside) or small, because batches and rooms travel between workers.

mod ack;
mod batch;
mod command;
mod cursor;
mod data_fields;
mod deletion;
mod disconnect;
mod event;
mod field;
mod fleet_lists;
mod idempotency_key;
mod method_call;
mod order;
mod pattern;
mod percent;
mod pod_status;
mod policy;
mod position;
mod prepared_message;
mod raw_array;
mod reply;
mod room;
mod signal;
mod stats;
mod surrogates;
mod time;
mod token;
mod traced_event;
mod tree_status;
mod user_places;
mod user_status;
mod whole_number;

pub use ack::{Ack, AckMode, Notice, Progress, Receipt, Telling, Unread};
pub use batch::{Batch, Retained};
pub use command::{Command, CommandError, CommandId, Request, Since, Spelling, SubscribeTo};
pub use cursor::Cursor;
pub use data_fields::DataFields;
pub use deletion::{DELETED, DeleteMode, Deletion, EraseMode, NAMED_AT_ONCE, erased, without_ids};
pub use disconnect::{Disconnect, Reconnect};
pub use event::{Event, Payload, Publication};
pub use field::{FieldError, MAX_DEPTH, MAX_FIELD_BYTES, check_length, check_name, check_topic, given_id};
pub use fleet_lists::{ConnectionQuery, ListedConnection, ListedRoom, MemberCount, PodList, RoomQuery};
pub use idempotency_key::{Fingerprint, IdempotencyKey, PublisherSide};
pub use method_call::MethodCall;
pub use order::{Act, Order, Target};
pub use pattern::{among, matches};
pub use percent::percent_decoded;
pub use pod_status::{
    CarriedConnections, DrainStatus, LatencyStatus, LimitStatus, MasterStatus, PodStatus, PodTotals, RedisStatus,
    StatusMoment,
};
pub use policy::{Access, ArchiveMode, Conflate, Delivery, Durability, Policy, PresenceMode, Retain, SlowReceiver};
pub use position::{Epoch, MAX_OFFSET, Offset, Position};
pub use prepared_message::PreparedMessage;
pub use raw_array::RawArray;
pub use reply::{ErrorCode, Limits, Member, PresenceList, Reply, Stats};
pub use room::{Room, RoomNameError};
pub use signal::{Signal, SignalAct, SignalKey, SignalNotice};
pub use stats::{MemoryStats, PodStats, PodTraffic, QueueStats, WorkerStats};
pub use surrogates::with_whole_pairs;
pub use time::UnixMillis;
pub use token::Token;
pub use traced_event::TracedEvent;
pub use tree_status::{EdgeStatus, LinkStatus, TreeRole, TreeStatus};
pub use user_places::{PlaceLimit, WhenFull};
pub use user_status::{StatusChange, UserState, UserStatus, UserStatusError};
pub use whole_number::{whole_digits, whole_number};
