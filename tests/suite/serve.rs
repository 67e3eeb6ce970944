//! The program as an operator runs it: start, SIGHUP with good and broken files, SIGTERM.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use roomcast_certs::{insecure::client_config_accept_any, make};
use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use testkit::process::Process;

/// How long anything may take that should happen.
const SOON: Duration = Duration::from_secs(10);

/// Starts roomcast with a home of its own.
fn start(dir: &Path, args: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().env("HOME", dir).arg("serve").args(args).args(["--internal-listen", "127.0.0.1:0"]);
    Process::start(command)
}

/// The status of a publish with this key.
fn publish(pod: &Process, key: &str) -> u16 {
    let body = r#"{"room":"a:1","topic":"t","data":1}"#;
    let length = body.len();
    let mut stream = TcpStream::connect(pod.address("internal")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "POST /api/publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Whether the pod says that the configuration, read again, is unusable.
fn is_broken(pod: &Process) -> bool {
    let mut stream = TcpStream::connect(pod.address("internal")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let shown = answer.lines().find_map(|line| line.strip_prefix("roomcast_configuration_broken "));
    shown.unwrap_or_else(|| panic!("{answer}")) == "1"
}

/// The certificate of a new TLS connection.
fn served(pod: &Process) -> Vec<u8> {
    let stream = TcpStream::connect(pod.address("tls")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let client = Arc::new(client_config_accept_any().unwrap());
    let client = ClientConnection::new(client, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tls = StreamOwned::new(client, stream);
    tls.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0];
    tls.read_exact(&mut first).unwrap();
    tls.conn.peer_certificates().unwrap().first().unwrap().to_vec()
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came true");
        thread::sleep(Duration::from_millis(20));
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A new pair in `tls.crt` and `tls.key`; its DER.
    fn certificate(&self) -> Vec<u8> {
        let (certificate, pem) = make(SystemTime::now()).unwrap();
        self.write("tls.crt", &pem.certificate);
        self.write("tls.key", &pem.key);
        certificate.chain().first().unwrap().to_vec()
    }
}

#[test]
fn sighup_takes_over_what_it_can_and_a_broken_file_changes_nothing() {
    let folder = Folder::new();
    let first = folder.certificate();
    let base = format!(
        "listen = '127.0.0.1:0'\nanonymous = true\ncert = '{0}/tls.crt'\nkey = '{0}/tls.key'\n[drain]\ndelay = 0\nwindow = 0\n",
        folder.0.path().display()
    );
    let config = folder.write("rc.toml", &format!("api_keys = ['one']\n{base}"));
    let mut pod = start(folder.0.path(), &["--config", config.to_str().unwrap()]);
    assert_eq!(pod.started()["development"], false);
    assert_eq!((publish(&pod, "one"), publish(&pod, "two"), publish(&pod, "")), (200, 401, 401));
    assert_eq!(served(&pod), first);

    folder.write("rc.toml", &format!("api_keys = ['two']\nworkers = 2\n{base}"));
    let second = folder.certificate();
    pod.signal(Signal::HUP);
    assert_eq!(pod.logged("changed, but takes effect only after a restart")["key"], "workers");
    assert_eq!(pod.logged("configuration reloaded")["changed"], "api_keys");
    eventually(|| (publish(&pod, "one"), publish(&pod, "two")) == (401, 200));
    eventually(|| served(&pod) == second);

    folder.write("rc.toml", &format!("api_keyz = ['three']\n{base}"));
    folder.write("tls.crt", "garbage");
    pod.signal(Signal::HUP);
    let refused = pod.logged("the new configuration is unusable, the old one stays in use");
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .contains("rc.toml:1: api_keyz: there is no such key; did you mean `api_keys`?")
    );
    let refused = pod.logged("the new certificate is unusable, the old one stays in use");
    assert!(refused["error"].as_str().unwrap().starts_with("no certificate in"), "{refused}");
    assert_eq!(publish(&pod, "two"), 200);
    assert_eq!(served(&pod), second);

    let third = folder.certificate();
    pod.signal(Signal::HUP);
    let over = pod.logged("the certificate is usable again");
    assert!(over["level"] == "INFO" && over["failures"].as_u64().unwrap() >= 1, "{over}");
    assert!(over["seconds"].as_f64().unwrap() < 60.0, "{over}");
    eventually(|| served(&pod) == third);
    pod.signal(Signal::HUP);
    pod.logged("the new configuration is unusable, the old one stays in use");
    assert_eq!(pod.times_said("the certificate is usable again"), 1);

    pod.signal(Signal::TERM);
    assert_eq!(pod.wait().code(), Some(0));
}

#[test]
fn a_file_that_changes_is_taken_over_without_a_signal() {
    let folder = Folder::new();
    let base = "plain_listen = '127.0.0.1:0'\nlisten = []\nanonymous = true\ndev = false\nwatch_config = '100ms'\n";
    let config = folder.write("rc.toml", &format!("api_keys = ['one']\n{base}"));
    let pod = start(folder.0.path(), &["--config", config.to_str().unwrap()]);
    assert_eq!(publish(&pod, "one"), 200);

    // As a kubelet does it: the file is replaced as a whole.
    let next = folder.write("next.toml", &format!("api_keys = ['two']\n{base}workers = 7\n"));
    fs::rename(next, &config).unwrap();
    assert_eq!(pod.logged("changed, but takes effect only after a restart")["key"], "workers");
    assert_eq!(pod.logged("configuration reloaded")["changed"], "api_keys");
    eventually(|| (publish(&pod, "one"), publish(&pod, "two")) == (401, 200));

    assert!(!is_broken(&pod));
    folder.write("rc.toml", &format!("api_keyz = ['three']\n{base}"));
    pod.logged("the new configuration is unusable, the old one stays in use");
    eventually(|| is_broken(&pod));
    fs::remove_file(&config).unwrap();
    let gone = pod.logged("the new configuration is unusable, the old one stays in use");
    assert!(gone["error"].as_str().unwrap().contains("cannot read the configuration file"), "{gone}");
    assert_eq!(publish(&pod, "two"), 200);
    folder.write("rc.toml", &format!("api_keys = ['four']\n{base}workers = 7\n"));
    assert_eq!(pod.logged("configuration reloaded")["changed"], "api_keys");
    eventually(|| publish(&pod, "four") == 200);
    eventually(|| !is_broken(&pod));
}

#[test]
fn without_anything_it_is_a_pod_to_try_out_and_keeps_its_certificate() {
    let folder = Folder::new();
    let args = ["--listen", "127.0.0.1:0", "--plain-listen", "localhost:0"];
    let mut pod = start(folder.0.path(), &args);
    assert_eq!(pod.started()["development"], true);
    assert!(pod.address("plain").ip().is_loopback());
    let first = served(&pod);
    assert!(folder.0.path().join(".local/state/roomcast/development.pem").exists());
    pod.signal(Signal::TERM);
    assert_eq!(pod.wait().code(), Some(0));

    let mut again = start(folder.0.path(), &args);
    assert_eq!(served(&again), first);
    again.signal(Signal::INT);
    assert_eq!(again.wait().code(), Some(0));
}

#[test]
fn what_is_missing_is_said_and_nothing_starts() {
    let folder = Folder::new();
    folder.certificate();
    let cert = folder.0.path().join("tls.crt");
    for (args, code, words) in [
        (
            vec!["--cert", "nowhere.pem", "--key", "nowhere.pem", "--anonymous"],
            1,
            "cannot read the certificate file nowhere.pem",
        ),
        (
            vec!["--cert", cert.to_str().unwrap(), "--key", cert.to_str().unwrap(), "--anonymous"],
            1,
            "no private key in",
        ),
        (vec!["--cert", "c", "--key", "k"], 2, "no client could join: set `anonymous = true`"),
        (vec!["--config", "nowhere.toml"], 2, "nowhere.toml: cannot read the configuration file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        let output = command.env_clear().current_dir(folder.0.path()).arg("serve").args(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

/// A request for a WebSocket, and what comes back at once.
fn upgrade(address: SocketAddr, target: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    (stream, answer)
}

/// A text message of a client, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0xfe];
    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Whatever clients send, at the most talkative level: every line is one JSON object (the reader of [`Process`] insists
/// on it), and none holds a token, a key or what was said.
#[test]
fn the_log_is_one_object_a_line_and_holds_no_token() {
    let folder = Folder::new();
    let secret = "a-secret-of-at-least-thirty-two-bytes";
    let config = folder.write("rc.toml", &format!("[tokens]\nhmac_secrets = ['{secret}']\n"));
    let pod = start(
        folder.0.path(),
        &[
            "--config",
            config.to_str().unwrap(),
            "--log-level",
            "trace",
            "--api-key",
            "hunter2",
            "--listen",
            "127.0.0.1:0",
            "--plain-listen",
            "127.0.0.1:0",
        ],
    );
    let key = roomcast::testing::auth::SigningKey::secret(&roomcast::testing::config::HmacSecret::new(secret).unwrap());
    let token = key.token(&serde_json::json!({"sub": "ann\n{\"}", "exp": 4_000_000_000_u64}), None);
    let plain = pod.address("plain");
    // The user's name has a control character: this token is refused, the other is good.
    let refused = token.unwrap();
    let good = key.token(&serde_json::json!({"sub": "a\"n}n", "exp": 4_000_000_000_u64}), None).unwrap();
    for (token, status) in [(&refused, "401"), (&good, "101")] {
        for (target, headers) in [
            ("/ws".to_owned(), format!("Authorization: Bearer {token}\r\n")),
            (format!("/ws?token={token}"), String::new()),
            ("/ws".to_owned(), format!("Sec-WebSocket-Protocol: roomcast.v1, roomcast.token.{token}\r\n")),
        ] {
            let (_, answer) = upgrade(plain, &target, &headers);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
            assert!(!answer.contains(token.as_str()));
        }
        let (mut stream, _) = upgrade(plain, "/ws", "");
        stream.write_all(&frame(&format!("{{\"type\":\"connect\",\"token\":\"{token}\"}}"))).unwrap();
        stream.write_all(&frame("{\"type\":\"whispered \\u001b[31m\\n{}\",\"id\":\"whispered\"}")).unwrap();
        stream.write_all(b"\xff\xff whispered\n{\"level\":\"ERROR\"}\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    for bytes in [&b"\x16\x03\x01 whispered\n"[..], b"GET /whispered\n\x00 HTTP/1.1\r\n\r\n", b"\n{\"a\":1}\n"] {
        for listener in ["plain", "tls", "internal"] {
            let mut stream = TcpStream::connect(pod.address(listener)).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            stream.write_all(bytes).unwrap();
            let _ = stream.read(&mut [0; 64]);
        }
    }
    assert_eq!(publish(&pod, "hunter2"), 200);
    pod.signal(Signal::TERM);
    let mut lines = Vec::new();
    while let Some(line) = pod.line() {
        lines.push(line.to_string());
        if line["message"] == "ended" {
            break;
        }
    }
    assert!(lines.iter().any(|line| line.contains("connection ended") && line.contains("a\\\"n}n")), "{lines:#?}");
    for line in &lines {
        for word in [&refused[..], &good[..], good.rsplit('.').next().unwrap(), secret, "hunter2", "whispered"] {
            assert!(!line.contains(word), "{word} in {line}");
        }
    }
    assert!(lines.last().unwrap().contains("ended"));
}
