//! The program in a terminal: a pseudo-terminal stands in for it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
};

use testkit::terminal::PseudoTerminal;

/// The builds that are tried: the one that cargo made for this test, and the one that `TEST_POD` names.
fn builds() -> Vec<PathBuf> {
    let mut builds = vec![PathBuf::from(env!("CARGO_BIN_EXE_roomcast"))];
    builds.extend(std::env::var_os("TEST_POD").map(PathBuf::from).filter(|pod| *pod != builds[0]));
    builds
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a pod writes to its terminal until it says that it has started.
fn written_by(program: &Path, variables: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let terminal = PseudoTerminal::new(200, 50);
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home.path()).envs(variables.iter().copied());
    command.args(["--plain-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
    let _pod = Running(terminal.spawn(command));
    terminal.wait_for_text("a line that says that it has started", |text| {
        text.lines().any(|line| line.contains("started") && line.contains("development"))
    });
    terminal.text()
}

/// The lines of the log, which is all but the invitation of development mode.
fn log_lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with("  ")).collect()
}

#[test]
fn a_pod_starts_in_a_terminal_and_its_log_has_colours() {
    for program in builds() {
        let text = written_by(&program, &[]);
        let lines = log_lines(&text);
        assert!(lines.iter().any(|line| line.contains("started")), "{} says\n{text}", program.display());
        // A line of another make is neither coloured nor dated.
        for line in &lines {
            assert!(line.starts_with("\u{1b}[2m20"), "{}: {line:?} in\n{text}", program.display());
        }
    }
}

#[test]
fn a_terminal_that_wants_no_colour_gets_none() {
    for program in builds() {
        let text = written_by(&program, &[("NO_COLOR", "1")]);
        let lines = log_lines(&text);
        assert!(lines.iter().any(|line| line.contains("started")), "{} says\n{text}", program.display());
        for line in &lines {
            assert!(line.starts_with("20") && !line.contains('\u{1b}'), "{}: {line:?} in\n{text}", program.display());
        }
    }
}
