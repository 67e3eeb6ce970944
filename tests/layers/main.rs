//! The layers of `src/`: a module imports only from its own row or below. Walks every path that starts at `crate`,
//! `roomcast` or climbs there with `super`, in code, macros and tests alike; comments and strings do not count.
//! A customer's settings (`compat/*/settings.rs`) count as configuration, because `config/customers.rs` lists them; everything else of
//! `compat` stands above the API. `circles`, `customers`, `methods`, `sizes`, `words` and `glossary` hold the rest of the house's rules.
#![allow(clippy::unwrap_used, missing_docs)]

mod circles;
mod customers;
mod glossary;
mod house;
mod methods;
mod sizes;
mod words;

use std::{fmt, fs, path::Path};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rows, lowest first. `lib.rs`, `testing.rs`, `main.rs` and `bin/` stand above them all.
const ROWS: [&[&str]; 7] = [
    &["model", "dialect", "config", "metrics", CUSTOMER_SETTINGS],
    &["protocol", "transport", "broker", "auth", "hooks", "archive", "traces"],
    &["hub", "session"],
    &["api"],
    &["compat"],
    &["pod"],
    &["main", "cli", "serve"],
];

/// What `compat/*/settings.rs` counts as.
const CUSTOMER_SETTINGS: &str = "compat::settings";

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// What a path names directly below the crate's root.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Module(String),
    /// `crate::*` or a renamed `crate`: everything at once, so that no row can be told.
    Everything,
}

/// A path from one top-level module to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    to: Target,
    line: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Climbs { file: String, line: usize, from: String, to: String },
    Everything { file: String, line: usize },
    Unknown { file: String, module: String },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Climbs { file, line, from, to } => write!(
                f,
                "{file}:{line}: `{from}` imports `{to}`, which is in a higher layer. Move what both need into a row \
                 that both may see, or hand it down as a trait or a value."
            ),
            Self::Everything { file, line } => {
                write!(f, "{file}:{line}: names the whole crate. Name the module, so that its layer can be checked.")
            }
            Self::Unknown { file, module } => write!(
                f,
                "{file}: the top-level module `{module}` has no layer. Give it a row in tests/layers/main.rs, or a home \
                 inside a module that has one."
            ),
        }
    }
}

/// The edges of one file, whose module lies `depth` below the crate's root.
fn edges(source: &str, depth: usize) -> Vec<Edge> {
    let tokens: TokenStream = source.parse().expect("Rust source that lexes");
    let mut found = Vec::new();
    walk(tokens, depth, &mut found);
    found
}

/// `depth` is how many `super` lead from here to the crate's root.
fn walk(tokens: TokenStream, depth: usize, found: &mut Vec<Edge>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                // `mod name { … }` is one module deeper.
                if *word == "mod"
                    && let Some(TokenTree::Group(body)) = tokens.get(at + 2)
                    && body.delimiter() == Delimiter::Brace
                {
                    walk(body.stream(), depth + 1, found);
                    at += 3;
                    continue;
                }
                let continues_a_path = at >= 3 && is_separator(&tokens[at - 2..at]) && is_ident(&tokens[at - 3]);
                if !continues_a_path && let Some(after) = root_ends(&tokens[at..], depth) {
                    targets(&tokens[at + after..], line, found);
                } else if *word == "crate" && tokens.get(at + 1).is_some_and(|next| is_word(next, "as")) {
                    found.push(Edge { to: Target::Everything, line });
                }
            }
            TokenTree::Group(group) => walk(group.stream(), depth, found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// If the tokens begin with a path to the crate's root and a separator, where the rest of the path begins.
fn root_ends(tokens: &[TokenTree], depth: usize) -> Option<usize> {
    let mut supers = 0;
    let mut at = 0;
    loop {
        let word = tokens.get(at)?;
        if !is_separator(tokens.get(at + 1..at + 3)?) {
            return None;
        }
        at += 3;
        if is_word(word, "crate") || is_word(word, "roomcast") {
            return Some(at);
        }
        if is_word(word, "super") {
            supers += 1;
        } else if !(is_word(word, "self") && supers == 0) {
            return None;
        }
        if supers == depth && supers > 0 {
            return Some(at);
        }
    }
}

/// The first word after the root: one, or one in each branch of `{a::b, c}`.
fn targets(rest: &[TokenTree], line: usize, found: &mut Vec<Edge>) {
    match rest.first() {
        Some(TokenTree::Ident(name)) if *name == "self" => found.push(Edge { to: Target::Everything, line }),
        Some(TokenTree::Ident(_)) if names_customer_settings(rest) => {
            found.push(Edge { to: Target::Module(CUSTOMER_SETTINGS.to_owned()), line });
        }
        Some(TokenTree::Ident(name)) => found.push(Edge { to: Target::Module(name.to_string()), line }),
        Some(TokenTree::Punct(_)) => found.push(Edge { to: Target::Everything, line }),
        Some(TokenTree::Group(group)) => {
            let branches: Vec<TokenTree> = group.stream().into_iter().collect();
            for branch in branches.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ',')) {
                let line = branch.first().map_or(line, |token| token.span().start().line);
                targets(branch, line, found);
            }
        }
        Some(TokenTree::Literal(_)) | None => {}
    }
}

/// Whether a path is `compat::…::settings`, written out.
fn names_customer_settings(rest: &[TokenTree]) -> bool {
    matches!(rest, [compat, a, b, customer, c, d, settings, ..]
        if is_word(compat, "compat") && is_separator(&[a.clone(), b.clone()]) && is_ident(customer)
            && is_separator(&[c.clone(), d.clone()]) && is_word(settings, "settings"))
}

fn is_ident(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(_))
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if *ident == word)
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b)] if a.as_char() == ':' && b.as_char() == ':')
}

/// The faults of one file; `file` is its path below `src/`, with `/` between folders.
fn faults(file: &str, source: &str) -> Vec<Fault> {
    let path = module_path(file);
    // `lib.rs` declares every module, `testing.rs` re-exports what tests use of any; the binaries are built on all of them.
    if matches!(path[..], ["lib"] | ["testing"] | ["main"] | ["bin", ..]) {
        return Vec::new();
    }
    let own = match path[..] {
        ["compat", _, "settings"] => CUSTOMER_SETTINGS,
        _ => path[0],
    };
    let own = own.to_owned();
    let Some(ours) = row(&own) else { return vec![Fault::Unknown { file: file.to_owned(), module: own }] };
    let mut faults = Vec::new();
    for Edge { to, line } in edges(source, path.len()) {
        let (file, from) = (file.to_owned(), own.clone());
        match to {
            Target::Everything => faults.push(Fault::Everything { file, line }),
            Target::Module(to) => match row(&to) {
                None => faults.push(Fault::Unknown { file, module: to }),
                Some(theirs) if theirs > ours => faults.push(Fault::Climbs { file, line, from, to }),
                Some(_) => {}
            },
        }
    }
    faults
}

/// `["transport", "tls"]` for `transport/tls.rs`, `["transport"]` for `transport/mod.rs`.
fn module_path(file: &str) -> Vec<&str> {
    let mut path: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if path.len() > 1 && path.last() == Some(&"mod") {
        path.pop();
    }
    path
}

/// Every file below `dir`, relative to `src/`.
fn sources(dir: &Path, below: &str, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).expect("a folder that can be read") {
        let entry = entry.expect("an entry that can be read");
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            sources(&entry.path(), &format!("{name}/"), out);
        } else if name.ends_with(".rs") {
            out.push((name, fs::read_to_string(entry.path()).expect("a file that can be read")));
        }
    }
}

#[test]
fn no_import_climbs() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let edges: usize = files.iter().map(|(file, source)| edges(source, module_path(file).len()).len()).sum();
    assert!(files.len() >= 10 && edges >= 3, "{} files and {edges} edges: the walk does not see src/", files.len());
    let faults: Vec<String> =
        files.iter().flat_map(|(file, source)| faults(file, source)).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[cfg(test)]
mod planted {
    use super::*;

    fn climbs(file: &str, line: usize, from: &str, to: &str) -> Vec<Fault> {
        vec![Fault::Climbs { file: file.into(), line, from: from.into(), to: to.into() }]
    }

    #[test]
    fn a_climbing_use_is_found() {
        let source = "//! A room.\nuse std::sync::Arc;\nuse crate::pod::Pod;\n";
        assert_eq!(faults("model/room.rs", source), climbs("model/room.rs", 3, "model", "pod"));
        assert_eq!(faults("broker/mod.rs", source), climbs("broker/mod.rs", 3, "broker", "pod"));
        assert_eq!(faults("api/mod.rs", source), climbs("api/mod.rs", 3, "api", "pod"));
        assert_eq!(faults("serve.rs", source), []);
        assert_eq!(faults("main.rs", source), []);
    }

    #[test]
    fn groups_are_walked_branch_by_branch() {
        let source = "use crate::{\n    model::{Room, Event},\n    hub::{self, Hub},\n};\n";
        assert_eq!(faults("protocol/native.rs", source), climbs("protocol/native.rs", 3, "protocol", "hub"));
        assert_eq!(faults("session/mod.rs", source), []);
    }

    #[test]
    fn paths_without_use_count_in_bodies_macros_and_tests() {
        for source in [
            "fn f() { crate::api::serve() }",
            "fn f() { println!(\"{}\", crate::api::NAME) }",
            "type T = Vec<crate::api::T>;",
            "#[cfg(test)] mod tests { use crate::api::T; }",
            "macro_rules! m { () => { $crate::api::f() } }",
            "fn f() { ::roomcast::api::serve() }",
            "fn f() { super::api::serve() }",
            "mod inner { use super::super::api; }",
            "mod inner { use self::super::super::api; }",
        ] {
            assert_eq!(faults("hub.rs", source), climbs("hub.rs", 1, "hub", "api"), "{source}");
        }
        assert_eq!(faults("hub/room.rs", "use super::super::api;"), climbs("hub/room.rs", 1, "hub", "api"));
    }

    #[test]
    fn what_stays_inside_or_below_passes() {
        for source in [
            "/// See [`crate::pod`] and `crate::api`.\n// use crate::pod;\nfn f() {}",
            "const HELP: &str = \"use crate::pod;\";",
            "pub(crate) fn f() {}\npub(in crate::hub) fn g() {}",
            "use super::api;", // hub::api
            "use crate::{hub::api, session::pod, model::Room};",
            "use other::crate_name::pod; use pod::crates;",
            "use roomcast_certs::pod::Pod;",
        ] {
            assert_eq!(faults("hub/room.rs", source), [], "{source}");
        }
    }

    #[test]
    fn the_whole_crate_is_no_import() {
        for source in ["use crate::*;", "use crate::{self as c};", "use crate as c;", "use crate::{model::Room, *};"] {
            assert_eq!(faults("hub.rs", source), [Fault::Everything { file: "hub.rs".into(), line: 1 }], "{source}");
        }
    }

    #[test]
    fn of_a_customer_the_configuration_sees_the_settings_only() {
        let settings = "type T = crate::compat::shop::settings::T; use crate::compat::shop::settings::T;";
        assert_eq!(faults("config/customers.rs", settings), []);
        assert_eq!(faults("compat/shop/settings.rs", "use crate::config::section::section;"), []);
        assert_eq!(faults("pod/mod.rs", "use crate::compat::Extensions;"), []);
        for source in ["use crate::compat::shop::Shop;", "use crate::compat::{shop::settings::T};"] {
            assert_eq!(faults("config/mod.rs", source), climbs("config/mod.rs", 1, "config", "compat"), "{source}");
            assert_eq!(faults("api/mod.rs", source), climbs("api/mod.rs", 1, "api", "compat"), "{source}");
        }
        let climbing = climbs("compat/shop/settings.rs", 1, CUSTOMER_SETTINGS, "hub");
        assert_eq!(faults("compat/shop/settings.rs", "use crate::hub::Worker;"), climbing);
    }

    #[test]
    fn an_unknown_module_is_told_in_a_sentence() {
        let unknown = |file: &str, module: &str| [Fault::Unknown { file: file.into(), module: module.into() }];
        assert_eq!(faults("utils/strings.rs", "use crate::pod;"), unknown("utils/strings.rs", "utils"));
        assert_eq!(faults("helper.rs", ""), unknown("helper.rs", "helper"));
        assert_eq!(faults("pod.rs", "use crate::utils;"), unknown("pod.rs", "utils"));
        let sentence = faults("helper.rs", "")[0].to_string();
        assert!(sentence.contains("`helper` has no layer. Give it a row in tests/layers/main.rs"), "{sentence}");
    }
}
