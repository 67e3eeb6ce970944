//! The peers' programs, got once into a cache folder: `TEST_TOOLS`, or `roomcast` in the user's cache folder, as the tests have it.
//!
//! Never writes anything elsewhere. Always holds: what is in the folder under its name is whole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::error::{BenchError, Doing as _};

const CENTRIFUGO: &str = "github.com/centrifugal/centrifugo/v6@v6.9.1";

/// The files of socket.io's server.
const SOCKETIO: [(&str, &str); 3] = [
    ("package.json", include_str!("../../peers/socketio/package.json")),
    ("package-lock.json", include_str!("../../peers/socketio/package-lock.json")),
    ("server.mjs", include_str!("../../peers/socketio/server.mjs")),
];

/// Centrifugo's program.
pub(super) async fn centrifugo() -> Result<PathBuf, BenchError> {
    let version = CENTRIFUGO.rsplit('@').next().unwrap_or_default();
    let bin = cache()?.join("bin");
    let program = bin.join(format!("centrifugo-{version}"));
    if program.is_file() {
        return Ok(program);
    }
    let message = "Go builds Centrifugo: install Go 1.26 or later, or leave it out with --peers";
    need("go", "version", message).await?;
    eprintln!("building {CENTRIFUGO} (once; it takes minutes) ...");
    let folder = Folder::new(&cache()?, "go-centrifugo")?;
    let mut go = Command::new("go");
    go.args(["install", CENTRIFUGO]).current_dir(&folder.0).env("GOFLAGS", "-modcacherw").env("GOWORK", "off");
    for (name, below) in [("GOPATH", ""), ("GOMODCACHE", "mod"), ("GOCACHE", "cache"), ("GOBIN", "bin")] {
        go.env(name, folder.0.join(below));
    }
    run(go, "go install").await?;
    fs::create_dir_all(&bin).doing(|| format!("making {}", bin.display()))?;
    moved(&folder.0.join("bin/centrifugo"), &program)?;
    Ok(program)
}

/// Node, and the server to run with it.
pub(super) async fn socketio() -> Result<(PathBuf, PathBuf), BenchError> {
    let message = "Node 20 or later runs socket.io: install it, or leave socket.io out with --peers";
    need("node", "--version", message).await?;
    let whole = cache()?.join("peer-socketio");
    let is_there = |(name, text): &(&str, &str)| fs::read_to_string(whole.join(name)).is_ok_and(|is| is == *text);
    if !SOCKETIO.iter().all(is_there) {
        need("npm", "--version", "npm installs socket.io: install it, or leave socket.io out with --peers").await?;
        let folder = Folder::new(&cache()?, "peer-socketio")?;
        for (name, text) in SOCKETIO {
            let path = folder.0.join(name);
            fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&folder.0);
        run(npm, "npm ci").await?;
        drop(fs::remove_dir_all(&whole));
        moved(&folder.0, &whole)?;
    }
    Ok((PathBuf::from("node"), whole.join("server.mjs")))
}

/// A folder in which something is made; it is removed when this is dropped, unless it was moved.
struct Folder(PathBuf);

impl Folder {
    fn new(beside: &Path, name: &str) -> Result<Self, BenchError> {
        let folder = beside.join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&folder).doing(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn cache() -> Result<PathBuf, BenchError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let beside =
        || Some(variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?.join("roomcast"));
    variable("TEST_TOOLS").or_else(beside).ok_or_else(|| {
        BenchError::Usage("there is no folder for the peers: set TEST_TOOLS, XDG_CACHE_HOME or HOME".to_owned())
    })
}

fn moved(from: &Path, to: &Path) -> Result<(), BenchError> {
    match fs::rename(from, to) {
        // Another run was faster.
        Err(_) if to.exists() => Ok(()),
        result => result.doing(|| format!("moving {} to {}", from.display(), to.display())),
    }
}

async fn need(program: &str, argument: &str, message: &str) -> Result<(), BenchError> {
    let mut command = Command::new(program);
    let asked = command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if asked.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(BenchError::Usage(message.to_owned()))
}

async fn run(mut command: Command, what: &str) -> Result<(), BenchError> {
    let doing = || format!("running {what}");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Child { who: what.to_owned(), what: format!("failed ({}): {said}", output.status) })
}
