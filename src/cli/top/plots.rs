//! The plots of `roomcast top`: the last minutes of a pod, each figure in a frame.
//!
//! Pure. Always holds: the newest moment stands at the right; a moment without a figure is a hole and no zero.

use std::collections::VecDeque;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, RenderDirection, Sparkline, SparklineBar},
};

use super::palette::Palette;
use crate::{
    cli::figures::{count, rate, span},
    model::StatusMoment,
};

/// Lines of one plot, with its frame.
const ROWS: u16 = 5;

/// A plot narrower than this says nothing.
const NARROWEST: u16 = 26;

/// Lines that the figures below must keep.
const FIGURES: u16 = 11;

/// What is plotted.
const PLOTS: [PlottedFigure; 4] = [
    PlottedFigure {
        name: "connections",
        of: |moment| Some(moment.connections as f64),
        say: |value| count(value as u64),
    },
    PlottedFigure { name: "deliveries/s", of: |moment| Some(moment.deliveries), say: rate },
    PlottedFigure { name: "p99", of: |moment| moment.p99_ms, say: |value| span(Some(value)) },
    PlottedFigure { name: "cores", of: |moment| Some(moment.cores), say: |value| format!("{value:.2}") },
];

struct PlottedFigure {
    name: &'static str,
    of: fn(&StatusMoment) -> Option<f64>,
    say: fn(f64) -> String,
}

/// Plots in a row, for a width.
fn in_a_row(width: u16) -> u16 {
    match width / NARROWEST {
        0 | 1 => 1,
        2 | 3 => 2,
        _ => 4,
    }
}

/// The lines that the plots take of an area; none, where they would leave too few for the figures.
pub(super) fn plot_rows(area: Rect) -> u16 {
    if area.width < NARROWEST {
        return 0;
    }
    let most = 4 / in_a_row(area.width);
    (area.height.saturating_sub(FIGURES) / ROWS).min(most) * ROWS
}

/// Draws as many as there is room for.
pub(super) fn draw_plots(frame: &mut Frame<'_>, moments: &VecDeque<StatusMoment>, palette: Palette, area: Rect) {
    let columns = in_a_row(area.width);
    let width = area.width / columns;
    for (at, plot) in (0u16..).zip(PLOTS.iter()) {
        let (column, row) = (at % columns, at / columns);
        if (row + 1) * ROWS > area.height {
            break;
        }
        let place = Rect { x: area.x + column * width, y: area.y + row * ROWS, width, height: ROWS };
        draw_plot(frame, plot, moments, palette, place);
    }
}

// A plot's figures are not negative and far below 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn draw_plot(
    frame: &mut Frame<'_>,
    plot: &PlottedFigure,
    moments: &VecDeque<StatusMoment>,
    palette: Palette,
    area: Rect,
) {
    // The newest first, because it is drawn from the right. A thousandth is the least that is seen.
    let figures = moments.iter().rev().map(|moment| (plot.of)(moment));
    let bars = figures.map(|figure| SparklineBar::from(figure.map(|figure| (figure.max(0.0) * 1_000.0) as u64)));
    let newest = moments.back().and_then(|moment| (plot.of)(moment));
    let title = Line::from(vec![
        Span::styled(format!(" {} ", plot.name), palette.name()),
        Span::raw(newest.map_or_else(|| "– ".to_owned(), |figure| format!("{} ", (plot.say)(figure)))),
    ]);
    let widget = Sparkline::default()
        .block(Block::bordered().title(title))
        .direction(RenderDirection::RightToLeft)
        .style(palette.plot())
        .data(bars.collect::<Vec<_>>());
    frame.render_widget(widget, area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_leave_room_for_the_figures() {
        for (width, height, rows) in [
            (80, 24, 2 * ROWS),
            (80, 20, ROWS),
            (80, 15, 0),
            (120, 24, ROWS),
            (40, 40, 4 * ROWS),
            (40, 18, ROWS),
            (20, 40, 0),
            (0, 0, 0),
        ] {
            assert_eq!(plot_rows(Rect::new(0, 0, width, height)), rows, "{width} x {height}");
        }
    }
}
