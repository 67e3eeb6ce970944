//! No file imports another that, over others or at once, imports the first. An import is a path that starts at `crate`,
//! `super`, `self` or a module of the file's own; a name that a module only hands on counts for the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::house::{Source, sources};

/// Folders whose files may still import each other in circles, each with the reason. The list only shrinks: a folder without
/// a circle must leave it.
const STANDING: &[(&str, &str)] = &[];

/// A module: the crate's root, and the path below it.
type Module = (String, Vec<String>);

/// What one file says about others.
#[derive(Default)]
struct Imports {
    /// Absolute paths that its code uses.
    used: Vec<Vec<String>>,
    /// Names that it hands on, with their absolute paths.
    handed_on: BTreeMap<String, Vec<String>>,
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files: Vec<Source> = sources().into_iter().filter(|file| !file.is_test()).collect();
    let edges = edges(&files);
    let count: usize = edges.values().map(BTreeSet::len).sum();
    assert!(count > files.len(), "{count} imports between {} files: the walk does not see them", files.len());
    let circles = circles(&edges);
    let standing =
        |circle: &&Vec<String>| STANDING.iter().any(|(folder, _)| circle.iter().all(|file| file.starts_with(folder)));
    let new: Vec<_> = circles.iter().filter(|circle| !standing(circle)).map(|circle| told(circle, &edges)).collect();
    assert!(
        new.is_empty(),
        "files import each other in a circle. Move what they share into a file of its own.\n{}",
        new.join("\n")
    );
    let done: Vec<_> = STANDING
        .iter()
        .filter(|(folder, _)| !circles.iter().any(|circle| circle.iter().all(|file| file.starts_with(folder))))
        .collect();
    assert!(done.is_empty(), "no circle stands there any more, so they leave STANDING: {done:?}");
}

fn told(circle: &[String], edges: &BTreeMap<String, BTreeSet<String>>) -> String {
    let inside = |from: &String| {
        let to: Vec<_> = edges[from].iter().filter(|to| circle.contains(to)).map(String::as_str).collect();
        format!("  {from} -> {}\n", to.join(", "))
    };
    format!("circle of {} files:\n{}", circle.len(), circle.iter().map(inside).collect::<String>())
}

/// Which file imports which.
fn edges(files: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let module = |file: &Source| -> Module {
        let (root, below) = file.split();
        let mut path: Vec<String> = below.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if path.len() == 1 && matches!(path[0].as_str(), "lib" | "main")
            || path.last().is_some_and(|last| last == "mod")
        {
            path.pop();
        }
        (root.to_owned(), path)
    };
    let files: Vec<&Source> =
        files.iter().filter(|file| !file.path.contains("src/bin/") && !file.path.ends_with("src/main.rs")).collect();
    let modules: BTreeMap<Module, &str> = files.iter().map(|file| (module(file), file.path.as_str())).collect();
    let imports: BTreeMap<Module, Imports> = files
        .iter()
        .map(|file| {
            let module = module(file);
            let is_child = |name: &str| {
                let mut path = module.1.clone();
                path.push(name.to_owned());
                modules.contains_key(&(module.0.clone(), path))
            };
            let imports = read(&file.text, &module.1, &is_child);
            (module, imports)
        })
        .collect();
    let mut edges = BTreeMap::new();
    for (module, file) in &modules {
        let used = imports[module].used.iter().filter_map(|path| defining(&module.0, path, &modules, &imports, 0));
        let to: BTreeSet<String> = used.filter(|to| to != file).map(str::to_owned).collect();
        edges.insert((*file).to_owned(), to);
    }
    edges
}

/// The file that defines what a path names: names that modules hand on are followed.
fn defining<'a>(
    root: &str,
    path: &[String],
    modules: &BTreeMap<Module, &'a str>,
    imports: &BTreeMap<Module, Imports>,
    depth: usize,
) -> Option<&'a str> {
    for length in (0..=path.len()).rev() {
        let module: Module = (root.to_owned(), path[..length].to_vec());
        let Some(file) = modules.get(&module) else { continue };
        let next = path.get(length).and_then(|name| imports[&module].handed_on.get(name));
        if let Some(next) = next.filter(|_| depth < 8) {
            let whole: Vec<String> = next.iter().chain(&path[length + 1..]).cloned().collect();
            return defining(root, &whole, modules, imports, depth + 1);
        }
        return Some(file);
    }
    None
}

/// Reads the imports of a file, tests left out.
fn read(text: &str, module: &[String], is_child: &dyn Fn(&str) -> bool) -> Imports {
    let tokens: TokenStream = text.parse().expect("Rust source that lexes");
    let mut imports = Imports::default();
    let mut words = BTreeSet::new();
    walk(tokens, module, is_child, &mut imports, &mut words);
    // What a file hands on and uses itself is an import, too.
    let own = imports.handed_on.iter().filter(|(name, _)| words.contains(*name)).map(|(_, path)| path.clone());
    imports.used.extend(own.collect::<Vec<_>>());
    imports
}

fn walk(
    tokens: TokenStream,
    module: &[String],
    is_child: &dyn Fn(&str) -> bool,
    imports: &mut Imports,
    words: &mut BTreeSet<String>,
) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut at, mut test, mut public) = (0, false, false);
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(p) if p.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) {
                    let attribute = attribute.stream().to_string().replace(' ', "");
                    test |= attribute.starts_with("cfg(test") || attribute.starts_with("cfg(all(test");
                    at += 2;
                    continue;
                }
            }
            TokenTree::Ident(word) if *word == "pub" => {
                public = true;
                let restricted =
                    matches!(tokens.get(at + 1), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis);
                at += if restricted { 2 } else { 1 };
                continue;
            }
            TokenTree::Ident(word) if *word == "use" => {
                let end = tokens[at..].iter().position(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ';'));
                let end = end.map_or(tokens.len(), |end| at + end);
                if !test {
                    for (path, name) in branches(&tokens[at + 1..end]) {
                        let Some(path) = absolute(path, module, is_child) else { continue };
                        if public && name != "*" {
                            imports.handed_on.insert(name, path);
                        } else {
                            imports.used.push(path);
                        }
                    }
                }
                at = end;
            }
            TokenTree::Ident(_) if test => {
                // The item below `#[cfg(test)]`: up to its body or its semicolon.
                let end = tokens[at..].iter().position(|token| match token {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    TokenTree::Punct(p) => p.as_char() == ';',
                    _ => false,
                });
                at += end.unwrap_or(0);
            }
            TokenTree::Ident(word) => {
                words.insert(word.to_string());
                let begins = at < 2 || !is_separator(&tokens[at - 2..at]);
                let length = path_length(&tokens[at..]);
                if begins && length > 1 {
                    let path = tokens[at..].iter().take(length * 3 - 2).step_by(3).map(ToString::to_string).collect();
                    imports.used.extend(absolute(path, module, is_child));
                }
            }
            TokenTree::Group(group) => walk(group.stream(), module, is_child, imports, words),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        (test, public) = (false, false);
        at += 1;
    }
}

/// How many words a path has that begins here.
fn path_length(tokens: &[TokenTree]) -> usize {
    let mut length = 1;
    while tokens.get(length * 3 - 2..length * 3).is_some_and(is_separator)
        && matches!(tokens.get(length * 3), Some(TokenTree::Ident(_)))
    {
        length += 1;
    }
    length
}

/// The paths of a `use`, one for each branch of its groups, each with the name that it gets.
fn branches(tokens: &[TokenTree]) -> Vec<(Vec<String>, String)> {
    let (mut path, mut at, mut name) = (Vec::new(), 0, None);
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(word) if *word == "as" => {
                name = tokens.get(at + 1).map(ToString::to_string);
                break;
            }
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Punct(p) if p.as_char() == '*' => name = Some("*".to_owned()),
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                let each = inside.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
                let below = each.filter(|branch| !branch.is_empty()).flat_map(branches);
                return below
                    .map(|(rest, name)| {
                        let whole: Vec<String> = path.iter().cloned().chain(rest).collect();
                        let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name };
                        (whole, name)
                    })
                    .collect();
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    vec![(path, name)]
}

/// A path from the crate's root; `None`: it leads into another crate, or is no path of modules.
fn absolute(path: Vec<String>, module: &[String], is_child: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    let mut from = module.to_vec();
    let mut words = path.into_iter().filter(|word| word != "self").peekable();
    match words.peek().map(String::as_str) {
        Some("crate") => {
            words.next();
            from.clear();
        }
        Some("super") => {
            while words.next_if(|word| word == "super").is_some() {
                from.pop();
            }
        }
        Some(first) if is_child(first) => {}
        _ => return None,
    }
    from.extend(words);
    Some(from)
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b)] if a.as_char() == ':' && b.as_char() == ':')
}

/// The sets of files that reach each other (Tarjan's strongly connected components), those of one file left out.
fn circles(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    struct Search<'a> {
        edges: &'a BTreeMap<String, BTreeSet<String>>,
        number: BTreeMap<&'a str, usize>,
        lowest: BTreeMap<&'a str, usize>,
        open: Vec<&'a str>,
        found: Vec<Vec<String>>,
    }
    impl<'a> Search<'a> {
        fn visit(&mut self, file: &'a str) {
            let number = self.number.len();
            self.number.insert(file, number);
            self.lowest.insert(file, number);
            self.open.push(file);
            for to in self.edges.get(file).into_iter().flatten() {
                let seen = self.number.get(to.as_str()).copied();
                if seen.is_none() {
                    self.visit(to);
                }
                if self.open.contains(&to.as_str()) {
                    let reached = seen.unwrap_or_else(|| self.lowest[to.as_str()]);
                    let lowest = self.lowest[file].min(reached);
                    self.lowest.insert(file, lowest);
                }
            }
            if self.lowest[file] == number {
                let at = self.open.iter().position(|open| *open == file).unwrap();
                let circle = self.open.split_off(at);
                if circle.len() > 1 {
                    let mut circle: Vec<String> = circle.into_iter().map(str::to_owned).collect();
                    circle.sort();
                    self.found.push(circle);
                }
            }
        }
    }
    let (number, lowest) = (BTreeMap::new(), BTreeMap::new());
    let mut search = Search { edges, number, lowest, open: Vec::new(), found: Vec::new() };
    for file in edges.keys() {
        if !search.number.contains_key(file.as_str()) {
            search.visit(file);
        }
    }
    search.found
}

mod planted {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files: Vec<Source> =
            files.iter().map(|(path, text)| Source { path: format!("src/{path}"), text: (*text).to_owned() }).collect();
        circles(&edges(&files))
    }

    #[test]
    fn a_circle_is_found_over_any_spelling() {
        for (a, b) in [
            ("use crate::m::b::B;", "use crate::m::a::A;"),
            ("use super::b::B;", "use super::{a::A, c};"),
            ("use super::{c, b};", "fn f() { super::a::g() }"),
            ("use super::B;", "type T = crate::m::a::A;"),
            ("fn f() { println!(\"{}\", super::b::NAME) }", "use super::a as other;"),
            ("use super::b::*;", "macro_rules! m { () => { $crate::m::a::f() } }"),
        ] {
            let circle = found(&[("m/mod.rs", "pub use b::B;"), ("m/a.rs", a), ("m/b.rs", b)]);
            assert_eq!(circle, [["src/m/a.rs", "src/m/b.rs"]], "{a} {b}");
        }
    }

    #[test]
    fn a_face_that_uses_what_it_hands_on_is_in_the_circle() {
        let child = ("m/a.rs", "use super::Shape; pub struct A;");
        assert_eq!(found(&[("m.rs", "mod a; pub use a::A; pub struct Shape(A);"), child]).len(), 1);
        assert_eq!(found(&[("m.rs", "mod a; use a::A; pub struct Shape(A);"), child]).len(), 1);
        assert_eq!(found(&[("m.rs", "mod a; pub struct Shape(a::A);"), child]).len(), 1);
        assert_eq!(found(&[("m.rs", "mod a; pub use a::A; pub struct Shape;"), child]).len(), 0);
    }

    #[test]
    fn what_is_no_circle_passes() {
        let tests = "use super::b::B; pub struct A;";
        let of_b = "/// See [`super::a`].\npub struct B; #[cfg(test)] mod tests { use crate::m::a::A; }";
        assert_eq!(found(&[("m/a.rs", tests), ("m/b.rs", of_b)]), Vec::<Vec<String>>::new());
        let over_the_face =
            [("m/mod.rs", "pub use a::A; pub use b::B;"), ("m/a.rs", "use crate::m::B;"), ("m/b.rs", "")];
        assert_eq!(found(&over_the_face), Vec::<Vec<String>>::new());
    }

    #[test]
    fn three_files_make_a_circle() {
        let files = [
            ("a.rs", "use crate::b;"),
            ("b.rs", "use crate::c;"),
            ("c.rs", "use crate::a;"),
            ("d.rs", "use crate::a;"),
        ];
        assert_eq!(found(&files), [["src/a.rs", "src/b.rs", "src/c.rs"]]);
    }
}
