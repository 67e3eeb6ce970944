//! Which users have a connection, to this pod and in the fleet.
//!
//! Never decides what follows from it. Always holds: a pod that does not answer makes the others' users unsure, never away.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    broker::{FleetAnswer, FleetQuestion},
    hub::worker::{Worker, call::CallError, fleet::ANSWER_WITHIN, services::Services},
};

/// What looks for users.
pub struct Whereabouts<'a>(pub &'a Services);

impl Whereabouts<'_> {
    /// Which of these users have a connection to this pod.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn here(&self, users: Vec<Box<str>>) -> Result<Vec<Box<str>>, CallError> {
        let users: Arc<[Box<str>]> = users.into();
        let of_worker = move |worker: &mut Worker| -> Vec<Box<str>> {
            let here = &worker.core.clients.connections.users;
            users.iter().filter(|user| !here.of(user).is_empty()).cloned().collect()
        };
        Ok(self.0.queues.ask_all(of_worker).await?.into_iter().flatten().collect())
    }

    /// Which of these users have a connection in the fleet, and whether there may be more.
    pub async fn there(&self, users: Vec<Box<str>>) -> (BTreeSet<Box<str>>, bool) {
        let (mut there, mut unsure) = (BTreeSet::new(), false);
        match self.here(users.clone()).await {
            Ok(here) => there.extend(here),
            Err(CallError) => unsure = true,
        }
        let others: Vec<_> = users.into_iter().filter(|user| !there.contains(user)).collect();
        if others.is_empty() {
            return (there, unsure);
        }
        match self.0.control.ask_others(&FleetQuestion::Present(others), ANSWER_WITHIN).await {
            Ok(answers) => {
                unsure |= !answers.silent.is_empty();
                for (_, said) in answers.said {
                    match said {
                        FleetAnswer::Present(users) => there.extend(users),
                        _ => unsure = true,
                    }
                }
            }
            Err(_) => unsure = true,
        }
        (there, unsure)
    }
}
