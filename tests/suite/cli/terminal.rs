//! The program in a terminal: a pseudo-terminal stands in for it.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long a pod may take to say that it has started.
const SOON: Duration = Duration::from_secs(20);

/// The builds that are tried: the one that cargo made for this test, and the one that `TEST_POD` names.
fn builds() -> Vec<PathBuf> {
    let mut builds = vec![PathBuf::from(env!("CARGO_BIN_EXE_roomcast"))];
    builds.extend(std::env::var_os("TEST_POD").map(PathBuf::from).filter(|pod| *pod != builds[0]));
    builds
}

/// Both ends of a new pseudo-terminal: what stands in for the person, and what the program gets.
fn terminal() -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (File::from(person), program)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a pod writes to its terminal until it says that it has started, ends, or is silent for too long.
fn written_by(program: &Path, variables: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let (mut person, terminal) = terminal();
    let end = || Stdio::from(OwnedFd::from(terminal.try_clone().unwrap()));
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home.path()).envs(variables.iter().copied());
    command.args(["--plain-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
    let pod = Running(command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap());
    drop((command, terminal));

    let (sender, bytes) = mpsc::channel();
    // Reading fails once no program has the terminal open any more.
    let reader = thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = person.read(&mut chunk) {
            if sender.send(chunk[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let (deadline, mut written) = (Instant::now() + SOON, Vec::new());
    let text = loop {
        let text = String::from_utf8_lossy(&written).into_owned();
        if text.lines().any(|line| line.contains("started") && line.contains("development")) {
            break text;
        }
        match bytes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(more) => written.extend(more),
            Err(_) => break text,
        }
    };
    drop((pod, bytes));
    reader.join().unwrap();
    text
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
