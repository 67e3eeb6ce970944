//! What a client is told when the broker could not do what it asked for.

use crate::{
    broker::BrokerError,
    model::{ErrorCode, Reply},
};

/// What a client is told of a broker's failure.
pub(in crate::hub) fn refusal(error: &BrokerError) -> Reply {
    let code = match error {
        BrokerError::Unavailable(_) => ErrorCode::Unavailable,
        BrokerError::Unknown => ErrorCode::Unknown,
        BrokerError::NoToken(_) => ErrorCode::Unauthorized,
        BrokerError::Conflict => ErrorCode::Conflict,
        BrokerError::TooLarge { .. } => ErrorCode::LimitExceeded,
        BrokerError::UnknownTopic => ErrorCode::BadRequest,
    };
    Reply::Error { code, message: error.to_string(), room: None }
}
