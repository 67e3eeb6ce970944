//! Publishes of which many are under way: an answer takes the way to the home and back, and the next event does not wait for it.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use tokio::task::JoinSet;

use crate::{error::BenchError, pod::Pod, publisher::Publisher, scenario::window::Ends};

/// Connections to one pod's API, each with one request under way. Needs a `LocalSet`.
pub(super) struct Posts {
    internal: SocketAddr,
    api_key: String,
    idle: Rc<RefCell<Vec<Publisher>>>,
    under_way: JoinSet<Result<(u32, u64), BenchError>>,
}

impl Posts {
    /// Opens `count` connections; more follow where they do not suffice.
    pub(super) async fn open(pod: &Pod, count: usize) -> Result<Self, BenchError> {
        let mut idle = Vec::new();
        for _ in 0..count {
            idle.push(pod.another_publisher().await?);
        }
        let (internal, api_key) = (pod.internal(), pod.api_key().to_owned());
        Ok(Self { internal, api_key, idle: Rc::new(RefCell::new(idle)), under_way: JoinSet::new() })
    }

    /// Publishes to a room of this number and name, without waiting for the answer.
    pub(super) fn post(&mut self, number: u32, room: String, data: String) {
        let (internal, api_key, idle) = (self.internal, self.api_key.clone(), Rc::clone(&self.idle));
        let taken = idle.borrow_mut().pop();
        self.under_way.spawn_local(async move {
            let mut publisher = match taken {
                Some(publisher) => publisher,
                None => Publisher::connect(internal, &api_key).await?,
            };
            let offset = publisher.publish(&room, &data).await?;
            idle.borrow_mut().push(publisher);
            Ok((number, offset))
        });
    }

    /// Waits for all answers.
    pub(super) async fn ends(mut self) -> Result<Ends, BenchError> {
        let mut ends = Ends::default();
        while let Some(answer) = self.under_way.join_next().await {
            let answer = answer.map_err(|e| BenchError::Protocol(format!("a publish: {e}")))?;
            let (room, offset) = answer?;
            ends.published(room, offset);
        }
        Ok(ends)
    }
}
