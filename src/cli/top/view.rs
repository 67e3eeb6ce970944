//! What `roomcast top` shows: the newest answers, the last minutes, and where its reader is.
//!
//! Pure: takes answers, keys and the time. Always holds: there are at most [`MOMENTS`] moments, and all of them are of one start of one pod.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::{
    cli::fleet_rows::FleetStatus,
    model::{PodStatus, StatusMoment},
};

/// As many as the pod keeps: five minutes.
const MOMENTS: usize = 150;

/// What is shown below the head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    Pod,
    Limits,
    Fleet,
}

impl Page {
    /// In the order of their keys, which are 1 to 3.
    pub const ALL: [Self; 3] = [Self::Pod, Self::Limits, Self::Fleet];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Limits => "Limits",
            Self::Fleet => "Fleet",
        }
    }

    fn beside(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|page| *page == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }
}

/// What a key asks of the command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    /// Ask the pod now.
    Ask,
}

/// Since when a question has had no answer, and why the last one had none.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    pub why: String,
}

impl Outage {
    pub fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct TopView {
    /// The URL as people may see it.
    pub url: String,
    pub page: Page,
    /// The newest answer, without its moments.
    pub status: Option<PodStatus>,
    pub moments: VecDeque<StatusMoment>,
    pub outage: Option<Outage>,
    pub fleet: Option<FleetStatus>,
    /// Why the fleet's newest question had no answer.
    pub fleet_error: Option<String>,
    pub paused: bool,
    pub help: bool,
    /// Lines that are above what is shown. Drawing brings it back to what there is.
    pub scroll: usize,
}

impl TopView {
    pub fn new(url: String) -> Self {
        Self { url, ..Self::default() }
    }

    /// The moment after which more is asked for.
    pub fn newest(&self) -> u64 {
        self.moments.back().map_or(0, |moment| moment.at)
    }

    /// Takes in the answer of the pod.
    pub fn take_status(&mut self, answer: Result<PodStatus, String>, now: Instant) {
        let mut status = match answer {
            Ok(status) => status,
            Err(why) => {
                let since = self.outage.as_ref().map_or(now, |outage| outage.since);
                self.outage = Some(Outage { since, why });
                return;
            }
        };
        self.outage = None;
        let is_another =
            self.status.as_ref().is_some_and(|known| known.pod != status.pod || status.uptime_ms < known.uptime_ms);
        if is_another {
            // The question left out what came before the other pod's newest moment: the next one asks for all.
            self.moments.clear();
            status.moments.clear();
        }
        for moment in std::mem::take(&mut status.moments) {
            if moment.at > self.newest() {
                self.moments.push_back(moment);
            }
        }
        while self.moments.len() > MOMENTS {
            self.moments.pop_front();
        }
        self.status = Some(status);
    }

    /// Takes in the answer of the fleet.
    pub fn take_fleet(&mut self, answer: Result<FleetStatus, String>) {
        match answer {
            Ok(fleet) => (self.fleet, self.fleet_error) = (Some(fleet), None),
            Err(why) => self.fleet_error = Some(why),
        }
    }

    /// Takes in a key.
    pub fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        match key.code {
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Some(Wish::Quit),
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::Quit),
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return (!self.paused).then_some(Wish::Ask);
            }
            KeyCode::Char('r') => return Some(Wish::Ask),
            KeyCode::Char('1') => return self.turn(Page::Pod),
            KeyCode::Char('2') => return self.turn(Page::Limits),
            KeyCode::Char('3') => return self.turn(Page::Fleet),
            KeyCode::Tab | KeyCode::Right => return self.turn(self.page.beside(1)),
            KeyCode::BackTab | KeyCode::Left => return self.turn(self.page.beside(Page::ALL.len() - 1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(10),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home => self.scroll = 0,
            KeyCode::End => self.scroll = usize::MAX,
            _ => {}
        }
        None
    }

    /// Turns to a page. The fleet is asked only while it is shown, so that it is asked at once.
    fn turn(&mut self, page: Page) -> Option<Wish> {
        (self.page, self.scroll, self.help) = (page, 0, false);
        (page == Page::Fleet).then_some(Wish::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pod: &str, uptime_ms: u64, moments: impl IntoIterator<Item = u64>) -> Result<PodStatus, String> {
        let moments = moments.into_iter().map(|at| StatusMoment { at, ..StatusMoment::default() }).collect();
        Ok(PodStatus { pod: pod.to_owned(), uptime_ms, moments, ..PodStatus::default() })
    }

    fn press(view: &mut TopView, code: KeyCode) -> Option<Wish> {
        view.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn moments_are_bounded_and_of_one_start_of_one_pod() {
        let (mut view, now) = (TopView::default(), Instant::now());
        view.take_status(answer("a", 10, 1..=100), now);
        view.take_status(answer("a", 12, 99..=260), now);
        assert_eq!((view.moments.len(), view.newest()), (MOMENTS, 260));
        assert!(view.moments.iter().zip(view.moments.iter().skip(1)).all(|(one, next)| one.at < next.at));
        for (pod, uptime) in [("b", 12), ("b", 3)] {
            view.take_status(answer(pod, uptime, [261]), now);
            assert_eq!((view.moments.len(), view.newest()), (0, 0), "the next question asks for all of {pod}");
            view.take_status(answer(pod, uptime + 1, 7..=9), now);
            assert_eq!((view.moments.len(), view.newest()), (3, 9));
        }
    }

    #[test]
    fn an_outage_lasts_from_its_first_failure_to_the_next_answer() {
        let (mut view, began) = (TopView::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        view.take_status(answer("a", 10, [1]), began);
        view.take_status(Err("refused".to_owned()), after(2));
        view.take_status(Err("no answer".to_owned()), after(4));
        let outage = view.outage.as_ref().map(|outage| (outage.lasts(after(5)).as_secs(), outage.why.as_str()));
        assert_eq!(outage, Some((3, "no answer")));
        assert!(view.status.is_some(), "the last figures stay");
        view.take_status(answer("a", 20, [2]), after(6));
        assert!(view.outage.is_none() && view.newest() == 2);
    }

    #[test]
    fn a_fleet_that_cannot_be_asked_keeps_its_last_rows() {
        let mut view = TopView::default();
        view.take_fleet(Ok(FleetStatus { connections: 7, ..FleetStatus::default() }));
        view.take_fleet(Err("refused".to_owned()));
        assert_eq!(view.fleet.as_ref().map(|fleet| fleet.connections), Some(7));
        assert_eq!(view.fleet_error.as_deref(), Some("refused"));
        view.take_fleet(Ok(FleetStatus::default()));
        assert_eq!(view.fleet_error, None);
    }

    #[test]
    fn keys() {
        let mut view = TopView::default();
        for (code, page) in [
            (KeyCode::Tab, Page::Limits),
            (KeyCode::Right, Page::Fleet),
            (KeyCode::Tab, Page::Pod),
            (KeyCode::BackTab, Page::Fleet),
            (KeyCode::Left, Page::Limits),
            (KeyCode::Char('1'), Page::Pod),
            (KeyCode::Char('3'), Page::Fleet),
            (KeyCode::Char('2'), Page::Limits),
        ] {
            view.scroll = 3;
            assert_eq!(press(&mut view, code), (page == Page::Fleet).then_some(Wish::Ask), "{code:?}");
            assert_eq!((view.page, view.scroll), (page, 0), "{code:?}");
        }
        assert_eq!((press(&mut view, KeyCode::Char('p')), view.paused), (None, true));
        assert_eq!((press(&mut view, KeyCode::Char('p')), view.paused), (Some(Wish::Ask), false));
        assert_eq!(press(&mut view, KeyCode::Char('r')), Some(Wish::Ask));
        for (code, scroll) in [(KeyCode::Up, 0), (KeyCode::Down, 1), (KeyCode::PageDown, 11), (KeyCode::Home, 0)] {
            press(&mut view, code);
            assert_eq!(view.scroll, scroll, "{code:?}");
        }
        press(&mut view, KeyCode::Char('?'));
        assert_eq!((view.help, press(&mut view, KeyCode::Esc), view.help), (true, None, false));
        assert_eq!(press(&mut view, KeyCode::Esc), Some(Wish::Quit));
        assert_eq!(press(&mut view, KeyCode::Char('q')), Some(Wish::Quit));
        assert_eq!(press(&mut view, KeyCode::Char('c')), None);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.press(control), Some(Wish::Quit));
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(view.press(released), None);
    }
}
