//! Child processes: this binary under another role, and the pod.
//!
//! Always holds: a child ends with its parent. It is killed when its handle is dropped (so on an error and on Ctrl-C),
//! and the kernel kills it when the parent is gone without having dropped anything.

use std::{
    ffi::OsStr,
    fs::File,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command as StdCommand, Stdio},
};

use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use crate::error::{BenchError, Doing as _};

/// Called first by every role: the kernel kills this process when its parent ends.
pub(crate) fn end_with_parent() -> Result<(), BenchError> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "asking to end with the parent".to_owned())
}

/// The `exec` role: becomes `program`, which ends with this process' parent.
pub(crate) fn become_program(command: &[String]) -> BenchError {
    let Some((program, arguments)) = command.split_first() else {
        return BenchError::Usage("the exec role needs a program".to_owned());
    };
    if let Err(error) = end_with_parent() {
        return error;
    }
    let source = StdCommand::new(program).args(arguments).exec();
    BenchError::Io { doing: format!("starting {program}"), source }
}

/// Starts a foreign program that ends with this process; both its outputs go to `log`.
pub(crate) fn start_program(program: &Path, arguments: &[String], log: &Path) -> Result<Child, BenchError> {
    let file = File::create(log).doing(|| format!("writing {}", log.display()))?;
    let copy = file.try_clone().doing(|| format!("writing {}", log.display()))?;
    Command::new(this_program()?)
        .args([OsStr::new("exec"), OsStr::new("--"), program.as_os_str()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .kill_on_drop(true)
        .spawn()
        .doing(|| format!("starting {}", program.display()))
}

fn this_program() -> Result<std::path::PathBuf, BenchError> {
    std::env::current_exe().doing(|| "finding this program's path".to_owned())
}

/// This binary in another role: orders go to its input, notices come from its output, one JSON text a line.
pub(crate) struct Role {
    name: String,
    input: ChildStdin,
    process: Child,
}

/// What a [`Role`] said; `Err` when it ended or wrote something that is no notice.
pub(crate) type Heard<N> = (usize, Result<N, BenchError>);

/// How many notices may wait for the parent; then the child waits.
pub(crate) const NOTICES: usize = 256;

impl Role {
    /// Starts one; what it says arrives in `heard`, marked with `index`.
    pub(crate) fn start<N: DeserializeOwned + Send + 'static>(
        name: &str,
        arguments: &[String],
        index: usize,
        heard: mpsc::Sender<Heard<N>>,
    ) -> Result<Self, BenchError> {
        let mut process = Command::new(this_program()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing(|| format!("starting the {name} process"))?;
        let missing = |what: &str| BenchError::Child { who: name.to_owned(), what: format!("has no {what}") };
        let input = process.stdin.take().ok_or_else(|| missing("input"))?;
        let output = process.stdout.take().ok_or_else(|| missing("output"))?;
        let who = name.to_owned();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            loop {
                let ended = |what: String| BenchError::Child { who: who.clone(), what };
                let notice = match lines.next_line().await {
                    Ok(Some(line)) => serde_json::from_str(&line).map_err(|e| ended(format!("said {line:?}: {e}"))),
                    Ok(None) => Err(ended("ended; what it wrote stands above".to_owned())),
                    Err(error) => Err(ended(format!("cannot be read: {error}"))),
                };
                let last = notice.is_err();
                if heard.send((index, notice)).await.is_err() || last {
                    break;
                }
            }
        });
        Ok(Self { name: name.to_owned(), input, process })
    }

    /// The process' number.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Gives it an order.
    pub(crate) async fn order(&mut self, order: &impl Serialize) -> Result<(), BenchError> {
        let mut line =
            serde_json::to_vec(order).map_err(|e| BenchError::Protocol(format!("an order that is not JSON: {e}")))?;
        line.push(b'\n');
        self.write(&line).await
    }

    /// Writes bytes to its input.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.input.write_all(bytes).await.doing(|| format!("writing to the {} process (did it end?)", self.name))
    }
}

/// The child's side: says one notice to the parent.
pub(crate) fn say(notice: &impl Serialize) -> Result<(), BenchError> {
    use std::io::Write as _;
    let mut line =
        serde_json::to_vec(notice).map_err(|e| BenchError::Protocol(format!("a notice that is not JSON: {e}")))?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line).and_then(|()| output.flush()).doing(|| "telling the parent".to_owned())
}
