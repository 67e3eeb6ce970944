//! The report of a run: JSON for machines, a Markdown row for `docs/BENCHMARKS.md`, and a plot.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::Serialize;

use crate::{
    arguments::OutputArgs,
    error::{BenchError, Doing as _},
    plot::Plot,
    process::Machine,
    stats::Spread,
};

/// A Markdown table: one row, and those below it.
#[derive(Debug, Default)]
pub(crate) struct Row {
    cells: Vec<(String, String)>,
    below: Vec<Self>,
}

impl Row {
    /// Adds a column.
    pub(crate) fn cell(mut self, head: &str, value: impl Into<String>) -> Self {
        self.cells.push((head.to_owned(), value.into()));
        self
    }

    /// Adds a row with the same columns below.
    pub(crate) fn above(mut self, row: Self) -> Self {
        self.below.push(row);
        self
    }

    /// As a table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |values: Vec<&str>| format!("| {} |\n", values.join(" | "));
        let values = |row: &Self| line(row.cells.iter().map(|(_, value)| value.as_str()).collect());
        line(self.cells.iter().map(|(head, _)| head.as_str()).collect())
            + &line(self.cells.iter().map(|_| "---").collect())
            + &values(self)
            + &self.below.iter().map(values).collect::<String>()
    }
}

#[derive(Serialize)]
struct Whole<'a, R> {
    scenario: &'a str,
    unix_time: u64,
    version: &'a str,
    command: String,
    machine: Machine,
    release_build: bool,
    result: &'a R,
}

/// Writes the result and the plot, prints the row and where everything is.
pub(crate) fn write<R: Serialize>(
    scenario: &str,
    output: &OutputArgs,
    result: &R,
    row: &Row,
    plot: &Plot,
) -> Result<(), BenchError> {
    let whole = Whole {
        scenario,
        unix_time: UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
        version: env!("CARGO_PKG_VERSION"),
        command: command(),
        machine: Machine::this(),
        release_build: !cfg!(debug_assertions),
        result,
    };
    let json = output.json.clone().unwrap_or_else(|| output.out.join(format!("{scenario}.json")));
    let svg = output.svg.clone().unwrap_or_else(|| output.out.join(format!("{scenario}.svg")));
    let text = serde_json::to_string_pretty(&whole)
        .map_err(|e| BenchError::Protocol(format!("the result cannot be written as JSON: {e}")))?;
    save(&json, &(text + "\n"))?;
    save(&svg, &plot.svg()?)?;
    println!("\n{}", row.markdown());
    println!("result: {}\nplot:   {}", json.display(), svg.display());
    if cfg!(debug_assertions) {
        println!("THIS IS A DEBUG BUILD: the figures mean nothing (cargo run --release -p roomcast-bench).");
    }
    Ok(())
}

/// Prints the number that stands at a JSON pointer in a result.
pub(crate) fn print_figure(result: &Path, pointer: &str) -> Result<(), BenchError> {
    let text = fs::read_to_string(result).doing(|| format!("reading {}", result.display()))?;
    let figure = figure(&text, pointer)
        .ok_or_else(|| BenchError::Usage(format!("{} has no number at {pointer}", result.display())))?;
    println!("{figure}");
    Ok(())
}

/// The number at a JSON pointer.
pub(crate) fn figure(text: &str, pointer: &str) -> Option<f64> {
    serde_json::from_str::<serde_json::Value>(text).ok()?.pointer(pointer)?.as_f64()
}

/// Fails a run, whose report is written, that misses a bar. A debug build only says so: its figures mean nothing.
pub(crate) fn judge(kept: bool, what: impl FnOnce() -> String) -> Result<(), BenchError> {
    if kept {
        return Ok(());
    }
    let missed = BenchError::Missed(what());
    if cfg!(debug_assertions) {
        println!("{missed} (in a debug build)");
        return Ok(());
    }
    Err(missed)
}

fn save(path: &Path, text: &str) -> Result<(), BenchError> {
    let doing = || format!("writing {}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).doing(doing)?;
    }
    fs::write(path, text).doing(doing)
}

/// The arguments of this run, without the program's path.
fn command() -> String {
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}

/// The directory for results, made if it is missing.
pub(crate) fn directory(output: &OutputArgs) -> Result<PathBuf, BenchError> {
    fs::create_dir_all(&output.out)
        .doing(|| format!("making the directory {} (choose another with --out)", output.out.display()))?;
    Ok(output.out.clone())
}

/// A directory in there for what is one server's, made if it is missing.
pub(crate) fn directory_in(out: &Path, name: &str) -> Result<PathBuf, BenchError> {
    let directory = out.join(name);
    fs::create_dir_all(&directory).doing(|| format!("making the directory {}", directory.display()))?;
    Ok(directory)
}

/// `12.3 (11.9 to 13.0)`.
pub(crate) fn spread(spread: &Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
}

/// A number with commas.
pub(crate) fn thousands(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_commas() {
        assert_eq!(thousands(0u64), "0");
        assert_eq!(thousands(999u64), "999");
        assert_eq!(thousands(15_000u64), "15,000");
        assert_eq!(thousands(1_234_567u64), "1,234,567");
    }

    #[test]
    fn a_figure_is_found_by_its_pointer() {
        let text = r#"{"result":{"cases":[{"cpu":{"median":1}},{"cpu":{"median":2.5}}]}}"#;
        assert_eq!(figure(text, "/result/cases/1/cpu/median"), Some(2.5));
        assert_eq!(figure(text, "/result/cases/0/cpu/median"), Some(1.0));
        for none in ["/result/cases/2/cpu/median", "/result/cases", "result"] {
            assert_eq!(figure(text, none), None, "{none}");
        }
        assert_eq!(figure("no JSON", "/result"), None);
    }

    #[test]
    fn a_row_is_a_markdown_table() {
        let row = Row::default().cell("a", "1").cell("b", "2");
        assert_eq!(row.markdown(), "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
        let row = row.above(Row::default().cell("a", "3").cell("b", "4"));
        assert_eq!(row.markdown(), "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n");
    }
}
