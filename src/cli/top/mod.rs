//! `roomcast top`: a pod and its fleet, live in a terminal.
//!
//! Owns the questions and their pace: one of each kind at a time. Owns no figure: it shows what `/status.json` says. Never changes a
//! pod. Always holds: however it ends, the terminal is as it was.

mod draw;
mod palette;
mod plots;
mod screen;
mod view;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::crossterm::event::Event;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{Sender, channel},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{fleet_rows::FleetStatus, outcome::runtime, status_source::StatusSource};
use crate::{model::PodStatus, transport::fetch::Limits};
use screen::{Happened, Screen};
use view::{Page, TopView, Wish};

/// The time between two questions to the pod, which looks at itself so often.
const EVERY: Duration = Duration::from_secs(2);

/// The same of its fleet, whose answers the pod keeps for so long.
const FLEET_EVERY: Duration = Duration::from_secs(5);

/// The screen is drawn so often at least: an outage has a clock.
const BEAT: Duration = Duration::from_secs(1);

/// The most of an answer, and how long it may take: longer than a pod waits for its fleet.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_bytes: 4 * 1024 * 1024 };

/// Which pod is shown.
#[derive(Debug, Args)]
pub struct TopCommand {
    /// The internal listener of a pod
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:9000")]
    url: String,
    /// Further CA certificates to trust an https URL by (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What `roomcast top --help` says at its end.
pub const EXAMPLES: &str = "\
Examples:
  roomcast top                                     the pod on this machine
  roomcast top http://10.0.0.7:9000                another one
  kubectl exec -it POD -- roomcast top             in the image, which has no shell

Keys: 1 2 3 or Tab for pod, limits and fleet; arrows scroll; p pauses; r asks now; ? explains; q quits.
NO_COLOR=1 draws without colours. A pod that does not answer is said, and asked again every 2 s.
Exits 0 when it is quit, 1 if there is no terminal or no usable URL, 128 and the signal's number by a signal.";

/// An answer, or why there is none.
enum Answered {
    Pod(Result<Box<PodStatus>, String>),
    Fleet(Result<FleetStatus, String>),
}

impl TopCommand {
    /// Shows the pod until a key or a signal ends it.
    pub fn run(&self) -> ExitCode {
        match runtime().and_then(|runtime| runtime.block_on(self.show())) {
            Ok(code) => code,
            Err(why) => {
                let _ = writeln!(io::stderr(), "{why}");
                ExitCode::FAILURE
            }
        }
    }

    async fn show(&self) -> Result<ExitCode, String> {
        let source = Arc::new(StatusSource::new(&self.url, self.ca.as_deref(), LIMITS)?);
        let (happened, mut happenings) = channel(16);
        // Before the screen is taken: a signal between the two would leave it taken.
        hear_signals(&happened)?;
        let mut screen = Screen::open()?;
        screen.listen(happened);
        let mut asking = Questions::new(source);
        let mut view = TopView::new(asking.source.shown.clone());
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => asking.ask_what_is_due(&view, Instant::now()),
                Some(answer) = asking.answers.join_next() => {
                    // A question that panicked has given the terminal back already.
                    asking.take(answer.map_err(|error| error.to_string())?, &mut view, Instant::now());
                }
                next = happenings.recv() => match next {
                    Some(Happened::Typed(Event::Key(key))) => match view.press(key) {
                        Some(Wish::Quit) => return Ok(ExitCode::SUCCESS),
                        Some(Wish::Ask) => asking.ask_now(&view, Instant::now()),
                        None => {}
                    },
                    // A new size is drawn like any other change.
                    Some(Happened::Typed(_)) => {}
                    Some(Happened::Signal(number)) => return Ok(ExitCode::from(128 + number)),
                    Some(Happened::Gone) | None => return Err("the terminal is gone".to_owned()),
                },
            }
            let drawn = screen.draw(&mut view, Instant::now(), EVERY);
            drawn.map_err(|error| format!("the terminal is gone: {error}"))?;
        }
    }
}

/// Questions that are under way, one of each kind at most, and when the last ones were asked.
struct Questions {
    source: Arc<StatusSource>,
    answers: JoinSet<Answered>,
    pod: QuestionPace,
    fleet: QuestionPace,
}

#[derive(Default)]
struct QuestionPace {
    is_open: bool,
    asked: Option<Instant>,
}

impl QuestionPace {
    /// A beat that comes a little early is not a second too late.
    fn is_due(&self, every: Duration, now: Instant) -> bool {
        let early = every.saturating_sub(BEAT / 2);
        !self.is_open && self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= early)
    }

    fn open(&mut self, now: Instant) {
        (self.is_open, self.asked) = (true, Some(now));
    }
}

impl Questions {
    fn new(source: Arc<StatusSource>) -> Self {
        Self { source, answers: JoinSet::new(), pod: QuestionPace::default(), fleet: QuestionPace::default() }
    }

    fn ask_what_is_due(&mut self, view: &TopView, now: Instant) {
        if !view.paused && self.pod.is_due(EVERY, now) {
            self.ask_pod(view, now);
        }
        if !view.paused && view.page == Page::Fleet && self.fleet.is_due(FLEET_EVERY, now) {
            self.ask_fleet(now);
        }
    }

    fn ask_now(&mut self, view: &TopView, now: Instant) {
        if !self.pod.is_open {
            self.ask_pod(view, now);
        }
        if view.page == Page::Fleet && !self.fleet.is_open {
            self.ask_fleet(now);
        }
    }

    fn ask_pod(&mut self, view: &TopView, now: Instant) {
        self.pod.open(now);
        let (source, query) = (Arc::clone(&self.source), format!("?after={}", view.newest()));
        self.answers.spawn(async move { Answered::Pod(source.ask(&query).await.map(Box::new)) });
    }

    fn ask_fleet(&mut self, now: Instant) {
        self.fleet.open(now);
        let source = Arc::clone(&self.source);
        self.answers.spawn(async move { Answered::Fleet(source.ask("?scope=fleet").await) });
    }

    fn take(&mut self, answer: Answered, view: &mut TopView, now: Instant) {
        match answer {
            Answered::Pod(answer) => {
                self.pod.is_open = false;
                view.take_status(answer.map(|status| *status), now);
            }
            Answered::Fleet(answer) => {
                self.fleet.is_open = false;
                view.take_fleet(answer);
            }
        }
    }
}

/// Tells of the signals that end a program.
fn hear_signals(happened: &Sender<Happened>) -> Result<(), String> {
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()] {
        let mut heard = signal(kind).map_err(|error| format!("cannot hear signals: {error}"))?;
        let happened = happened.clone();
        let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
        tokio::spawn(async move {
            if heard.recv().await.is_some() {
                let _ = happened.send(Happened::Signal(number)).await;
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_due_once_its_time_is_over_and_none_is_open() {
        let (mut pace, began) = (QuestionPace::default(), Instant::now());
        let after = |ms| began + Duration::from_millis(ms);
        assert!(pace.is_due(EVERY, began));
        pace.open(began);
        assert!(!pace.is_due(EVERY, after(60_000)), "one at a time");
        pace.is_open = false;
        for (ms, due) in [(0, false), (1_000, false), (1_990, true), (9_000, true)] {
            assert_eq!(pace.is_due(EVERY, after(ms)), due, "{ms}");
        }
    }
}
