//! roomcast as a process of its own: started, listened to, signalled, ended.

use std::{
    cell::Cell,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take that should happen.
const SOON: Duration = Duration::from_secs(20);

/// Lines that are kept: a run of hours under faults must not fill the memory.
const MOST_LINES: usize = 100_000;

/// A running roomcast. Dropping it kills it.
pub struct Process {
    child: Child,
    log: Arc<Log>,
    /// The lines that [`Process::line`] has answered.
    read: Cell<usize>,
    started: Value,
}

#[derive(Default)]
struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Runs what comes to `roomcast serve` and waits until it says that it has started.
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.env("ROOMCAST_LOG", "json").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (log, lines) = (Arc::new(Log::default()), BufReader::new(child.stderr.take().unwrap()).lines());
        let writes = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = writes.said();
                if said.lines.len() < MOST_LINES {
                    said.lines.push(line);
                }
                writes.more.notify_all();
            }
            writes.said().ended = true;
            writes.more.notify_all();
        });
        let mut process = Self { child, log, read: Cell::new(0), started: Value::Null };
        process.started = process.logged("started");
        process
    }

    /// The next line of its log, as an object; `None` if it says no more, or nothing for too long.
    pub fn line(&self) -> Option<Value> {
        let (deadline, mut said) = (Instant::now() + SOON, self.log.said());
        loop {
            if let Some(line) = said.lines.get(self.read.get()) {
                self.read.set(self.read.get() + 1);
                let object = serde_json::from_str(line).ok().filter(Value::is_object);
                return Some(object.unwrap_or_else(|| panic!("a log line that is not one JSON object: {line}")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.ended || left.is_zero() {
                return None;
            }
            said = self.log.more.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a log line with this message.
    pub fn logged(&self, message: &str) -> Value {
        while let Some(line) = self.line() {
            if line["message"] == message {
                return line;
            }
        }
        panic!("nothing said {message:?}; the end of the log:\n{}", self.said());
    }

    /// How many lines of its log so far have this text.
    pub fn times_said(&self, text: &str) -> usize {
        self.log.said().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let said = self.log.said();
        said.lines[said.lines.len().saturating_sub(30)..].join("\n")
    }

    /// What it said when it had started.
    pub fn started(&self) -> &Value {
        &self.started
    }

    /// Where a listener is, the first of its kind.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.started[listener].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end, for as long as something that should happen may take.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_for(SOON)
    }

    /// Waits so long for its end.
    pub fn wait_for(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; the end of its log:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
