//! The program from outside: what it prints, and how it exits.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    process::{Command, Output},
};

/// Runs roomcast without the variables of whoever runs the tests.
fn roomcast(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(variables.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_default_file_is_a_good_file() {
    let printed = roomcast(&["default-config"], &[]);
    assert!(printed.status.success());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roomcast.toml");
    fs::write(&file, &printed.stdout).unwrap();

    let checked = roomcast(&["check-config", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let report = stdout(&checked);
    assert!(report.starts_with("The configuration is good.\n"), "{report}");
    assert!(report.contains("mode             development\n"), "{report}");
    assert!(!report.contains("Set:"), "a file of comments sets nothing: {report}");
}

#[test]
fn check_config_says_where_each_value_comes_from_and_never_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    fs::write(&file, "origins = ['https://app.example.com']\n\n[limits]\nmax_rooms = 9\n").unwrap();
    let variables = [("ROOMCAST_CONFIG", file.to_str().unwrap()), ("ROOMCAST_API_KEY", "hunter2")];
    let checked = roomcast(&["check-config", "--workers", "3"], &variables);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let report = stdout(&checked);
    for line in [
        "  workers = 3  (--workers)".to_owned(),
        "  api_keys = [\"…\"]  (ROOMCAST_API_KEY)".to_owned(),
        format!("  limits.max_rooms = 9  ({}:4)", file.display()),
        format!("  origins = [\"https://app.example.com\"]  ({}:1)", file.display()),
    ] {
        assert!(report.lines().any(|printed| printed == line), "{line}\n{report}");
    }
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn what_is_wrong_goes_to_stderr_and_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    fs::write(&file, "workers = 0\nlisten = 'nowhere'\n").unwrap();
    let checked = roomcast(&["check-config", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(checked.stdout.is_empty());
    let errors = stderr(&checked);
    let path = file.display();
    assert!(errors.contains(&format!("{path}:1: workers = 0: it is out of range; allowed: 1 to 1024\n")), "{errors}");
    assert!(errors.contains(&format!("{path}:2: listen = \"nowhere\": it has no port; allowed: ")), "{errors}");

    let missing = roomcast(&["check-config", "--dev=false"], &[]);
    assert_eq!(missing.status.code(), Some(2));
    let errors = stderr(&missing);
    assert!(errors.contains("there is no listener for clients") && errors.contains("nobody could join"), "{errors}");

    assert_eq!(roomcast(&["--no-such-flag"], &[]).status.code(), Some(2));
}

#[test]
fn help_and_completions() {
    let help = roomcast(&["--help"], &[]);
    assert!(help.status.success());
    for command in ["serve", "check-config", "default-config", "completions"] {
        assert!(stdout(&help).contains(command), "{}", stdout(&help));
    }
    let all = stdout(&roomcast(&["serve", "--help"], &[]));
    let short = stdout(&roomcast(&["serve", "-h"], &[]));
    for flag in
        ["--listen", "--plain-listen", "--internal-listen", "--api-key", "--cert", "--key", "--workers", "--config"]
    {
        assert!(short.contains(flag) && all.contains(flag), "{flag}");
    }
    assert!(all.contains("--limits-max-rooms") && !short.contains("--limits-max-rooms"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = roomcast(&["completions", shell], &[]);
        assert!(script.status.success() && stdout(&script).contains("plain-listen"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let shell = format!("{} default-config | head -n 1", env!("CARGO_BIN_EXE_roomcast"));
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {shell}")]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
