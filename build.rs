//! Tells the program which commit it is built from, in the variable `COMMIT` of the compiler.
//!
//! The first that is known: the variable `BUILD_COMMIT` of the build, for builders that get no `.git` (the Dockerfile); git's
//! `HEAD`, if this folder is the top of a git work tree; what `cargo package` noted, for a build from a registry. Otherwise
//! `unknown`. Nothing is asked of the network, and no build fails for want of it. Neither variable begins with `ROOMCAST_`: a pod
//! refuses variables of that name that it does not know.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// How many digits of a commit are told.
const DIGITS: usize = 12;

fn main() {
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    for file in moved_with_head(&folder) {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    println!("cargo::rustc-env=COMMIT={}", commit(&folder, env::var("BUILD_COMMIT").ok()));
}

/// The commit that `folder` holds, if the builder has not `given` another.
pub fn commit(folder: &Path, given: Option<String>) -> String {
    let found = given
        .and_then(|given| digits(&given))
        .or_else(|| is_top(folder).then(|| digits(&git(folder, &["rev-parse", "HEAD"])?)).flatten())
        .or_else(|| packaged(folder));
    found.unwrap_or_else(|| "unknown".to_owned())
}

/// The files of git that change when `HEAD` moves: `HEAD` itself, its log, the branch that it names, packed branches. Only those
/// that exist, because cargo takes a missing file for a changed one.
pub fn moved_with_head(folder: &Path) -> Vec<PathBuf> {
    if !is_top(folder) {
        return Vec::new();
    }
    let branch = git(folder, &["symbolic-ref", "--quiet", "HEAD"]);
    ["HEAD", "logs/HEAD", "packed-refs"]
        .into_iter()
        .map(str::to_owned)
        .chain(branch)
        .filter_map(|name| git(folder, &["rev-parse", "--git-path", &name]))
        .map(|path| folder.join(path))
        .filter(|path| path.exists())
        .collect()
}

/// Whether `folder` is the top of a work tree, and not a folder inside one that is about something else.
fn is_top(folder: &Path) -> bool {
    git(folder, &["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty())
}

/// What `cargo package` noted of the commit.
fn packaged(folder: &Path) -> Option<String> {
    let noted = fs::read_to_string(folder.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = noted.split_once("\"sha1\"")?;
    digits(rest.trim_start_matches([':', ' ', '"']))
}

/// The first digits of a commit's name.
fn digits(text: &str) -> Option<String> {
    let text = text.trim();
    let length = text.chars().take_while(char::is_ascii_hexdigit).take(DIGITS).count();
    (length >= 7).then(|| text[..length].to_ascii_lowercase())
}

/// What git says, without the line's end. `None` if there is no git, or it fails.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A hook of git's runs with these, and they would point elsewhere.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    let output = command.arg("-C").arg(folder).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
