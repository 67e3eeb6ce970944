//! What stands on a screen, cell by cell.
#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};

use super::*;
use crate::{
    cli::fleet_rows::FleetStatus,
    model::{CarriedConnections, MasterStatus, PodStats, RedisStatus, StatusMoment},
};

const EVERY: Duration = Duration::from_secs(2);

fn drawn(view: &mut TopView, width: u16, height: u16, palette: Palette, now: Instant) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, palette, now, EVERY)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let text = |row: &[Cell]| row.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned();
    buffer.content().chunks(width).map(text).collect()
}

/// The lines on a screen of that size.
fn shown(view: &mut TopView, width: u16, height: u16) -> Vec<String> {
    lines(&drawn(view, width, height, Palette::new(None), Instant::now()))
}

fn press(view: &mut TopView, code: KeyCode) {
    view.press(KeyEvent::new(code, KeyModifiers::NONE));
}

fn status() -> PodStatus {
    let moment = |at| StatusMoment {
        at,
        connections: 1_000 + at,
        deliveries: 300.0,
        p99_ms: (at > 1).then_some(1.5),
        cores: 0.25,
        ..StatusMoment::default()
    };
    PodStatus {
        pod: "00ff".to_owned(),
        version: "1.2.3".to_owned(),
        uptime_ms: 61_000,
        readiness: "ready".to_owned(),
        connections: 1_003,
        max_connections: 15_000,
        carried: vec![CarriedConnections {
            transport: "websocket".to_owned(),
            dialect: "native".to_owned(),
            connections: 1_003,
        }],
        limits: vec![
            LimitStatus {
                name: "connections".to_owned(),
                used: Some(1_003),
                limit: Some(15_000),
                ..LimitStatus::default()
            },
            LimitStatus {
                name: "memory".to_owned(),
                used: Some(900_000),
                limit: Some(1_000_000),
                ..LimitStatus::default()
            },
            LimitStatus { name: "addresses".to_owned(), refused: 7, bites: true, ..LimitStatus::default() },
        ],
        moments: (1..=3).map(moment).collect(),
        ..PodStatus::default()
    }
}

fn view() -> TopView {
    let mut view = TopView::new("http://pod:9000".to_owned());
    view.take_status(Ok(status()), Instant::now());
    view
}

#[test]
fn a_pod_on_a_screen_of_80_by_24() {
    let seen = shown(&mut view(), 80, 24);
    assert_eq!(seen[0], "READY  http://pod:9000  up 1:01  roomcast 1.2.3");
    assert_eq!(seen[1], " 1 Pod  2 Limits  3 Fleet");
    assert!(seen[2].starts_with("┌ connections 1,003 ─") && seen[2].contains("┌ deliveries/s 300 ─"), "{seen:#?}");
    assert!(seen[7].starts_with("┌ p99 1.50 ms ─") && seen[7].contains("┌ cores 0.25 ─"), "{seen:#?}");
    // The newest stands at the right, in its full height; the oldest has no p99, and so a hole.
    let p99: Vec<char> = seen[10].chars().take(40).collect();
    assert_eq!(p99[35..].iter().collect::<String>(), "  ██│", "{seen:#?}");
    assert_eq!(seen[12], "pod          00ff, roomcast 1.2.3, up 1:01");
    assert_eq!(seen[13], "connections  1,003 of 15,000");
    assert_eq!(seen[14], "             websocket native: 1,003");
    assert!(seen[23].starts_with("q quit  ? help  p pause  Tab page  r ask now  ↑↓ scroll  ↓ "), "{seen:#?}");
}

#[test]
fn what_does_not_fit_is_counted_and_scrolled_to() {
    let mut view = view();
    let all = shown(&mut view, 60, 60).into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let last = all[all.len() - 2].clone();
    let seen = shown(&mut view, 60, 10);
    let below = seen[9].rsplit('↓').next().unwrap().trim().trim_end_matches(" more").parse::<usize>().unwrap();
    assert!(below > 0 && seen[2].starts_with("pod  ") && !seen.contains(&last), "{seen:#?}");
    press(&mut view, KeyCode::Down);
    assert!(shown(&mut view, 60, 10)[9].ends_with(&format!("↓ {} more", below - 1)));
    press(&mut view, KeyCode::End);
    let seen = shown(&mut view, 60, 10);
    assert!(seen[8] == last && !seen[9].contains("more"), "{seen:#?}");
    assert_eq!(view.scroll, below, "one key brings it back from beyond the end");
    press(&mut view, KeyCode::Up);
    assert!(shown(&mut view, 60, 10)[9].ends_with("↓ 1 more"));
}

#[test]
fn every_size_and_page_is_drawn_and_begins_with_the_state() {
    // Low screens leave lines out, the others have room to spare. A drawn screen costs a millisecond in a debug build.
    const HEIGHTS: [u16; 9] = [0, 1, 2, 3, 4, 5, 9, 16, 30];
    let mut views = [TopView::new("http://pod".to_owned()), view(), view()];
    views[2].take_status(Err("refused ".repeat(40)), Instant::now());
    for view in &mut views {
        view.take_fleet(Ok(FleetStatus::default()));
        for help in [false, true] {
            for page in Page::ALL {
                for (width, height) in (0..=8).chain([12, 26, 40, 60, 200]).flat_map(|w| HEIGHTS.map(move |h| (w, h))) {
                    (view.page, view.help, view.scroll) = (page, help, usize::MAX);
                    let seen = shown(view, width.max(1), height.max(1));
                    let first = seen[0].chars().next();
                    assert!(matches!(first, Some('R' | 'A' | 'N')), "{width} x {height}: {seen:#?}");
                }
            }
        }
    }
    // A terminal may say that it has no cells.
    assert!(drawn(&mut views[1], 0, 0, Palette::new(None), Instant::now()).content().is_empty());
}

#[test]
fn no_answer_is_said_with_its_age_and_what_happens_next() {
    let began = Instant::now();
    let mut view = TopView::new("http://pod".to_owned());
    assert!(shown(&mut view, 80, 12)[0].starts_with("ASKING  http://pod"));
    let why = || Err("http://pod: connection refused".to_owned());
    view.take_status(why(), began);
    let seen = |view: &mut TopView| {
        lines(&drawn(view, 100, 12, Palette::new(None), began + Duration::from_secs(65)))[..2].join("\n")
    };
    assert_eq!(
        seen(&mut view),
        "NO ANSWER  http://pod\nNo answer for 1:05. It is asked again every 2 s. http://pod: connection refused"
    );
    view.take_status(Ok(status()), began);
    view.take_status(why(), began);
    let text = seen(&mut view);
    assert!(text.starts_with("NO ANSWER  http://pod  up 1:01"), "{text}");
    assert!(text.contains("every 2 s; the figures are the last ones. http://pod:"), "{text}");
    press(&mut view, KeyCode::Char('p'));
    let text = seen(&mut view);
    assert!(text.starts_with("NO ANSWER PAUSED  ") && text.contains("1:05. Paused; the figures"), "{text}");
    view.take_status(Ok(status()), began);
    assert!(seen(&mut view).starts_with("READY PAUSED  http://pod"), "an answer ends it");
}

#[test]
fn limits_have_their_share_and_say_what_refuses() {
    let mut view = view();
    press(&mut view, KeyCode::Char('2'));
    let seen = shown(&mut view, 80, 12);
    assert_eq!(
        seen[2..6],
        [
            "limit                   used    most        refused",
            "connections            1,003  15,000   7 %        0",
            "memory       near     900 kB  1.0 MB  90 %        0",
            "addresses    refuses       –       –              7",
        ]
    );
    let narrow = shown(&mut view, 22, 12);
    assert_eq!(narrow[5], "addresses    refuses", "what is wrong stands before the figures");
}

#[test]
fn a_fleet_is_a_row_a_pod() {
    let mut view = view();
    press(&mut view, KeyCode::Char('3'));
    assert_eq!(shown(&mut view, 80, 12)[2], "", "it has not answered yet");
    view.take_fleet(Err("refused".to_owned()));
    assert_eq!(shown(&mut view, 80, 12)[1], "The fleet cannot be asked: refused");
    let pod = |name: &str| PodStats { pod: name.to_owned(), readiness: "ready".to_owned(), ..PodStats::default() };
    let pods = vec![pod("a"), pod("b")];
    view.take_fleet(Ok(FleetStatus { pods, silent: vec!["c".to_owned()], ..FleetStatus::default() }));
    let seen = shown(&mut view, 80, 12);
    assert!(seen[2].starts_with("pod  state") && seen[3].starts_with("a    ready"), "{seen:#?}");
    assert_eq!((seen[5].as_str(), seen[7].as_str()), ("c    no answer", "2 pods, 0 of 0 connections"));
}

#[test]
fn colours_and_weight_say_what_the_words_say() {
    let mut view = view();
    let of = |view: &mut TopView, no_color: Option<&str>| {
        drawn(view, 80, 40, Palette::new(no_color.map(OsStr::new)), Instant::now())
    };
    let buffer = of(&mut view, None);
    assert_eq!(buffer[(0, 0)].fg, Color::Green);
    let mut status = status();
    status.readiness = "overloaded".to_owned();
    status.redis = Some(RedisStatus {
        state: "degraded".to_owned(),
        masters: vec![MasterStatus { address: "r:1".to_owned(), ..MasterStatus::default() }],
        ..RedisStatus::default()
    });
    view.take_status(Ok(status), Instant::now());
    let buffer = of(&mut view, None);
    assert_eq!(buffer[(0, 0)].fg, Color::Red);
    let at = lines(&buffer).iter().position(|line| line.contains("r:1: messages do not come")).unwrap();
    assert_eq!(buffer[(13, u16::try_from(at).unwrap())].fg, Color::Red);
    let buffer = of(&mut view, Some("1"));
    assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(buffer[(0, 0)].modifier.contains(Modifier::REVERSED), "what is bad stands out without colours too");
}

#[test]
fn help_names_the_keys() {
    let mut view = view();
    press(&mut view, KeyCode::Char('?'));
    let seen = shown(&mut view, 80, 24).join("\n");
    for key in ["1 2 3, Tab", "↑ ↓, j k", "p, space", "q, Esc, ^C"] {
        assert!(seen.contains(key), "{key}: {seen}");
    }
}

#[test]
fn what_a_pod_says_cannot_move_the_cursor() {
    let mut view = view();
    let mut status = status();
    status.version = "1\u{1b}[2J\u{7}\r\n".to_owned();
    view.take_status(Ok(status), Instant::now());
    let buffer = drawn(&mut view, 80, 24, Palette::new(None), Instant::now());
    assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(char::is_control)));
}
