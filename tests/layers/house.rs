//! The project's source files, read once for each check.

use std::{fs, path::Path};

/// One file of Rust source.
pub struct Source {
    /// The path from the root of the repository, with `/` between folders.
    pub path: String,
    pub text: String,
}

/// Every source file of the library and of the crates beside it, in the order of their paths.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join("src"), "src", &mut found);
    if root.join("crates").is_dir() {
        for entry in fs::read_dir(root.join("crates")).expect("a folder that can be read").flatten() {
            let below = format!("crates/{}/src", entry.file_name().to_string_lossy());
            if root.join(&below).is_dir() {
                collect(&root.join(&below), &below, &mut found);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 100, "{} files: the walk does not see src/", found.len());
    found
}

fn collect(dir: &Path, below: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).expect("a folder that can be read") {
        let entry = entry.expect("an entry that can be read");
        let path = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &path, found);
        } else if path.ends_with(".rs") {
            found.push(Source { path, text: fs::read_to_string(entry.path()).expect("a file that can be read") });
        }
    }
}

impl Source {
    /// The root of its crate, and its path below it: `("src", "hub/room.rs")`.
    pub fn split(&self) -> (&str, &str) {
        let at = self.path.find("src/").map_or(0, |at| at + 3);
        (&self.path[..at], self.path.get(at + 1..).unwrap_or_default())
    }

    /// Whether it holds tests only.
    pub fn is_test(&self) -> bool {
        let (_, below) = self.split();
        below.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "testing" | "testing.rs"))
    }
}
