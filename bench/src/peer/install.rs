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
const NATS: &str = "github.com/nats-io/nats-server/v2@v2.15.3";
/// Mercure's standalone server, with the versions of all that it is made of.
const MERCURE: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../peers/mercure/go.mod")),
    ("go.sum", include_str!("../../peers/mercure/go.sum")),
    ("main.go", include_str!("../../peers/mercure/main.go")),
];

/// Where Debian's packages put nginx and nchan.
const NGINX: [&str; 2] = ["usr/sbin/nginx", "usr/lib/nginx/modules/ngx_nchan_module.so"];

/// The files of socket.io's server.
const SOCKETIO: [(&str, &str); 3] = [
    ("package.json", include_str!("../../peers/socketio/package.json")),
    ("package-lock.json", include_str!("../../peers/socketio/package-lock.json")),
    ("server.mjs", include_str!("../../peers/socketio/server.mjs")),
];

/// Centrifugo's program.
pub(super) async fn centrifugo() -> Result<PathBuf, BenchError> {
    go("centrifugo", CENTRIFUGO.rsplit('@').next(), &["install", CENTRIFUGO], &[]).await
}

/// The program of NATS.
pub(super) async fn nats() -> Result<PathBuf, BenchError> {
    go("nats-server", NATS.rsplit('@').next(), &["install", NATS], &[]).await
}

/// Mercure's program.
pub(super) async fn mercure() -> Result<PathBuf, BenchError> {
    let required = MERCURE[0].1.lines().find_map(|line| line.strip_prefix("require github.com/dunglas/mercure "));
    go("mercure", required, &["build", "-o", "bin/mercure", "."], &MERCURE).await
}

/// A program that Go builds, of a module or of these files.
async fn go(
    name: &str,
    version: Option<&str>,
    arguments: &[&str],
    files: &[(&str, &str)],
) -> Result<PathBuf, BenchError> {
    let version = version.unwrap_or_default();
    let bin = cache()?.join("bin");
    let program = bin.join(format!("{name}-{version}"));
    if program.is_file() {
        return Ok(program);
    }
    let message = format!("Go builds {name}: install Go 1.26 or later, or leave it out with --peers");
    need("go", "version", &message).await?;
    eprintln!("building {name} {version} (once; it takes minutes) ...");
    let folder = Folder::new(&cache()?, &format!("go-{name}"))?;
    for (file, text) in files {
        let path = folder.0.join(file);
        fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
    }
    let mut go = Command::new("go");
    go.args(arguments).current_dir(&folder.0).env("GOFLAGS", "-modcacherw").env("GOWORK", "off");
    for (name, below) in [("GOPATH", "go"), ("GOMODCACHE", "mod"), ("GOBIN", "bin")] {
        go.env(name, folder.0.join(below));
    }
    // What has been compiled for one of them, the standard library above all, serves the next.
    go.env("GOCACHE", cache()?.join("go-build"));
    run(go, &format!("go {}", arguments.join(" "))).await?;
    fs::create_dir_all(&bin).doing(|| format!("making {}", bin.display()))?;
    moved(&folder.0.join("bin").join(name), &program)?;
    Ok(program)
}

/// nginx, and its module nchan: those that are installed, or else Debian's packages, unpacked.
pub(super) async fn nchan() -> Result<[PathBuf; 2], BenchError> {
    let below = |root: &Path| NGINX.map(|file| root.join(file));
    let whole = cache()?.join("peer-nchan");
    for root in [Path::new("/"), &whole] {
        let files = below(root);
        if files.iter().all(|file| file.is_file()) {
            return Ok(files);
        }
    }
    let message = "nginx with nchan is not installed, and apt-get is missing, which would get it: install both (Debian: apt-get install \
                   libnginx-mod-nchan), or leave nchan out with --peers";
    need("apt-get", "--version", message).await?;
    eprintln!("getting nginx and nchan (once) ...");
    let folder = Folder::new(&cache()?, "peer-nchan")?;
    let get = || {
        let mut get = Command::new("apt-get");
        get.args(["download", "nginx", "libnginx-mod-nchan"]).current_dir(&folder.0);
        get
    };
    if run(get(), "apt-get download").await.is_err() {
        // It may have no list of packages yet, or an old one.
        let mut update = Command::new("apt-get");
        update.args(["update", "-q"]);
        run(update, "apt-get update").await?;
        run(get(), "apt-get download").await?;
    }
    let packages = fs::read_dir(&folder.0).doing(|| format!("reading {}", folder.0.display()))?;
    for package in packages.filter_map(Result::ok) {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(package.path()).arg(&folder.0);
        run(unpack, "dpkg-deb").await?;
    }
    drop(fs::remove_dir_all(&whole));
    moved(&folder.0, &whole)?;
    Ok(below(&whole))
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
