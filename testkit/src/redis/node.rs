//! One server: its process, its port, and what may be done to it.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    link::{Link, Reply},
    wait_until,
};
use crate::ports;

/// What distinguishes a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further lines of redis.conf.
    pub config: Vec<String>,
    /// The password that `config` sets for the default user, for the harness's own connections.
    pub password: Option<String>,
    /// The append-only file, synchronised each second.
    pub append_only: bool,
    /// Certificate and key, PEM: a second port with TLS, also for replication and between the nodes of a cluster.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Run as a sentinel.
    pub sentinel: bool,
}

impl Options {
    /// With a further line of redis.conf.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.config.push(line.into());
        self
    }

    /// With TLS by a certificate that its clients trust by itself.
    #[must_use]
    pub fn tls(self, (cert, key): (&Path, &Path)) -> Self {
        Self { tls: Some((cert.to_owned(), key.to_owned())), ..self }
    }

    /// With a password for the default user; replicas use it too.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(format!("requirepass {password}")).line(format!("masterauth {password}"))
    }
}

/// A server's process, and the shell that kills it when its input ends.
struct Running {
    shell: Child,
    input: Option<ChildStdin>,
    pid: Pid,
}

/// A server.
pub struct Node {
    port: u16,
    bus: u16,
    tls: u16,
    dir: TempDir,
    options: Options,
    process: Mutex<Option<Running>>,
}

impl Node {
    /// Starts one on a free port; it may not answer yet.
    pub fn launch(options: Options) -> Self {
        let installed = Command::new(server()).arg("--version").output().is_ok_and(|out| out.status.success());
        assert!(installed, "{} is missing: install Debian's package redis-server, or run tests/run cargo", server());
        for _ in 0..20 {
            let [port, bus, tls] = ports::free();
            let dir = tempfile::Builder::new().prefix("roomcast-redis-").tempdir().unwrap();
            let node = Self { port, bus, tls, dir, options: options.clone(), process: Mutex::new(None) };
            node.configure();
            node.restart();
            if node.came_up() {
                return node;
            }
        }
        panic!("redis-server does not start; is there something wrong with {options:?}?");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of the cluster's bus.
    pub fn bus(&self) -> u16 {
        self.bus
    }

    /// As configurations name it, with TLS.
    pub fn tls_address(&self) -> (String, u16) {
        ("127.0.0.1".to_owned(), self.tls)
    }

    /// As configurations name it.
    pub fn address(&self) -> (String, u16) {
        ("127.0.0.1".to_owned(), self.port)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A connection to it, as the default user.
    pub fn link(&self) -> io::Result<Link> {
        Link::open(self.port, self.options.password.as_deref())
    }

    /// One command on a connection of its own; an error or an unreachable server is a panic.
    pub fn call(&self, args: &[&str]) -> Reply {
        self.try_call(args).unwrap_or_else(|error| panic!("{args:?} on port {}: {error}", self.port)).ok()
    }

    /// One command on a connection of its own.
    pub fn try_call(&self, args: &[&str]) -> io::Result<Reply> {
        self.link()?.call(args)
    }

    /// A field of `INFO`; empty if there is none or it does not answer.
    pub fn info(&self, section: &str, field: &str) -> String {
        let Ok(Reply::Text(text)) = self.try_call(&["INFO", section]) else { return String::new() };
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// kill -9.
    pub fn kill(&self) {
        drop(self.process().take());
    }

    /// SIGTERM, and waits for the end: what is to be saved is saved.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
        wait_until("the end of a server", || self.try_call(&["PING"]).is_err());
        self.kill();
    }

    /// Starts it again on the same port with the same files; it may not answer yet.
    pub fn restart(&self) {
        self.kill();
        let mut arguments = vec!["./redis.conf"];
        if self.options.sentinel {
            arguments.push("--sentinel");
        }
        // The shell holds the server's process id until it has killed it, so that no other process can have it.
        let script = r#""$SERVER" "$@" >>out 2>&1 & server=$!; echo $server
                        read -r keep; kill -9 $server; wait $server
                        [ "$keep" = keep ] || rm -rf "$PWD""#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "sh"])
            .args(arguments)
            .env("SERVER", server())
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        *self.process() = Some(Running { input: shell.stdin.take(), shell, pid });
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until it answers and has loaded its data.
    pub fn wait_ready(&self) {
        wait_until(
            "a server that answers",
            || matches!(self.try_call(&["PING"]), Ok(Reply::Text(pong)) if pong == "PONG"),
        );
    }

    /// Waits until a replica has everything that this server has written so far. `WAIT` would ask for the writes of its own
    /// connection only.
    pub fn wait_in_step(&self, replica: &Node) {
        let offset = |node: &Node, field: &str| node.info("replication", field).parse::<u64>().ok();
        let written = offset(self, "master_repl_offset").expect("a master");
        wait_until("a replica in step", || offset(replica, "slave_repl_offset").is_some_and(|has| has >= written));
    }

    /// Ends every connection that subscribes.
    pub fn kill_subscribers(&self) -> i64 {
        self.call(&["CLIENT", "KILL", "TYPE", "pubsub"]).number()
    }

    fn signal(&self, signal: Signal) {
        let process = self.process();
        kill_process(process.as_ref().expect("a running server").pid, signal).unwrap();
    }

    fn process(&self) -> MutexGuard<'_, Option<Running>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configure(&self) {
        let Self { port, bus, options, .. } = self;
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            "protected-mode no".to_owned(),
            "daemonize no".to_owned(),
            "logfile log".to_owned(),
            format!("port {port}"),
        ];
        if !options.sentinel {
            lines.push("save \"\"".to_owned());
            lines.push("repl-diskless-sync-delay 0".to_owned());
            lines.push(format!("appendonly {}", if options.append_only { "yes" } else { "no" }));
            if !is_before_7() {
                lines.push("enable-debug-command local".to_owned());
                lines.push(format!("cluster-port {bus}"));
            }
        }
        if let Some((cert, key)) = &options.tls {
            lines.push(format!("tls-port {}", self.tls));
            lines.push(format!("tls-cert-file {}", cert.display()));
            lines.push(format!("tls-key-file {}", key.display()));
            lines.push(format!("tls-ca-cert-file {}", cert.display()));
            lines.push("tls-auth-clients no".to_owned());
            lines.push("tls-replication yes".to_owned());
            if options.config.iter().any(|line| line == "cluster-enabled yes") {
                lines.push("tls-cluster yes".to_owned());
            }
        }
        lines.extend(options.config.iter().cloned());
        fs::write(self.dir.path().join("redis.conf"), lines.join("\n") + "\n").unwrap();
    }

    /// Whether it is really ours that listens, and not another process that took the port in between.
    fn came_up(&self) -> bool {
        let ours = self.process().as_ref().unwrap().pid.as_raw_nonzero().to_string();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            let answer = self.info("server", "process_id");
            if !answer.is_empty() {
                return answer == ours;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut input) = self.input.take() {
            let _ = io::Write::write_all(&mut input, b"keep\n");
        }
        let _ = self.shell.wait();
    }
}

/// The program under all tests: `redis-server`, or what `REDIS_SERVER` names, which is how Valkey is tried.
fn server() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Whether that is a Redis older than version 7, which has no sharded channels and knows fewer keys.
pub fn is_before_7() -> bool {
    static BEFORE_7: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        let said = Command::new(server()).arg("--version").output().map(|out| out.stdout).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let version = said.split("v=").nth(1).and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        version.is_some_and(|major| major < 7)
    });
    *BEFORE_7
}
