//! No file of Rust source is too long to be one noun's.

use std::{fs, path::Path};

/// The most lines of a file.
const MOST_LINES: usize = 400;

/// Where the project's own source is.
const ROOTS: [&str; 7] = ["src", "crates", "certs", "testkit", "bench", "tests", "fuzz"];

/// Folders that hold what is not written by hand, or not the project's.
const LEFT_OUT: [&str; 4] = ["generated", "node_modules", "target", "corpus"];

fn collect(dir: &Path, found: &mut Vec<(String, usize)>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.map(|entry| entry.expect("an entry that can be read").path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !LEFT_OUT.contains(&name.as_str()) {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a file that can be read");
            found.push((path.display().to_string(), text.lines().count()));
        }
    }
}

#[test]
fn no_file_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    ROOTS.iter().for_each(|below| collect(&root.join(below), &mut files));
    assert!(files.len() > 400, "{} files: the walk does not see them", files.len());
    let long: Vec<_> = files.iter().filter(|(_, lines)| *lines > MOST_LINES).collect();
    assert!(long.is_empty(), "these files have more than {MOST_LINES} lines. Split each by its nouns: {long:?}");
}
