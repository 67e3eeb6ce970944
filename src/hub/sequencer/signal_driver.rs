//! Tells the members of a sequencer's rooms of signals, and of their end.
//!
//! Never decides which are told: that is the board's. Always holds: a signal holds up no event and moves no position; one that finds a
//! full queue is dropped, and its end by the receiver's own clock.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    hub::{
        fanout::broadcast::{Broadcast, Content},
        sequencer::{driver::Sequencer, signal_board::UntoldSignal, update::StreamUpdate},
        worker::{
            clock::{millis, unix_millis},
            queues::ToWorker,
        },
    },
    model::{Notice, Room, Signal, SignalNotice},
};

impl Sequencer {
    /// A signal came for a room.
    pub(super) fn signal(&mut self, room: &Room, signal: Signal) {
        let Some(sequencer) = self.rooms.get(room) else { return };
        let now_ms = millis(self.began.elapsed());
        match self.signals.take(room, signal, sequencer.policy(), now_ms, unix_millis()) {
            Ok(notice) => self.tell_signal(notice),
            Err(untold) => {
                let signals = &self.services.metrics.signals;
                let counter = match untold {
                    UntoldSignal::Thinned => &signals.thinned,
                    UntoldSignal::Limited => &signals.limited,
                };
                counter.increment(1);
            }
        }
    }

    /// Tells of signals that are over.
    pub(super) fn end_signals(&mut self) {
        let now_ms = millis(self.began.elapsed());
        while let Some(notice) = self.signals.end_next(now_ms, unix_millis()) {
            self.services.metrics.signals.expired.increment(1);
            self.tell_signal(notice);
        }
    }

    /// When the next signal is over.
    pub(super) fn signal_deadline(&self) -> Option<Instant> {
        self.signals.next_due().map(|at_ms| self.began + Duration::from_millis(at_ms))
    }

    /// Tells the members of a personal room something. Where a queue is full it is dropped: what is told can be asked for.
    pub(super) fn notify(&self, room: &Room, notice: Notice) {
        let Some(sequencer) = self.rooms.get(room) else { return };
        let content = Content::Notice(room.clone(), notice);
        let broadcast = Broadcast::new(content, Arc::clone(sequencer.policy()), Instant::now());
        let update = StreamUpdate::Broadcast(Arc::new(broadcast));
        for worker in sequencer.listed() {
            let _ = self.services.queues.tell_worker(worker, ToWorker::Room(room.clone(), update.clone()));
        }
    }

    fn tell_signal(&self, notice: SignalNotice) {
        let Some(sequencer) = self.rooms.get(&notice.room) else { return };
        let (room, sender) = (notice.room.clone(), notice.sender.clone());
        let broadcast = Broadcast::new(Content::Signal(notice), Arc::clone(sequencer.policy()), Instant::now());
        let broadcast = broadcast.in_window(sequencer.window()).except_sender(&sender);
        let update = StreamUpdate::Broadcast(Arc::new(broadcast));
        for worker in sequencer.listed() {
            if !self.services.queues.tell_worker(worker, ToWorker::Room(room.clone(), update.clone())) {
                self.services.metrics.signals.lost.increment(1);
            }
        }
    }
}
