//! Colours of `roomcast top`.
//!
//! Always holds: a tone is told by weight as well, and there is no colour where the environment asks for none
//! (<https://no-color.org>).

use std::ffi::OsStr;

use ratatui::style::{Color, Modifier, Style};

use crate::cli::status_lines::Tone;

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    coloured: bool,
}

impl Palette {
    /// `no_color`: the variable `NO_COLOR`; empty, it is as good as not set.
    pub fn new(no_color: Option<&OsStr>) -> Self {
        Self { coloured: no_color.is_none_or(OsStr::is_empty) }
    }

    pub fn of(self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => Style::new().add_modifier(Modifier::BOLD),
            Tone::Caution => Style::new().add_modifier(Modifier::BOLD),
            Tone::Bad => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        };
        self.coloured(
            style,
            match tone {
                Tone::Bad => Color::Red,
                Tone::Caution => Color::Yellow,
                Tone::Good | Tone::Plain => Color::Green,
            },
        )
    }

    /// What names a figure, beside which the figure stands out.
    pub fn name(self) -> Style {
        self.coloured(Style::new(), Color::Cyan)
    }

    /// A plot's bars.
    pub fn plot(self) -> Style {
        self.coloured(Style::new(), Color::Cyan)
    }

    fn coloured(self, style: Style, colour: Color) -> Style {
        if self.coloured { style.fg(colour) } else { style }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_leaves_weight_only() {
        for (variable, colours) in [(None, true), (Some(""), true), (Some("1"), false), (Some("0"), false)] {
            let palette = Palette::new(variable.map(OsStr::new));
            for tone in [Tone::Good, Tone::Caution, Tone::Bad] {
                let style = palette.of(tone);
                assert_eq!(style.fg.is_some(), colours, "{variable:?} {tone:?}");
                assert!(style.add_modifier.contains(Modifier::BOLD), "{tone:?}");
            }
            assert_eq!(palette.plot().fg.is_some(), colours);
            assert_eq!(palette.of(Tone::Plain), Style::new());
        }
    }
}
