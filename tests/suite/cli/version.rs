//! Which commit `--version` names, in each kind of build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{roomcast, stdout};

#[allow(dead_code, missing_docs)]
#[path = "../../../build.rs"]
mod build;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE").arg("-C").arg(folder);
    let output = git.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A work tree with one commit.
fn work_tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(folder.path(), &["commit", "--quiet", "--allow-empty", "--message=one"]);
    folder
}

fn twelve(folder: &Path) -> String {
    git(folder, &["rev-parse", "HEAD"])[..12].to_owned()
}

#[test]
fn the_program_says_its_version_and_its_commit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = stdout(&roomcast(&["--version"], &[]));
    let commit = env!("COMMIT");
    assert_eq!(said, format!("roomcast {} ({commit})\n", env!("CARGO_PKG_VERSION")));
    // `HEAD` may have moved since this was built, but it was at that commit.
    if std::env::var_os("BUILD_COMMIT").is_none() && build::commit(root, None) != "unknown" {
        git(root, &["cat-file", "-e", &format!("{commit}^{{commit}}")]);
    }
    assert_eq!(said, stdout(&roomcast(&["-V"], &[])));
    let publish = stdout(&roomcast(&["publish", "--help"], &[]));
    assert!(!publish.contains(commit), "a page of help is the same in every build");
}

#[test]
fn the_commit_is_the_one_of_git_and_a_builder_may_say_another() {
    let folder = work_tree();
    assert_eq!(build::commit(folder.path(), None), twelve(folder.path()));
    let given = "ABCDEF0123456789abcdef0123456789abcdef01".to_owned();
    assert_eq!(build::commit(folder.path(), Some(given)), "abcdef012345");
    for nonsense in ["", "main", "1.0", "abcdef\ncargo::rustc-env=A=B"] {
        assert_eq!(build::commit(folder.path(), Some(nonsense.to_owned())), twelve(folder.path()), "{nonsense:?}");
    }
}

#[test]
fn without_git_the_commit_is_the_packaged_one_or_unknown() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(build::commit(folder.path(), None), "unknown");
    assert_eq!(build::moved_with_head(folder.path()), Vec::<PathBuf>::new());
    let noted =
        "{\n  \"git\": {\n    \"sha1\": \"0123456789abcdef0123456789abcdef01234567\"\n  },\n  \"path_in_vcs\": \"\"\n}";
    fs::write(folder.path().join(".cargo_vcs_info.json"), noted).unwrap();
    assert_eq!(build::commit(folder.path(), None), "0123456789ab");
}

#[test]
fn a_folder_inside_a_foreign_work_tree_does_not_take_its_commit() {
    let folder = work_tree();
    let inside = folder.path().join("vendor/roomcast");
    fs::create_dir_all(&inside).unwrap();
    assert_eq!(build::commit(&inside, None), "unknown");
    assert_eq!(build::moved_with_head(&inside), Vec::<PathBuf>::new());
}

/// What cargo looks at: whether a file that it watches is another than before.
fn watched(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    build::moved_with_head(folder).into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

#[test]
fn cargo_watches_a_file_that_changes_whenever_head_moves() {
    let main = work_tree();
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("tree");
    git(main.path(), &["worktree", "add", "--quiet", other.to_str().unwrap()]);
    for folder in [main.path(), other.as_path()] {
        git(folder, &["commit", "--quiet", "--allow-empty", "--message=before"]);
        for moved in [
            &["commit", "--quiet", "--allow-empty", "--message=more"][..],
            &["commit", "--quiet", "--allow-empty", "--amend", "--message=amended"],
            &["pack-refs", "--all"],
            &["commit", "--quiet", "--allow-empty", "--message=after packing"],
            &["reset", "--quiet", "--soft", "HEAD~1"],
            &["checkout", "--quiet", "--detach", "HEAD~1"],
        ] {
            let (before, commit) = (watched(folder), build::commit(folder, None));
            git(folder, moved);
            if build::commit(folder, None) != commit {
                let changed = before.iter().any(|(file, bytes)| fs::read(file).ok().as_ref() != Some(bytes));
                assert!(changed, "{moved:?} moves HEAD unseen, of {before:?}");
            }
        }
    }
}
