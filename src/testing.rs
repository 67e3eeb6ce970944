//! What tests, the load generator, fuzz targets and examples see of the library: the rest is private.
//!
//! Owns nothing: re-exports by layer. Never a part of the program, and no promise to anything outside of this repository. Always
//! holds: each name here is used by `tests/`, `bench/`, `fuzz/` or `examples/`, so that the compiler finds what nothing uses.

/// Events in PostgreSQL.
pub mod archive {
    pub use crate::archive::{
        Archive, ArchiveThread, ArchivedBroker, ArchivedErasure, MigrationError, Migrator, PageQuery,
    };
}

/// Tokens: what one grants, and the keys that sign one.
pub mod auth {
    pub use crate::auth::{
        Algorithm, Authority, Grant, MAX_KEYS, MAX_ROOM_RIGHTS, MAX_TOKEN_BYTES, MAX_USER_BYTES, RoomRight, SigningKey,
        TokenError,
    };
}

/// The log of rooms, and what pods ask each other.
pub mod broker {
    pub use crate::broker::{
        AckBounds, Acks, Answer, Broker, BrokerError, Condition, Control, Deliver, Delivery, EachOf, Erasure,
        FleetAnswer, FleetQuestion, History, HistoryQuery, KeptAck, KeyValue, KeysBesideLog, LookUp, PlaceClaim,
        PlaceVerdict, Presence, Respond, Standing, StoredUser, UntoldAck, UserPlaces, UserRecords, UserWrite, Verdicts,
    };

    /// Plain messages of other publishers.
    pub mod legacy {
        pub use crate::broker::legacy::{map, taker};
    }

    /// The embedded broker.
    pub mod memory {
        pub use crate::broker::memory::{MemoryBroker, MemoryLimits, erasure::MemoryErasure};
    }

    /// What goes over the links of edges.
    pub mod relay {
        pub use crate::broker::relay::{
            delivered::{decode, encode},
            message::{FromEdge, FromHome, Record, message, message_record, next_record},
            pod_memory::PodMemory,
        };
    }

    /// The broker of an edge.
    pub mod upstream {
        pub use crate::broker::upstream::{Upstream, UpstreamSettings};
    }

    /// The broker in Redis.
    pub mod redis {
        pub use crate::broker::redis::{Partition, Redis, Settings, Timeouts};

        /// The bytes of an event in Redis.
        pub mod entry {
            pub use crate::broker::redis::entry::{ChannelMessage, decode, encode, message};
        }
    }
}

/// Customers' systems.
pub mod compat {
    /// Loomio.
    pub mod loomio {
        pub use crate::compat::loomio::CHATBOT_DESCRIPTIONS;
    }

    /// The ticket shop.
    pub mod ticketing {
        pub use crate::compat::ticketing::REALTIME_DESCRIPTIONS;
    }
}

/// Settings, and how they become a configuration.
pub mod config {
    pub use crate::config::{
        ApiKey, ArchiveSettings, CgroupVersion, ChannelPattern, Config, Encoding, Flags, HmacSecret, HookSecret,
        HookSettings, HookUrl, JwksUrl, Legacy, ListenAddress, LogFormat, LogLevel, LookUpTemplate, Machine,
        MemoryCeiling, MemorySource, Network, OriginPattern, OtlpUrl, PersonalRoom, Policies, PostgresUrl, Preset,
        RecordLayer, RedisUrl, ResourceAttribute, RoomPattern, Rule, Settings, SettingsError, Share, TokenSettings,
        UpstreamUrl, Variables, merge, merge_over, resolve,
    };
}

/// Descriptions of dialects.
pub mod dialect {
    pub use crate::dialect::{Offers, Pointer, Template};
}

/// Backends that decide.
pub mod hooks {
    pub use crate::hooks::{
        Allowed, Answered, ClientRequest, ConnectAnswer, ConnectQuestion, Denial, HookError, Hooks, PublishAnswer,
        SubscribeAnswer, Verdict,
    };
}

/// The workers, from outside.
pub mod hub {
    pub use crate::hub::{ConnectionFilter, Ordered};
}

/// Metrics, and what each of them says.
pub mod metrics {
    pub use crate::metrics::{
        ABSENT_DESCRIPTIONS, ARCHIVE_DESCRIPTIONS, ArchiveMetrics, DESCRIPTIONS, Exposition, HOOK_DESCRIPTIONS,
        HookMetrics, REDIS_DESCRIPTIONS, RELAY_DESCRIPTIONS, RedisCommands, RedisMetrics, SOCKETIO_DESCRIPTIONS,
        TRACE_DESCRIPTIONS, TokenMetrics, UPSTREAM_DESCRIPTIONS, UpstreamMetrics,
    };
}

/// Rooms, events, positions, and what is said of them.
pub mod model {
    pub use crate::model::{
        Access, Ack, AckMode, Act, ArchiveMode, Batch, Command, CommandError, CommandId, Conflate, Cursor, DeleteMode,
        Deletion, Delivery, Disconnect, Durability, Epoch, EraseMode, ErrorCode, Event, IdempotencyKey, Limits,
        MAX_DEPTH, MAX_FIELD_BYTES, MAX_OFFSET, Member, Notice, Order, Payload, PlaceLimit, Policy, Position,
        PreparedMessage, PresenceList, PresenceMode, Progress, Publication, Receipt, Reconnect, Reply, Request, Retain,
        Retained, Room, RoomNameError, Signal, SignalAct, SignalNotice, Since, SlowReceiver, Spelling, Stats, Target,
        Telling, Token, Unread, WhenFull, check_topic, with_whole_pairs,
    };
}

/// A pod in this process.
pub mod pod {
    pub use crate::pod::{Pod, StartError};
}

/// What a connection says and hears.
pub mod protocol {
    pub use crate::protocol::{
        Described, Dialect, Dialects, MAX_ID_BYTES, MAX_ROOMS_A_COMMAND, Message, MessageKind, Messages, Native,
        OpenOutcome, Opening, PresenceChange, SUBPROTOCOL, ServerPush,
    };

    /// Engine.IO's packets and payloads.
    pub mod engineio {
        pub use crate::protocol::engineio::{
            Asked, Endpoint, EngineioPacket, Plain, SessionKey, Timing, Within, packets, unframe, write_payload,
        };
    }

    /// Socket.IO's packets and offsets.
    pub mod socketio {
        pub use crate::protocol::socketio::{Assembly, Envelope, Kind, Rooms, SocketioPacket, StreamOffset};
    }
}

/// Traces of publishes.
pub mod traces {
    pub use crate::traces::RemoteParent;
}

/// Bytes from and to others.
pub mod transport {
    /// A client of HTTP.
    pub mod fetch {
        pub use crate::transport::fetch::{Client, Limits};
    }

    /// The head of a request.
    pub mod head {
        pub use crate::transport::head::{Head, HeadError, MAX_HEADERS, asks_for_websocket};
    }

    /// Which servers are trusted.
    pub mod trust {
        pub use crate::transport::trust::{client_config, client_config_with_identity};
    }

    /// Frames of WebSocket.
    pub mod websocket {
        pub use crate::transport::websocket::{Deflater, Inflater, accept, frame_messages, write_head};
    }

    /// Messages of WebTransport.
    pub mod webtransport {
        pub use crate::transport::webtransport::{MessageReader, write_message};
    }
}
