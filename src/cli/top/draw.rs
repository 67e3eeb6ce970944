//! Draws what `roomcast top` shows, on a screen of any size.
//!
//! Pure: from a view and the time to cells. Always holds: the state, or that there is no answer, stands in the first cells of the first
//! line; what does not fit below is reached by scrolling, and how much that is is said.

use std::time::{Duration, Instant};

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{
    palette::Palette,
    plots::{draw_plots, plot_rows},
    view::{Page, TopView},
};
use crate::cli::{
    figures::{bytes, clock, count},
    fleet_rows::{aligned, fleet_rows, fleet_sum},
    status_lines::{StatusLine, Tone, readiness_tone, status_lines},
};
use crate::model::{LimitStatus, PodStatus};

/// The most lines that say why there is no answer.
const MOST_NOTICE: u16 = 3;

const HELP: [&str; 10] = [
    "1 2 3, Tab     pages: the pod, its limits, its fleet",
    "↑ ↓, j k       scroll; PageUp, PageDown, Home, End",
    "p, space       pause, and go on",
    "r              ask now",
    "?, h           this help",
    "q, Esc, ^C     quit",
    "",
    "The pod is asked every 2 s, its fleet every 5 s while that page is shown.",
    "Plots are the last five minutes, the newest at the right.",
    "What each figure means: docs/OPERATIONS.md, \"Looking at a pod\".",
];

/// Draws all of it. `every`: the time between two questions.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut TopView, palette: Palette, now: Instant, every: Duration) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let notice = notice(view, now, every).map(|text| Paragraph::new(text).wrap(Wrap { trim: true }));
    let notice_rows = if notice.is_some() && area.height > 2 { MOST_NOTICE.min(area.height - 2) } else { 0 };
    let [head, middle, tabs, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(notice_rows),
        Constraint::Length(u16::from(area.height >= 8)),
        Constraint::Min(0),
        Constraint::Length(u16::from(area.height >= 5)),
    ])
    .areas(area);
    frame.render_widget(headline(view, palette), head);
    if let Some(notice) = notice {
        frame.render_widget(notice.style(palette.of(Tone::Caution)), middle);
    }
    frame.render_widget(page_names(view.page), tabs);
    let below = draw_body(frame, view, palette, body);
    frame.render_widget(footer(view, below, foot.width), foot);
}

/// The state and which pod this is. On a narrow screen the end of it is cut off.
fn headline(view: &TopView, palette: Palette) -> Line<'static> {
    let (word, tone) = match (&view.outage, &view.status) {
        (Some(_), _) => ("NO ANSWER".to_owned(), Tone::Bad),
        (None, None) => ("ASKING".to_owned(), Tone::Caution),
        (None, Some(status)) => (status.readiness.to_uppercase(), readiness_tone(&status.readiness)),
    };
    let mut spans = vec![Span::styled(word, palette.of(tone))];
    if view.paused {
        spans.push(Span::raw(" "));
        spans.push(Span::styled("PAUSED", palette.of(Tone::Caution)));
    }
    if let Some(status) = view.status.as_ref().filter(|status| view.outage.is_none() && !status.degraded.is_empty()) {
        spans.push(Span::raw(format!("  {}", status.degraded.join(", "))));
    }
    spans.push(Span::raw(format!("  {}", view.url)));
    if let Some(status) = &view.status {
        spans.push(Span::raw(format!("  up {}  roomcast {}", clock(status.uptime_ms), status.version)));
    }
    Line::from(spans)
}

/// What is wrong with the asking itself.
fn notice(view: &TopView, now: Instant, every: Duration) -> Option<String> {
    if let Some(outage) = &view.outage {
        let lasts = clock(u64::try_from(outage.lasts(now).as_millis()).unwrap_or(u64::MAX));
        let (again, old) =
            (every.as_secs(), if view.status.is_some() { "; the figures are the last ones" } else { "" });
        let trying = if view.paused { "Paused".to_owned() } else { format!("It is asked again every {again} s") };
        return Some(format!("No answer for {lasts}. {trying}{old}. {}", outage.why));
    }
    let why = view.fleet_error.as_ref().filter(|_| view.page == Page::Fleet)?;
    Some(format!("The fleet cannot be asked: {why}"))
}

fn page_names(shown: Page) -> Line<'static> {
    let mut spans = Vec::new();
    for (at, page) in Page::ALL.into_iter().enumerate() {
        let style = if page == shown { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {} {} ", at + 1, page.name()), style));
    }
    Line::from(spans)
}

/// Draws the page, and says how many of its lines are below what is shown.
fn draw_body(frame: &mut Frame<'_>, view: &mut TopView, palette: Palette, area: Rect) -> usize {
    if view.help {
        return draw_lines(frame, &mut view.scroll, None, HELP.map(Line::raw).into(), area);
    }
    let lines = match (view.page, &view.status, &view.fleet) {
        (Page::Pod, Some(status), _) => {
            let lines = pod_lines(status, view, palette);
            let plots = plot_rows(area);
            let [above, below] = Layout::vertical([Constraint::Length(plots), Constraint::Min(0)]).areas(area);
            draw_plots(frame, &view.moments, palette, above);
            return draw_lines(frame, &mut view.scroll, None, lines, below);
        }
        (Page::Limits, Some(status), _) => limit_lines(&status.limits, palette),
        (Page::Fleet, _, Some(fleet)) => {
            let rows = fleet_rows(fleet).into_iter().map(Line::raw);
            rows.chain([Line::raw(""), Line::raw(fleet_sum(fleet))]).collect()
        }
        // What is missing is on its way, or the notice says why not.
        _ => return 0,
    };
    let mut lines = lines.into_iter();
    let head = lines.next().map(|line| line.style(palette.name()));
    draw_lines(frame, &mut view.scroll, head, lines.collect(), area)
}

/// Draws the lines that fit, below a head that stays, and says how many are below.
fn draw_lines(
    frame: &mut Frame<'_>,
    scroll: &mut usize,
    head: Option<Line<'_>>,
    lines: Vec<Line<'_>>,
    area: Rect,
) -> usize {
    let heads = u16::from(head.is_some());
    let [top, rest] = Layout::vertical([Constraint::Length(heads), Constraint::Min(0)]).areas(area);
    if let Some(head) = head {
        frame.render_widget(head, top);
    }
    let room = usize::from(rest.height);
    let hidden = lines.len().saturating_sub(room);
    *scroll = hidden.min(*scroll);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(*scroll).take(room).collect();
    frame.render_widget(Paragraph::new(shown), rest);
    hidden - *scroll
}

fn pod_lines(status: &PodStatus, view: &TopView, palette: Palette) -> Vec<Line<'static>> {
    let newest = PodStatus { moments: view.moments.back().copied().into_iter().collect(), ..status.clone() };
    let line = |StatusLine { subject, text, tone }| {
        Line::from(vec![
            Span::styled(format!("{subject:<12} "), palette.name()),
            Span::styled(text, palette.of(if tone == Tone::Good { Tone::Plain } else { tone })),
        ])
    };
    // The head has the state and the pod's age, and the page of limits has all of them.
    status_lines(&newest).into_iter().filter(|line| line.subject != "state").map(line).collect()
}

/// Every limit, its name first; the line before them names the columns.
fn limit_lines(limits: &[LimitStatus], palette: Palette) -> Vec<Line<'static>> {
    let figure = |limit: &LimitStatus, number: Option<u64>| match number {
        None => "–".to_owned(),
        Some(number) if matches!(limit.name.as_str(), "memory" | "process_memory") => bytes(number as f64),
        Some(number) => count(number),
    };
    let share = |limit: &LimitStatus| limit.used.zip(limit.limit).map(|(used, most)| used as f64 / most.max(1) as f64);
    let mut rows = vec![["limit", "", "used", "most", "", "refused"].map(str::to_owned).to_vec()];
    for limit in limits {
        let now = match share(limit) {
            _ if limit.bites => "refuses",
            Some(share) if share >= 0.8 => "near",
            _ => "",
        };
        rows.push(vec![
            limit.name.clone(),
            now.to_owned(),
            figure(limit, limit.used),
            figure(limit, limit.limit),
            share(limit).map_or_else(String::new, |share| format!("{:.0} %", share * 100.0)),
            count(limit.refused),
        ]);
    }
    let lines = aligned(&rows, &[false, false, true, true, true, true]).into_iter().enumerate();
    let tone = |row: usize| match row.checked_sub(1).and_then(|at| limits.get(at)) {
        Some(limit) if limit.bites => Tone::Bad,
        Some(limit) if share(limit).is_some_and(|share| share >= 0.8) => Tone::Caution,
        _ => Tone::Plain,
    };
    lines.map(|(row, line)| Line::styled(line, palette.of(tone(row)))).collect()
}

/// The keys, as many as there is room for, and what is below.
fn footer(view: &TopView, below: usize, width: u16) -> Line<'static> {
    let mut text = String::new();
    let pause = if view.paused { "p go on" } else { "p pause" };
    let more = if below > 0 { format!("↓ {below} more") } else { String::new() };
    let most = usize::from(width).saturating_sub(more.chars().count() + 2);
    for key in ["q quit", "? help", pause, "Tab page", "r ask now", "↑↓ scroll"] {
        if text.chars().count() + key.chars().count() + 2 > most {
            break;
        }
        text.push_str(key);
        text.push_str("  ");
    }
    Line::from(vec![Span::styled(text, Style::new().add_modifier(Modifier::DIM)), Span::raw(more)])
}

#[cfg(test)]
mod tests;
