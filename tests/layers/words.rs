//! The words of the code: no layer uses a type's name twice, and comments name things and not people.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::house::sources;

/// Names that two types of a layer still share. The list only shrinks: a name that is used once must leave it.
const STANDING: &[(&str, &str)] = &[];

/// The most comment lines that may speak of who, whoever, whom, nobody or somebody. The number only falls.
const MOST_PEOPLE: usize = 10;

const PEOPLE: [&str; 5] = ["who", "whoever", "whom", "nobody", "somebody"];

#[test]
fn no_layer_uses_a_name_for_two_types() {
    let mut files = BTreeMap::<(String, String), BTreeSet<String>>::new();
    let mut twice = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let (root, below) = source.split();
        let layer = match root {
            "src" => below.split('/').next().unwrap_or_default().trim_end_matches(".rs"),
            root => root.trim_end_matches("/src"),
        };
        let mut names = Vec::new();
        types(source.text.parse().expect("Rust source that lexes"), &mut names);
        for name in names {
            let key = (layer.to_owned(), name);
            let homes = files.entry(key.clone()).or_default();
            if !homes.insert(source.path.clone()) || homes.len() > 1 {
                twice.insert(key);
            }
        }
    }
    assert!(files.len() > 300, "{} types: the walk does not see them", files.len());
    let standing = |(layer, name): &(String, String)| STANDING.contains(&(layer.as_str(), name.as_str()));
    let new: Vec<_> = twice.iter().filter(|key| !standing(key)).map(|key| (key, &files[key])).collect();
    assert!(new.is_empty(), "one name, two types in one layer: rename one. {new:#?}");
    let is_twice = |(layer, name): &&(&str, &str)| twice.contains(&((*layer).to_owned(), (*name).to_owned()));
    let done: Vec<_> = STANDING.iter().filter(|entry| !is_twice(entry)).collect();
    assert!(done.is_empty(), "these names are used once, so they leave STANDING: {done:?}");
}

/// The types that a file defines outside of functions, implementations and tests.
fn types(tokens: TokenStream, names: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut at, mut test) = (0, false);
    while at < tokens.len() {
        match (&tokens[at], tokens.get(at + 1)) {
            (TokenTree::Punct(p), Some(TokenTree::Group(attribute))) if p.as_char() == '#' => {
                test |= attribute.stream().to_string().replace(' ', "").starts_with("cfg(test");
                at += 2;
                continue;
            }
            (TokenTree::Ident(word), Some(TokenTree::Ident(name))) => match word.to_string().as_str() {
                "struct" | "enum" | "trait" | "type" | "union" => {
                    if !test {
                        names.push(name.to_string());
                    }
                    (at, test) = (at + 2, false);
                    continue;
                }
                "mod" => {
                    if let Some(TokenTree::Group(body)) = tokens.get(at + 2)
                        && !test
                    {
                        types(body.stream(), names);
                    }
                    (at, test) = (at + 3, false);
                    continue;
                }
                // `section! { pub struct … }` and its like.
                "pub" | "unsafe" | "async" | "const" => {}
                "fn" | "impl" | "static" | "use" => test = false,
                _ => {}
            },
            (TokenTree::Punct(p), Some(TokenTree::Group(body)))
                if p.as_char() == '!' && body.delimiter() == Delimiter::Brace =>
            {
                let called = at > 0 && matches!(&tokens[at - 1], TokenTree::Ident(word) if *word != "macro_rules");
                if called {
                    types(body.stream(), names);
                }
            }
            (TokenTree::Punct(p), _) if p.as_char() == ';' => test = false,
            _ => {}
        }
        at += 1;
    }
}

#[test]
fn comments_name_things_and_not_people() {
    let count: usize =
        sources().iter().map(|source| source.text.lines().filter(|line| names_people(line)).count()).sum();
    assert!(
        count <= MOST_PEOPLE,
        "{count} comment lines say {PEOPLE:?}, and {MOST_PEOPLE} may. A connection is \"it\": name the thing that acts."
    );
}

/// Whether a line has a comment, and the comment one of the words.
fn names_people(line: &str) -> bool {
    let starts = line.match_indices("//").map(|(at, _)| at);
    let comment = starts.into_iter().find(|at| *at == 0 || line[..*at].ends_with([' ', '\t', '{', '}', ';', ',']));
    let comment = comment.map_or("", |at| &line[at..]);
    comment.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| PEOPLE.contains(&word.to_lowercase().as_str()))
}

mod planted {
    use super::*;

    #[test]
    fn people_are_seen_in_comments_only() {
        for line in ["// Nobody waits.", "    /// who", "f(); // Whoever comes", "//! For whom, then?"] {
            assert!(names_people(line), "{line}");
        }
        for line in
            ["let who = nobody();", "\"nobody\"", "// the whole", "let a = \"https://who.example\";", "// who_is"]
        {
            assert!(!names_people(line), "{line}");
        }
    }

    #[test]
    fn types_are_found_where_a_layer_can_name_them() {
        let mut names = Vec::new();
        let source = "pub struct A; enum B { C } pub(crate) trait D { type Value; fn f() { struct E; } } type F = u8;
            impl D for A { type Value = B; } mod g { pub struct H; } #[cfg(test)] mod tests { struct I; }
            section! { #[doc = \"k\"] pub struct J in \"j\" { } } macro_rules! m { () => { struct K; } }
            #[cfg(test)] struct L; fn f() { type M = u8; }";
        types(source.parse().unwrap(), &mut names);
        assert_eq!(names, ["A", "B", "D", "F", "H", "J"]);
    }
}
