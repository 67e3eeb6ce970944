//! No type has more methods than a reader keeps in mind. Counted are the functions of all its `impl` blocks in its layer, those of
//! the project's own traits included; those of the standard library's and of other crates' traits are not, and tests are not.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::house::{Source, sources};

/// The most methods of a type.
const MOST: usize = 40;

/// Types that have more, with the reason. The list only shrinks: a type that has no more than the others must leave it.
const STANDING: &[(&str, &str, &str)] = &[];

/// A type by its layer and its name.
type Key = (String, String);

#[test]
fn no_type_has_more_methods_than_a_reader_keeps_in_mind() {
    let files: Vec<Source> = sources().into_iter().filter(|file| !file.is_test()).collect();
    let methods = methods(&files);
    let all: usize = methods.values().sum();
    assert!(all > 1_000, "{all} methods: the walk does not see them");
    let is = |(layer, name): &Key, entry: &(&str, &str, &str)| (layer.as_str(), name.as_str()) == (entry.0, entry.1);
    let many: Vec<_> = methods.iter().filter(|(_, count)| **count > MOST).collect();
    let new: Vec<_> = many.iter().filter(|(key, _)| !STANDING.iter().any(|entry| is(key, entry))).collect();
    assert!(new.is_empty(), "more than {MOST} methods: give what belongs together a type of its own. {new:?}");
    let done: Vec<_> = STANDING.iter().filter(|entry| !many.iter().any(|(key, _)| is(key, entry))).collect();
    assert!(done.is_empty(), "these have no more than {MOST} methods, so they leave STANDING: {done:?}");
}

/// How many methods each type has.
fn methods(files: &[Source]) -> BTreeMap<Key, usize> {
    let trees: Vec<(String, TokenStream)> = files
        .iter()
        .map(|file| {
            let (root, below) = file.split();
            let layer = match root {
                "src" => below.split('/').next().unwrap_or_default().trim_end_matches(".rs"),
                root => root.trim_end_matches("/src"),
            };
            (layer.to_owned(), file.text.parse().expect("Rust source that lexes"))
        })
        .collect();
    let mut traits = BTreeSet::new();
    trees.iter().for_each(|(_, tree)| own_traits(tree.clone(), &mut traits));
    let mut found = BTreeMap::new();
    for (layer, tree) in trees {
        walk(tree, &layer, &traits, &mut found);
    }
    found
}

fn own_traits(tokens: TokenStream, traits: &mut BTreeSet<String>) {
    let mut before = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                if before {
                    traits.insert(word.to_string());
                }
                before = word == "trait";
            }
            TokenTree::Group(group) => own_traits(group.stream(), traits),
            TokenTree::Punct(_) | TokenTree::Literal(_) => before = false,
        }
    }
}

fn walk(tokens: TokenStream, layer: &str, traits: &BTreeSet<String>, found: &mut BTreeMap<Key, usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut at, mut test) = (0, false);
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(p) if p.as_char() == '#' => {
                test |= tokens.get(at + 1).is_some_and(is_for_tests);
                at += 1;
            }
            TokenTree::Ident(word) if *word == "impl" => {
                let body = tokens[at..].iter().position(|token| is_group(token, Delimiter::Brace));
                let end = body.map_or(tokens.len(), |body| at + body);
                let own = named(&tokens[at + 1..end], traits).filter(|_| !test);
                if let (Some(name), Some(TokenTree::Group(body))) = (own, tokens.get(end)) {
                    *found.entry((layer.to_owned(), name)).or_default() += functions(body.stream());
                }
                (at, test) = (end, false);
            }
            TokenTree::Group(group) => {
                if !test {
                    walk(group.stream(), layer, traits, found);
                }
                test &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Punct(p) if p.as_char() == ';' => test = false,
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// The type that an `impl` is of, by what stands before its body; `None`: it is of a trait that is not the project's own.
fn named(head: &[TokenTree], traits: &BTreeSet<String>) -> Option<String> {
    // Without what stands between angle brackets.
    let (mut depth, mut arrow, mut words) = (0_i32, false, Vec::new());
    for token in head {
        match token {
            TokenTree::Punct(p) if p.as_char() == '<' => depth += 1,
            TokenTree::Punct(p) if p.as_char() == '>' && !arrow => depth -= 1,
            TokenTree::Ident(word) if depth == 0 => words.push(word.to_string()),
            _ => {}
        }
        arrow = matches!(token, TokenTree::Punct(p) if p.as_char() == '-');
    }
    if let Some(bounds) = words.iter().position(|word| word == "where") {
        words.truncate(bounds);
    }
    match words.iter().position(|word| word == "for") {
        Some(at) if at > 0 && traits.contains(&words[at - 1]) => words.split_off(at + 1).pop(),
        Some(_) => None,
        None => words.pop(),
    }
}

/// How many functions a body has, tests left out.
fn functions(body: TokenStream) -> usize {
    let tokens: Vec<TokenTree> = body.into_iter().collect();
    let (mut count, mut test) = (0, false);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Punct(p) if p.as_char() == '#' => test |= tokens.get(at + 1).is_some_and(is_for_tests),
            TokenTree::Ident(word) if *word == "fn" => {
                count += usize::from(!test);
                test = false;
            }
            _ => {}
        }
    }
    count
}

fn is_for_tests(attribute: &TokenTree) -> bool {
    let TokenTree::Group(attribute) = attribute else { return false };
    attribute.stream().to_string().replace(' ', "").starts_with("cfg(test")
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

mod planted {
    use super::*;

    fn counted(text: &str) -> BTreeMap<Key, usize> {
        methods(&[Source { path: "src/hub/a.rs".into(), text: text.into() }])
    }

    #[test]
    fn methods_are_counted_over_blocks_and_own_traits() {
        let found = counted(
            "trait Own { fn a(&self); } struct S; impl S { fn a(&self) {} pub(crate) const fn b() { fn inner() {} } } \
             impl<T: Fn() -> u8> Own for S where T: Copy { fn a(&self) {} } impl Drop for S { fn drop(&mut self) {} } \
             impl<'a> super::G<'a> { fn c() {} }",
        );
        assert_eq!(found[&("hub".into(), "S".into())], 3);
        assert_eq!(found[&("hub".into(), "G".into())], 1);
    }

    #[test]
    fn tests_do_not_count() {
        let found = counted(
            "impl S { fn a() {} #[cfg(test)] fn b() {} #[must_use] fn c() {} } #[cfg(test)] impl S { fn d() {} } \
             #[cfg(test)] mod tests { impl S { fn e() {} } } mod m { impl S { fn f() {} } }",
        );
        assert_eq!(found[&("hub".into(), "S".into())], 3);
    }
}
