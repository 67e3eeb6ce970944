//! A room's place for a window: made once the room has said something often, so that a quiet room has none.
//!
//! Pure. Always holds: the window is of one policy; with another one a new window begins.

use std::sync::Arc;

use crate::{
    hub::fanout::{room_window::RoomWindow, shared_windows::SharedWindows},
    model::Policy,
};

/// A room that has said less has no place for a window yet.
const BATCHES: u64 = 16;

/// A room's place for a window.
#[derive(Debug, Clone, Default)]
pub struct WindowSeat {
    /// The pod's windows; `None`: frames never refer to others.
    all: Option<Arc<SharedWindows>>,
    own: Option<Arc<RoomWindow>>,
    batches: u64,
}

impl WindowSeat {
    /// A place among the windows of a pod.
    #[must_use]
    pub fn among(all: &Arc<SharedWindows>) -> Self {
        Self { all: all.are_allowed().then(|| Arc::clone(all)), ..Self::default() }
    }

    /// An empty one in its place.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { all: self.all.clone(), ..Self::default() }
    }

    /// The window that the room's broadcasts may refer to; `None`: it has none, or not yet.
    #[must_use]
    pub fn window(&self) -> Option<&Arc<RoomWindow>> {
        self.own.as_ref()
    }

    /// A batch leaves.
    pub fn count_batch(&mut self, policy: &Policy) {
        self.batches += 1;
        if self.batches == BATCHES && policy.shared_window && policy.compress_from.is_some() {
            self.own = self.all.as_ref().map(|all| Arc::new(RoomWindow::new(Arc::clone(all))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::WindowMetrics;

    #[test]
    fn a_room_that_says_something_often_has_a_window_where_that_is_allowed() {
        let after = |limit, batches, policy: Policy| {
            let mut seat = WindowSeat::among(&Arc::new(SharedWindows::new(6, limit, WindowMetrics::default())));
            (0..batches).for_each(|_| seat.count_batch(&policy));
            (seat.window().is_some(), seat.anew().window().is_some())
        };
        let policy = Policy::default();
        assert_eq!(after(1 << 20, BATCHES - 1, policy.clone()), (false, false));
        assert_eq!(after(1 << 20, BATCHES, policy.clone()), (true, false));
        assert_eq!(after(0, BATCHES, policy.clone()), (false, false));
        assert_eq!(after(1 << 20, BATCHES, Policy { shared_window: false, ..policy.clone() }), (false, false));
        assert_eq!(after(1 << 20, BATCHES, Policy { compress_from: None, ..policy }), (false, false));
    }
}
