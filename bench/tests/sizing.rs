//! docs/SIZING.md: every table behind a command is what the command prints now, and every sum is right. Nothing is measured, no pod is needed.
//! `UPDATE_SIZING=1` writes the tables anew instead of comparing them.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

const BENCHMARKS: &str = include_str!("../../docs/BENCHMARKS.md");

fn sizing() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SIZING.md");
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// What a command of the document prints.
fn printed(command: &str) -> String {
    let arguments = command.strip_prefix("$ roomcast-bench ").unwrap_or_else(|| panic!("not a command: {command}"));
    let output =
        Command::new(env!("CARGO_BIN_EXE_roomcast-bench")).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The document with the tables behind its commands as `print` has them, and how many there are.
fn with_tables(document: &str, print: impl Fn(&str) -> String) -> (String, usize) {
    let (mut out, mut tables) = (String::new(), 0);
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        out += &format!("{line}\n");
        if line != "```console" {
            continue;
        }
        let mut command = String::new();
        for line in lines.by_ref() {
            out += &format!("{line}\n");
            if line == "```" {
                break;
            }
            command += &format!("{} ", line.trim_end_matches('\\').trim());
        }
        if !command.starts_with("$ roomcast-bench size --connections")
            && command.trim() != "$ roomcast-bench size --laws"
        {
            continue;
        }
        assert_eq!(lines.next(), Some(""), "a table follows {command}");
        while lines.next_if(|line| line.starts_with('|')).is_some() {}
        out += &format!("\n{}", print(command.trim()));
        tables += 1;
    }
    (out, tables)
}

#[test]
fn every_table_is_what_its_command_prints_now() {
    let (path, document) = sizing();
    let (now, tables) = with_tables(&document, printed);
    assert!(tables >= 5, "the commands are no longer where they were: {tables}");
    if std::env::var_os("UPDATE_SIZING").is_some() {
        fs::write(path, now).unwrap();
        return;
    }
    for (said, is) in document.lines().zip(now.lines()) {
        assert_eq!(
            said, is,
            "docs/SIZING.md: UPDATE_SIZING=1 cargo test -p roomcast-bench --test sizing writes it anew"
        );
    }
    assert_eq!(document, now);
}

#[test]
fn a_table_that_differs_is_found() {
    let document =
        "a\n```console\n$ roomcast-bench size --laws\n```\n\n| 1 |\n| 2 |\n\nb\n```console\n$ other\n```\nc\n";
    let (same, tables) = with_tables(document, |_| "| 1 |\n| 2 |\n".to_owned());
    assert_eq!((same.as_str(), tables), (document, 1));
    let (other, _) = with_tables(document, |_| "| 3 |\n".to_owned());
    assert_eq!(other, document.replace("| 1 |\n| 2 |\n", "| 3 |\n"));
}

/// A sum from left to right: `25,000 × 5.3 / 1,024`.
fn calculate(terms: &str) -> f64 {
    let number = |text: &str| text.replace(',', "").parse::<f64>().unwrap_or_else(|_| panic!("no number: {text:?}"));
    let words: Vec<_> = terms.split_whitespace().collect();
    words[1..].chunks(2).fold(number(words[0]), |so_far, pair| match pair {
        ["×", next] => so_far * number(next),
        ["/", next] => so_far / number(next),
        ["+", next] => so_far + number(next),
        other => panic!("{other:?} in {terms:?}"),
    })
}

#[test]
fn every_sum_is_right() {
    let (_, document) = sizing();
    let sums: Vec<_> = document.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(" = ")).collect();
    let wrong: Vec<_> =
        sums.iter().filter(|(terms, said)| (calculate(terms) / calculate(said) - 1.0).abs() > 0.02).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(sums.len() >= 8, "{sums:?}");
}

/// The text below a heading, up to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let section = document.split("\n## ").find(|section| section.starts_with(&format!("{heading}\n")));
    section.unwrap_or_else(|| panic!("the section {heading} is no longer there"))
}

#[test]
fn what_the_continents_stand_on_is_in_the_benchmarks() {
    let (_, document) = sizing();
    let (_, continents) = document.split_once("| what | figure | where in BENCHMARKS.md |").unwrap();
    let mut figures = 0;
    for row in continents.lines().skip(2).take_while(|line| line.starts_with("| ")) {
        let [_, figure, place] = row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not three columns: {row}");
        };
        let is_of_a_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
        let known = section(BENCHMARKS, place).split(|c| !is_of_a_number(c)).map(|text| text.trim_matches(['.', ',']));
        assert!(known.into_iter().any(|number| number == figure), "{figure} is not in {place} of BENCHMARKS.md: {row}");
        figures += 1;
    }
    assert!(figures >= 3, "{figures}");
}
