//! Whole histories of rooms over virtual time: a broker that loses, repeats, reorders, rolls back and renames; sequencers,
//! queues and workers; clients that join, leave, stop reading and come back. All of it from a seed.
//!
//! The core that is stepped here is the one that pods run: sequencer, stream, recovery plan, members, encoder, queues, and what
//! becomes of a slow receiver. What is simulated is what drives it: log, workers' loops, sockets. The oracle ([`client`]) knows only what
//! `docs/PROTOCOL.md` promises.
//!
//! ```sh
//! cargo test --release --lib simulation -- --nocapture       # the pace, and a seed for each planted fault
//! SIMULATION_SEED=42 cargo test --lib simulation::one        # one history again
//! SIMULATION_HISTORIES=1000000 cargo test --release --lib simulation::histories
//! ```

#![allow(clippy::unwrap_used)]

mod client;
mod connection;
mod log;
mod log_read;
mod pod;
mod reads;
mod receiving;
mod script;
mod window_client;
mod windows;
mod worker;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    time::Instant,
};

use client::Violation;
use pod::SimulatedPod;
use script::{Script, Step};

use super::planted::{Fault, with_planted};

/// The faults that are planted, one at a time, with the invariant of `docs/ARCHITECTURE.md` that each breaks.
const FAULTS: [(Fault, &str); 16] = [
    (Fault::RepeatedDelivery, "1, one order"),
    (Fault::LostDelivery, "4, no silent hole: between broker and sequencer"),
    (Fault::MissedDeliveries, "4, no silent hole: the sequencer's queue was full"),
    (Fault::UntoldGap, "4, a hole is filled or told"),
    (Fault::FullWorkerQueue, "4, no silent hole: a worker's queue was full"),
    (Fault::SilentRestart, "4, no silent hole: a sequencer ended in a panic"),
    (Fault::HoleOnTheWay, "4, no silent hole: between sequencer and worker"),
    (Fault::FullBacklog, "4, no silent hole: a stream's backlog was full"),
    (Fault::FlushBoundary, "3, flush boundaries"),
    (Fault::FullHold, "3, what is held for a joiner"),
    (Fault::EpochIgnored, "1, an epoch never names two events"),
    (Fault::PartialRecovery, "4, recovered means all of it"),
    (Fault::UnpinnedFanOut, "3, a fan-out sees the members of its beginning"),
    (Fault::UntoldDrop, "4, a slow receiver is told what it lost"),
    (Fault::UnboundedQueue, "4, each queue is bounded: a slow receiver's"),
    (Fault::LateCatchUp, "4, a member that fell behind gets what it missed"),
];

/// Runs a history to its end.
fn run(script: &Script) -> Result<(), Violation> {
    let history = || {
        let mut pod = SimulatedPod::new(script);
        script.steps.iter().try_for_each(|step| pod.step(*step))?;
        pod.settle()?;
        let told: usize = pod.world.clients.iter().map(|client| client.losses_told).sum();
        if told > 0 && !pod.world.holds_overflowed && !script.steps.iter().any(Step::may_cost_events) {
            return Err(Violation(format!("clients were told {told} times that events are gone, and none was")));
        }
        Ok(())
    };
    catch_unwind(AssertUnwindSafe(history)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Violation(format!("a panic: {}", text.unwrap_or("without words"))))
    })
}

/// Leaves out steps for as long as what is left still fails.
fn shrink(mut script: Script) -> Script {
    let mut chunk = script.steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < script.steps.len() {
            let mut shorter = script.clone();
            shorter.steps.drain(at..(at + chunk).min(script.steps.len()));
            if run(&shorter).is_err() {
                script = shorter;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    script
}

/// The first of so many seeds that breaks a promise, and how.
fn first_failure(seeds: impl Iterator<Item = u64>) -> Option<(u64, Violation)> {
    seeds.into_iter().find_map(|seed| run(&Script::of(seed)).err().map(|violation| (seed, violation)))
}

/// Panics that a planted fault causes are results, and not news.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let result = run();
    set_hook(hook);
    result
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn histories_keep_every_promise() {
    // Enough for each fault of the broker in every mixture; the rest is a matter of patience.
    let histories =
        from_environment("SIMULATION_HISTORIES").unwrap_or(if cfg!(debug_assertions) { 1_500 } else { 10_000 });
    let began = Instant::now();
    let failure = first_failure(0..histories);
    let seconds = began.elapsed().as_secs_f64();
    if let Some((seed, Violation(text))) = failure {
        let script = quietly(|| shrink(Script::of(seed)));
        let shrunk = quietly(|| run(&script)).err().map_or_else(String::new, |Violation(text)| text);
        let Script { steps, slow, conflate, batch_window, queues } = script;
        let steps: String = steps.iter().map(|step| format!("    {step:?}\n")).collect();
        panic!(
            "seed {seed}: {text}\nshrunk ({slow:?}, {conflate:?}, {batch_window} ms, queues {queues:?}): {shrunk}\n{steps}"
        );
    }
    println!("{histories} histories in {seconds:.1} s: {:.0} a minute", histories as f64 / seconds * 60.0);
}

#[test]
fn every_planted_fault_is_found() {
    let missed: Vec<_> = quietly(|| {
        FAULTS
            .iter()
            .filter(|(fault, invariant)| {
                let found = with_planted(Some(*fault), || first_failure(0..1_000));
                match &found {
                    Some((seed, Violation(text))) => println!("{fault:?} ({invariant}): seed {seed}: {text}"),
                    None => println!("{fault:?} ({invariant}): not found"),
                }
                found.is_none()
            })
            .collect()
    });
    assert!(missed.is_empty(), "not found within 1,000 seeds: {missed:?}");
}

#[test]
fn one_history_again() {
    let seed = from_environment("SIMULATION_SEED").unwrap_or(0);
    if let Err(Violation(text)) = run(&Script::of(seed)) {
        panic!("seed {seed}: {text}");
    }
}

#[test]
fn a_failing_history_shrinks() {
    let (before, after) = quietly(|| {
        with_planted(Some(Fault::RepeatedDelivery), || {
            let (seed, _) = first_failure(0..1_000).unwrap();
            let script = Script::of(seed);
            (script.steps.len(), shrink(script).steps.len())
        })
    });
    assert!(after * 4 < before, "{before} steps shrank to {after}");
}
