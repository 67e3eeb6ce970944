//! A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port of 127.0.0.1.
//!
//! Never uses a cluster of the system, and no socket but that port. `initdb` refuses to run as root, so that root runs it as the user
//! `postgres`, or `nobody`. Everything here blocks. Always holds: a server ends with its value, also when a test panics or its process is
//! killed, because a shell stands beside each that waits for the end of its input.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{ports, redis::wait_or};

/// The user of the cluster, and the database that is there from the beginning.
const USER: &str = "roomcast";

struct Running {
    shell: Child,
    input: Option<ChildStdin>,
    pid: Pid,
}

/// A server.
pub struct Postgres {
    port: u16,
    dir: TempDir,
    /// Further arguments of the server.
    options: Vec<String>,
    /// The bytes of a file system of its own.
    space: Option<usize>,
    process: Mutex<Option<Running>>,
}

impl Postgres {
    /// Starts one that answers. It does not flush to disk, which no test needs: none takes the machine's power away.
    pub fn start() -> Self {
        Self::start_with(&["fsync=off"])
    }

    /// Starts one that takes TLS as well, with these PEM files.
    pub fn start_tls(cert: &Path, key: &Path) -> Self {
        Self::begin(&["fsync=off", "ssl=on"], &[("server.crt", cert), ("server.key", key)])
    }

    /// Starts one with these lines of its configuration.
    pub fn start_with(lines: &[&str]) -> Self {
        Self::begin(lines, &[])
    }

    /// Starts one that has a small file system for tables, which other processes do not see, at [`space`](Self::space). `None`: this process may
    /// make none.
    pub fn start_with_space(bytes: usize) -> Option<Self> {
        let may = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        may.is_ok_and(|out| out.status.success()).then(|| Self::begin_with(&["fsync=off"], &[], Some(bytes)))
    }

    /// The folder of that file system.
    pub fn space(&self) -> PathBuf {
        self.dir.path().join("space")
    }

    fn begin(lines: &[&str], files: &[(&str, &Path)]) -> Self {
        Self::begin_with(lines, files, None)
    }

    /// With these files in its folder.
    fn begin_with(lines: &[&str], files: &[(&str, &Path)], space: Option<usize>) -> Self {
        for _ in 0..10 {
            let [port] = ports::free();
            let dir = tempfile::Builder::new().prefix("roomcast-postgres-").tempdir().unwrap();
            let options = lines.iter().flat_map(|line| ["-c".to_owned(), (*line).to_owned()]).collect();
            let server = Self { port, dir, options, space, process: Mutex::new(None) };
            server.make();
            for (name, file) in files {
                server.put(name, file);
            }
            server.restart();
            if server.came_up() {
                return server;
            }
        }
        panic!("PostgreSQL does not start");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// An empty database of that name, and its address.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// The address of a database.
    pub fn url(&self, name: &str) -> String {
        self.url_by(self.port, name)
    }

    /// The address of a database that is reached by another port.
    pub fn url_by(&self, port: u16, name: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{port}/{name}")
    }

    /// What a statement says: a line a row, its columns with `|` between them.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        self.try_sql(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The same, or why not.
    pub fn try_sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let out = Command::new(program("psql"))
            .args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER])
            .args(["-p", &self.port.to_string(), "-d", database, "-c", statement])
            .env("PGCONNECT_TIMEOUT", "5")
            .output()
            .expect("psql");
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }

    /// Ends it at once, as a crash does: what it confirmed is in its log.
    pub fn kill(&self) {
        drop(self.process().take());
    }

    /// Starts it again with the same files.
    pub fn restart(&self) {
        self.kill();
        // The shell holds the server's process id until it has ended it, so that no other process can have it.
        let script = r#"[ -z "$SPACE" ] || { mount -t tmpfs -o "size=$SPACE" tmpfs "$DIR/space" && chown "$OWNER" "$DIR/space"; } || exit
                        "$@" >>"$LOG" 2>&1 & server=$!; echo $server
                        read -r keep; kill -QUIT $server; wait $server
                        [ "$keep" = keep ] || rm -rf "$DIR""#;
        let mut command = Command::new(if self.space.is_some() { "unshare" } else { "sh" });
        if self.space.is_some() {
            command.args(["--mount", "sh"]);
        }
        let mut shell = command
            .args(["-c", script, "sh"])
            .args(as_its_user())
            .arg(program("postgres"))
            .args(["-D", &self.data().to_string_lossy(), "-p", &self.port.to_string(), "-h", "127.0.0.1"])
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "shared_buffers=16MB"])
            .args(&self.options)
            .env("DIR", self.dir.path())
            .env("SPACE", self.space.map_or_else(String::new, |bytes| bytes.to_string()))
            .env("OWNER", its_user().unwrap_or("root"))
            .env("LOG", self.dir.path().join("log"))
            .current_dir("/")
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

    /// Waits until it answers.
    pub fn wait_ready(&self) {
        wait_or("PostgreSQL", || self.try_sql("postgres", "SELECT 1").is_ok(), || self.log());
    }

    /// SIGSTOP for the server and all of its processes: connections stand and say nothing.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn signal_all(&self, signal: Signal) {
        let process = self.process();
        let parent = process.as_ref().expect("a running server").pid;
        // Its children have it as their parent, wherever they are in a group.
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero()));
        let children = children.unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        for pid in [parent].into_iter().chain(pids) {
            let _ = kill_process(pid, signal);
        }
    }

    fn make(&self) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(self.data()).unwrap();
        fs::create_dir(self.space()).unwrap();
        fs::write(self.dir.path().join("log"), "").unwrap();
        give(&self.data());
        let mut command: Vec<String> = as_its_user();
        command.push(program("initdb").to_string_lossy().into_owned());
        let out = Command::new(&command[0])
            .args(&command[1..])
            .args([
                "-D",
                &self.data().to_string_lossy(),
                "-A",
                "trust",
                "-U",
                USER,
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .current_dir("/")
            .output()
            .expect("initdb");
        assert!(out.status.success(), "initdb: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Copies a file, which no other user may read.
    fn put(&self, name: &str, file: &Path) {
        let path = self.data().join(name);
        fs::copy(file, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give(&path);
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Whether it is really ours that listens.
    fn came_up(&self) -> bool {
        let began = std::time::Instant::now();
        let ours = self.data().to_string_lossy().into_owned();
        while began.elapsed() < std::time::Duration::from_secs(20) {
            if let Ok(at) = self.try_sql("postgres", "SHOW data_directory") {
                return at == ours;
            }
            if self.log().contains("could not bind") {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        false
    }

    fn process(&self) -> MutexGuard<'_, Option<Running>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was paused hears no signal.
        let _ = kill_process(self.pid, Signal::CONT);
        if let Some(mut input) = self.input.take() {
            let _ = input.write_all(b"keep\n");
        }
        let _ = self.shell.wait();
    }
}

/// A program of PostgreSQL's newest version here: of `POSTGRES_BIN`, or where Debian has them, or on the path.
fn program(name: &str) -> PathBuf {
    let version = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let folder = std::env::var_os("POSTGRES_BIN").map(PathBuf::from).or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        versions.filter(|path| version(path) >= Some(15)).max_by_key(|path| version(path)).map(|path| path.join("bin"))
    });
    let found = folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let installed = Command::new(&found).arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(installed, "{} is missing: install Debian's package postgresql, or run tests/run cargo", found.display());
    found
}

/// The user as whom servers run, if that is not this process' own.
fn its_user() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let has = |name: &str| users.lines().any(|line| line.split(':').next() == Some(name));
    Some(if has("postgres") { "postgres" } else { "nobody" })
}

/// Gives a file or a folder to that user.
fn give(path: &Path) {
    let Some(user) = its_user() else { return };
    let owned = Command::new("chown").arg(user).arg(path).status().expect("chown");
    assert!(owned.success(), "{} cannot be given to the user {user}", path.display());
}

/// What runs the command behind it as that user, in the same process.
fn as_its_user() -> Vec<String> {
    let Some(user) = its_user() else { return vec!["env".to_owned()] };
    ["setpriv", "--reuid", user, "--regid", if user == "nobody" { "nogroup" } else { user }, "--clear-groups"]
        .map(str::to_owned)
        .to_vec()
}
