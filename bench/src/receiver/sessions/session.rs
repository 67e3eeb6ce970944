//! One session: connects, subscribes, reads its room's stream.

use std::{cell::RefCell, rc::Rc};

use bytes::Bytes;

use super::seat::{Hall, Seat};
use crate::{
    dialect::Dialect,
    receiver::{
        control::Join,
        frames::{Said, parse},
    },
    verify::Tracker,
};

/// The task of one session.
pub(super) struct Session {
    hall: Rc<Hall>,
    seat: Rc<RefCell<Seat>>,
    join: Join,
}

impl Session {
    /// Starts one; what becomes of it shows in its seat.
    pub(super) fn start(hall: &Rc<Hall>, join: &Join, index: usize, subscribes: bool) -> Rc<RefCell<Seat>> {
        let room = join.first_room + u32::try_from(index % join.rooms.max(1) as usize).unwrap_or(0);
        let seat = Rc::new(RefCell::new(Seat {
            room,
            member: false,
            tracker: Tracker::default(),
            deflate: join.deflate,
            connection: None,
            ended: None,
        }));
        let session = Self { hall: Rc::clone(hall), seat: Rc::clone(&seat), join: join.clone() };
        tokio::task::spawn_local(async move {
            let ended = session.live(subscribes).await;
            session.seat.borrow_mut().ended = Some(ended.err().unwrap_or_else(|| "the room's stream ended".to_owned()));
        });
        seat
    }

    async fn live(&self, subscribes: bool) -> Result<(), String> {
        let session = self.hall.callers.connect(&self.join).await?;
        let connection: &quinn::Connection = &session;
        self.seat.borrow_mut().connection = Some((connection.clone(), 0));
        if !subscribes {
            return Err(session.closed().await.to_string());
        }
        let (mut send, recv) = session.open_bi().await.map_err(|e| e.to_string())?;
        let room = self.seat.borrow().room;
        let mut bytes = Vec::new();
        for message in Dialect::Native.subscribe(room) {
            roomcast::testing::transport::webtransport::write_message(message.as_bytes(), &mut bytes);
        }
        send.write_all(&bytes).await.map_err(|e| e.to_string())?;
        let mut stream = session.accept_uni().await.map_err(|e| e.to_string())?;
        let mut kind = [0];
        stream.read_exact(&mut kind).await.map_err(|e| e.to_string())?;
        self.seat.borrow_mut().deflate = kind[0] == 1;
        let mut partial = Vec::new();
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.map_err(|e| e.to_string())? {
            self.read(room, &chunk.bytes, &mut partial)?;
        }
        // What is said to it alone is not read; the stream must live as long as the session.
        drop(recv);
        Ok(())
    }

    fn read(&self, room: u32, chunk: &Bytes, partial: &mut Vec<u8>) -> Result<(), String> {
        let whole;
        let mut rest: &[u8] = if partial.is_empty() {
            chunk
        } else {
            partial.extend_from_slice(chunk);
            whole = std::mem::take(partial);
            &whole
        };
        let mut seat = self.seat.borrow_mut();
        let mut tally = self.hall.tally.borrow_mut();
        while !rest.is_empty() {
            if let Some((length, batch)) = tally.known(room).recognise(rest) {
                let offsets = batch.events.iter().map(|&(offset, _)| offset);
                seat.tracker.events(batch.after, batch.offset, offsets, &mut tally.faults);
                tally.batch(room, &batch);
                rest = &rest[length..];
                continue;
            }
            let first = self.hall.frames.borrow_mut().first(rest, seat.deflate).map_err(|e| e.to_string())?;
            let Some((length, messages)) = first else { break };
            let alone = messages.len() == 1;
            for message in messages {
                match parse(&message, room, &self.join.recipe) {
                    Said::Batch(batch) => {
                        if alone {
                            tally.known(room).remember(&rest[..length], &batch);
                        }
                        let offsets = batch.events.iter().map(|&(offset, _)| offset);
                        seat.tracker.events(batch.after, batch.offset, offsets, &mut tally.faults);
                        tally.batch(room, &batch);
                    }
                    Said::Subscribed(offset) => {
                        seat.tracker.subscribed(offset);
                        seat.member = true;
                    }
                    Said::Gap { after, offset } => {
                        seat.tracker.gap(after, offset, &mut tally.faults);
                        tally.example(|| format!("a gap in room {room}: ({after}, {offset}]"));
                    }
                    Said::Other => {}
                    Said::Opened | Said::Connected | Said::Ping | Said::Heartbeat => {
                        return Err("the server speaks Socket.IO on a session".to_owned());
                    }
                    Said::Wrong(what) => return Err(format!("the server said: {what}")),
                }
            }
            rest = &rest[length..];
        }
        *partial = rest.to_vec();
        Ok(())
    }
}
