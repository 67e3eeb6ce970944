//! What a person at the terminal sees of a scenario that runs.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar; it draws only on a terminal.
pub(crate) fn bar(what: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{msg:>28} {wide_bar:.blue} {pos:>7}/{len} {elapsed:>4}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}
