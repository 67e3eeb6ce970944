//! Pods as processes: started, killed, stopped and continued, and started again at the same addresses.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use testkit::process::Process;

/// How long a pod may take to send its clients away.
const DRAIN: Duration = Duration::from_secs(120);

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
    process: Process,
    pub addresses: Addresses,
}

impl Pod {
    /// Starts a pod with these arguments beside its addresses.
    pub fn start(folder: &Path, args: &[String]) -> Self {
        let free: SocketAddr = ([127, 0, 0, 1], 0).into();
        let process = launch(folder, args, Addresses { clients: free, internal: free });
        let addresses = Addresses { clients: process.address("plain"), internal: process.address("internal") };
        Self { args: args.to_vec(), folder: folder.to_owned(), process, addresses }
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// How many lines of its log so far have this text.
    pub fn times_said(&self, text: &str) -> usize {
        self.process.times_said(text)
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM: it sends its clients away, and ends by itself.
    pub fn drain(&mut self) {
        self.signal(Signal::TERM);
        self.process.wait_for(DRAIN);
    }

    /// Starts it again, at the same addresses.
    pub fn restart(&mut self) {
        self.kill();
        self.process = launch(&self.folder, &self.args, self.addresses);
    }
}

fn launch(folder: &Path, args: &[String], addresses: Addresses) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().env("HOME", folder).args(["serve", "--dev", "--workers", "2"]);
    command.args(["--api-key", KEY, "--listen", "127.0.0.1:0"]);
    command.args(["--plain-listen", &addresses.clients.to_string()]);
    command.args(["--internal-listen", &addresses.internal.to_string()]);
    command.args(args);
    Process::start(command)
}
