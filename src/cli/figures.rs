//! Numbers as people read them in a terminal.
//!
//! Pure. Always holds: a figure is never longer than its column needs, and its unit stands beside it.

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 room`, `1,200 rooms`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `1.4 MB`, in powers of 1,000.
pub(super) fn bytes(number: f64) -> String {
    let (mut number, mut unit) = (number, 0);
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    while number >= 999.5 && unit + 1 < UNITS.len() {
        number /= 1_000.0;
        unit += 1;
    }
    let digits = if unit == 0 || number >= 100.0 { 0 } else { 1 };
    format!("{number:.digits$} {}", UNITS[unit])
}

/// A rate a second: few with a digit behind the point.
// Rates are not negative and far below 2^63.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn rate(number: f64) -> String {
    if number > 0.0 && number < 10.0 { format!("{number:.1}") } else { count(number.round().max(0.0) as u64) }
}

/// `0.84 ms`, `12.3 ms`, `1.2 s`; a dash for none.
pub(super) fn span(ms: Option<f64>) -> String {
    match ms {
        None => "–".to_owned(),
        Some(ms) if ms < 9.995 => format!("{ms:.2} ms"),
        Some(ms) if ms < 999.5 => format!("{ms:.1} ms"),
        Some(ms) => format!("{:.1} s", ms / 1_000.0),
    }
}

/// `4:07`, `1:02:45`, `3 d 1:02:45`.
pub(super) fn clock(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{seconds:02}"),
        (0, _) => format!("{hours}:{minutes:02}:{seconds:02}"),
        _ => format!("{days} d {hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_at_a_glance() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 999.4, 999.6, 1_500_000.0, 123e9].map(bytes), ["0 B", "999 B", "1.0 kB", "1.5 MB", "123 GB"]);
        assert_eq!([0.0, 0.25, 12.6, 1_000.0].map(rate), ["0", "0.2", "13", "1,000"]);
        assert_eq!([None, Some(0.5), Some(12.34), Some(1_500.0)].map(span), ["–", "0.50 ms", "12.3 ms", "1.5 s"]);
        assert_eq!([7_000, 3_723_000, 90_061_000].map(clock), ["0:07", "1:02:03", "1 d 1:01:01"]);
    }
}
