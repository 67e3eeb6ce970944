//! `docs/GLOSSARY.md`: every term of its tables is in use, once, and has a meaning.

use std::{collections::BTreeSet, fs, path::Path};

use super::house::sources;

const GLOSSARY: &str = include_str!("../../docs/GLOSSARY.md");

/// The rows of the tables: term and meaning.
fn rows(glossary: &str) -> Vec<(&str, &str)> {
    glossary
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .filter(|(term, _)| !matches!(*term, "term" | "---"))
        .collect()
}

/// Lower case, with one space for any white space and punctuation of Rust names: `SendQueue` and `send_queue` are "send queue".
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut before = ' ';
    for c in text.chars() {
        if c.is_alphanumeric() || c == '.' || c == '-' {
            if c.is_uppercase() && before.is_lowercase() && before.is_alphanumeric() {
                out.push(' ');
            }
            out.extend(c.to_lowercase());
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
        before = c;
    }
    out
}

fn missing<'a>(rows: &[(&'a str, &str)], text: &str) -> Vec<&'a str> {
    let text = plain(text);
    rows.iter().map(|(term, _)| *term).filter(|term| !text.contains(&format!(" {}", plain(term)))).collect()
}

#[test]
fn every_term_is_in_use() {
    let rows = rows(GLOSSARY);
    assert!(rows.len() >= 60, "{} terms: the walk does not see the tables", rows.len());
    let mut text: String = sources().into_iter().map(|source| source.text).collect();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "md") && !path.ends_with("GLOSSARY.md") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    assert_eq!(missing(&rows, &text), Vec::<&str>::new(), "terms that no source and no other document uses");
    let mut seen = BTreeSet::new();
    for (term, meaning) in &rows {
        assert!(seen.insert(*term), "`{term}` has two meanings");
        assert!(meaning.len() > 15 && meaning.ends_with(['.', ')']), "`{term}`: {meaning}");
    }
}

#[test]
fn a_term_that_nothing_uses_is_found() {
    let rows = rows("| term | meaning |\n| --- | --- |\n| send queue | x |\n| flush boundary | x |\n| lane | x |\n");
    assert_eq!(rows.len(), 3);
    assert_eq!(missing(&rows, "struct SendQueue; // at a flush\n boundary, in planes"), ["lane"]);
}
