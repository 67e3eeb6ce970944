//! What every gRPC service of a pod works with.

use std::{sync::Arc, time::Instant};

use crate::{config::PersonalRoom, hub::Services, metrics::Exposition};

/// The parts of the pod that calls reach.
pub(super) struct CallContext {
    pub(super) services: Arc<Services>,
    pub(super) exposition: Arc<Exposition>,
    pub(super) user_room: PersonalRoom,
    pub(super) began: Instant,
}
