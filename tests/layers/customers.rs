//! Customers' systems stay in their folders: no file of the core says a word of theirs, and each folder is registered once.

use std::fs;

use super::house::{Source, sources};

/// The folders of the core that know no customer.
const CORE: [&str; 3] = ["src/hub/", "src/metrics/", "src/api/"];

/// Files that list customers, or what tests see of them, and nothing else of theirs.
const REGISTRIES: [&str; 3] = ["src/compat/mod.rs", "src/config/customers.rs", "src/testing.rs"];

/// Words of customers' systems: names of messages, services, products.
const WORDS: [&str; 16] = [
    "system:ping",
    "system:pong",
    "system:error",
    "system:connected",
    "room:join",
    "room:leave",
    "booking",
    "payment",
    "ticketing",
    "ticket shop",
    "realtimeservice",
    "realtime_",
    "chatbot",
    "hocuspocus",
    "matrix",
    "loomio",
];

/// The lines of a file that have a customer's word.
fn lines_with_words(source: &Source) -> Vec<String> {
    let text = source.text.to_lowercase();
    let found = text.lines().enumerate().filter(|(_, line)| WORDS.iter().any(|word| line.contains(word)));
    found.map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim())).collect()
}

#[test]
fn no_file_of_the_core_names_a_customers_message() {
    let core: Vec<Source> =
        sources().into_iter().filter(|source| CORE.iter().any(|folder| source.path.starts_with(folder))).collect();
    assert!(core.len() > 60, "{} files: the walk does not see the core", core.len());
    let found: Vec<String> = core.iter().flat_map(lines_with_words).collect();
    assert!(
        found.is_empty(),
        "this belongs to a folder of src/compat, behind an observer or a route:\n{}",
        found.join("\n")
    );
}

/// What docs/ARCHITECTURE.md says of deleting a customer: the folder, and the lines that name it in the two registries.
#[test]
fn only_the_registries_name_a_customers_folder() {
    let all = sources();
    let folders = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/compat")).expect("the folder of customers");
    let names = folders.filter_map(|entry| {
        let entry = entry.expect("an entry that can be read");
        entry.path().is_dir().then(|| entry.file_name().to_string_lossy().into_owned())
    });
    let names: Vec<String> = names.collect();
    assert!(!names.is_empty(), "no customer: the walk does not see src/compat");
    for name in names {
        let own = format!("src/compat/{name}/");
        let naming = |source: &&Source| {
            let paths = [format!("{name}::"), format!("mod {name};"), format!("customers.{name}")];
            !source.path.starts_with(&own) && paths.iter().any(|path| source.text.contains(path))
        };
        let files: Vec<&str> = all.iter().filter(naming).map(|source| source.path.as_str()).collect();
        assert_eq!(files, REGISTRIES, "who names {name}");
    }
}

mod planted {
    use super::*;

    #[test]
    fn a_customers_word_is_found_in_code_and_comments() {
        let source = |text: &str| Source { path: "src/hub/x.rs".to_owned(), text: text.to_owned() };
        for text in ["f(\"system:ping\")", "// a ticket shop's", "use proto::RealtimeService;", "mod chatbots;"] {
            assert_eq!(lines_with_words(&source(text)).len(), 1, "{text}");
        }
        assert_eq!(lines_with_words(&source("// a session ticket; real time; f(\"ping\")")), Vec::<String>::new());
    }
}
