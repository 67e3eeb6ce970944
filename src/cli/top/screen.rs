//! The terminal of `roomcast top`: taken when it opens, given back however it ends.
//!
//! Always holds: raw mode and the second screen end with the value, by a return as by a panic, whose message comes after them. (A signal
//! is an event of the loop, so that it is a return.)

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use tokio::sync::mpsc::Sender;

use super::{draw::draw, palette::Palette, view::TopView};

/// What the loop of the command hears of.
pub(super) enum Happened {
    Typed(Event),
    Signal(u8),
    /// No key comes any more.
    Gone,
}

/// A terminal that is drawn on.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    palette: Palette,
}

impl Screen {
    /// Takes the terminal that the standard output is.
    ///
    /// # Errors
    /// There is none, or it cannot be drawn on: in a sentence.
    pub fn open() -> Result<Self, String> {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err("roomcast top needs a terminal to draw on; roomcast stats prints the same once".to_owned());
        }
        let palette = Palette::new(std::env::var_os("NO_COLOR").as_deref());
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal, palette }),
            Err(error) => {
                give_back();
                Err(format!("the terminal cannot be drawn on: {error}"))
            }
        }
    }

    /// Draws what is shown now.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, view: &mut TopView, now: Instant, every: Duration) -> io::Result<()> {
        let palette = self.palette;
        self.terminal.draw(|frame| draw(frame, view, palette, now, every)).map(|_| ())
    }

    /// Tells of each key and each new size, from a thread of its own: reading a terminal cannot wait politely. It ends with the program.
    pub fn listen(&self, happened: Sender<Happened>) {
        std::thread::spawn(move || {
            while let Ok(event) = event::read() {
                if happened.blocking_send(Happened::Typed(event)).is_err() {
                    return;
                }
            }
            let _ = happened.blocking_send(Happened::Gone);
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        // The hook of a panic gave it back before its message, which a second time would put the cursor upon.
        if !std::thread::panicking() {
            give_back();
        }
    }
}

/// A terminal that is gone cannot be given back, and needs not to be.
fn give_back() {
    let _ = ratatui::try_restore();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use testkit::terminal::PseudoTerminal;

    use super::*;

    /// Set where the test below runs itself in a terminal.
    const DRAWS: &str = "ROOMCAST_TEST_DRAWS";

    fn panic_while_it_draws() -> ! {
        let mut screen = Screen::open().unwrap();
        let mut view = TopView::new("http://pod".to_owned());
        screen.draw(&mut view, Instant::now(), Duration::from_secs(2)).unwrap();
        panic!("planted: the drawing is broken");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_before_its_message() {
        if std::env::var_os(DRAWS).is_some() {
            panic_while_it_draws();
        }
        let terminal = PseudoTerminal::new(80, 24);
        let before = terminal.modes();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let this = "cli::top::screen::tests::a_panic_gives_the_terminal_back_before_its_message";
        command.args(["--exact", this, "--nocapture"]);
        command.env("TERM", "xterm").env(DRAWS, "1");
        let mut child = terminal.spawn(command);
        terminal.wait_for("planted: the drawing is broken");
        assert!(!child.wait().unwrap().success());
        let text = terminal.text();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what:?} in {text:?}"));
        let (taken, drawn, given) = (at("\u{1b}[?1049h"), at("ASKING"), at("\u{1b}[?1049l"));
        assert!(taken < drawn && drawn < given && given < at("planted:"), "{text:?}");
        assert_eq!(terminal.modes(), before, "raw mode ends");
    }
}
