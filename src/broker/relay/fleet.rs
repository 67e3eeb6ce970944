//! Questions of the fleet, with the edges of this pod among those that are asked.
//!
//! Always holds: an edge is asked by the one pod over whose link it leads; an answer of an edge that another pod's question brought counts
//! as part of this pod's, where answers can be added; edges are told where edges are, and not where pods of the fleet are.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::join_all;

use super::{edge_answer::EdgeAnswer, edges::Edges};
use crate::broker::{Answer, BrokerError, Control, FleetAnswer, FleetAnswers, FleetQuestion, Respond};

/// How long edges are waited for, where another pod of the fleet waits for this one.
const EDGES_WITHIN: Duration = Duration::from_millis(800);

/// The fleet of a pod that has edges.
pub struct HomeControl {
    own: Arc<dyn Control>,
    edges: Arc<Edges>,
    respond: OnceLock<Arc<dyn Respond>>,
}

impl HomeControl {
    /// The fleet, and the pod's edges.
    #[must_use]
    pub fn new(own: Arc<dyn Control>, edges: Arc<Edges>) -> Self {
        Self { own, edges, respond: OnceLock::new() }
    }

    /// Where an edge with a link to this pod says that its internal listener is, for another edge.
    pub(super) fn address_for_edge(&self, pod: &str) -> Option<String> {
        self.edges.address(pod)
    }

    /// Asks the edges, and then the other pods beside them.
    async fn ask_all(
        &self,
        question: &FleetQuestion,
        within: Duration,
        except: Option<&str>,
    ) -> Result<FleetAnswers, BrokerError> {
        let links = self.edges.leading(except);
        let ask = links.iter().map(|link| async move { (link.pod.clone(), link.ask(question, within).await) });
        let (answers, edges) = tokio::join!(self.own.ask_others(question, within), join_all(ask));
        let mut answers = answers?;
        for (pod, EdgeAnswer { said, is_whole }) in edges {
            // What it was not believed may be so all the same.
            if !is_whole {
                answers.silent.push(pod.clone());
            }
            answers.said.extend(said.map(|said| (pod, said)));
        }
        Ok(answers)
    }

    /// What an edge asks: of this pod, of the others and of the other edges.
    pub(super) async fn ask_for_edge(
        &self,
        edge: &str,
        question: &FleetQuestion,
        within: Duration,
    ) -> Result<FleetAnswers, BrokerError> {
        let own = async {
            match self.respond.get() {
                Some(respond) => tokio::time::timeout(within, respond.respond(question.clone())).await.ok().flatten(),
                None => None,
            }
        };
        let (own, answers) = tokio::join!(own, self.ask_all(question, within, Some(edge)));
        let mut answers = answers?;
        match own {
            Some(said) => answers.said.push((self.own.pod().to_owned(), said)),
            None => answers.silent.push(self.own.pod().to_owned()),
        }
        Ok(answers)
    }
}

impl Control for HomeControl {
    fn pod(&self) -> &str {
        self.own.pod()
    }

    fn is_pod(&self, name: &str) -> bool {
        self.own.is_pod(name)
    }

    // No request of this pod's clients goes where an edge says: that is for other edges to believe, within their `upstream.peers`.
    fn address<'a>(&'a self, pod: &'a str) -> Answer<'a, Option<String>> {
        self.own.address(pod)
    }

    fn ask_others<'a>(&'a self, ask: &'a FleetQuestion, within: Duration) -> Answer<'a, FleetAnswers> {
        Box::pin(self.ask_all(ask, within, None))
    }

    fn announce_drain(&self) {
        self.own.announce_drain();
    }

    fn has_left(&self, pod: u64) -> bool {
        self.own.has_left(pod)
    }

    fn answer_with(&self, respond: Arc<dyn Respond>) {
        let _ = self.respond.set(Arc::clone(&respond));
        self.own.answer_with(Arc::new(WithEdges { own: respond, edges: Arc::clone(&self.edges) }));
    }
}

/// Answers other pods for this one and its edges.
struct WithEdges {
    own: Arc<dyn Respond>,
    edges: Arc<Edges>,
}

impl Respond for WithEdges {
    fn respond(&self, ask: FleetQuestion) -> Pin<Box<dyn Future<Output = Option<FleetAnswer>> + Send>> {
        let own = self.own.respond(ask.clone());
        let links = if is_added(&ask) { self.edges.leading(None) } else { Vec::new() };
        Box::pin(async move {
            let edges = join_all(links.iter().map(|link| link.ask(&ask, EDGES_WITHIN)));
            let (own, edges) = tokio::join!(own, edges);
            Some(edges.into_iter().filter_map(|edge| edge.said).fold(own?, added))
        })
    }
}

/// Whether answers of several pods make one.
fn is_added(question: &FleetQuestion) -> bool {
    matches!(
        question,
        FleetQuestion::Order(_) | FleetQuestion::Users(_) | FleetQuestion::Erase(_) | FleetQuestion::Present(_)
    )
}

/// One answer of two: the connections, or the users, of both.
fn added(one: FleetAnswer, other: FleetAnswer) -> FleetAnswer {
    match (one, other) {
        (FleetAnswer::Done(one), FleetAnswer::Done(other)) => {
            FleetAnswer::Done(one.into_iter().chain(other).reduce(|all, some| all + some))
        }
        (FleetAnswer::Present(one), FleetAnswer::Present(other)) => {
            let all: BTreeSet<Box<str>> = one.into_iter().chain(other).collect();
            FleetAnswer::Present(all.into_iter().collect())
        }
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_users_of_several_pods_are_added() {
        let done = FleetAnswer::Done;
        assert_eq!(added(done(None), done(None)), done(None));
        assert_eq!(added(done(Some(1)), done(None)), done(Some(1)));
        assert_eq!(added(done(None), done(Some(2))), done(Some(2)));
        assert_eq!(added(done(Some(1)), done(Some(2))), done(Some(3)));
        let present = |users: &[&str]| FleetAnswer::Present(users.iter().map(|user| (*user).into()).collect());
        assert_eq!(added(present(&["bob"]), present(&["ann", "bob"])), present(&["ann", "bob"]));
    }
}
