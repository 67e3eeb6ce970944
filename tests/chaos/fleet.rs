//! Pods as processes: started, killed, stopped and continued, and started again at the same addresses.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The key of every pod's API.
pub const KEY: &str = "chaos";

/// Where a pod is.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub clients: SocketAddr,
    pub internal: SocketAddr,
}

/// One pod.
pub struct Pod {
    args: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
    pub addresses: Addresses,
    log: Arc<Mutex<Vec<String>>>,
}

impl Pod {
    /// Starts a pod with these arguments beside its addresses.
    pub fn start(folder: &Path, args: &[String]) -> Self {
        let free: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut pod = Self {
            args: args.to_vec(),
            folder: folder.to_owned(),
            child: None,
            addresses: Addresses { clients: free, internal: free },
            log: Arc::default(),
        };
        pod.launch();
        pod
    }

    fn launch(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        command.env_clear().env("HOME", &self.folder).args(["serve", "--dev", "--log", "json", "--workers", "2"]);
        command.args(["--api-key", KEY, "--listen", "127.0.0.1:0"]);
        command.args(["--plain-listen", &self.addresses.clients.to_string()]);
        command.args(["--internal-listen", &self.addresses.internal.to_string()]);
        let mut child = command.args(&self.args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (started, is_started) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
                if parsed["message"] == "started" {
                    let address = |name: &str| parsed[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
                    let _ = started.send(Addresses { clients: address("plain"), internal: address("internal") });
                }
                let mut log = log.lock().unwrap();
                if log.len() < 10_000 {
                    log.push(line);
                }
            }
        });
        self.child = Some(child);
        self.addresses = is_started
            .recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("the pod did not start; it said:\n{}", self.said()));
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let log = self.log.lock().unwrap();
        log[log.len().saturating_sub(30)..].join("\n")
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM: it sends its clients away, and ends by itself.
    pub fn drain(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Starts it again, at the same addresses.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
    }
}
