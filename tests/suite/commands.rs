//! `roomcast publish` and `roomcast subscribe` against a pod: what they print, and how they exit.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use crate::harness::{pod, publish};
use roomcast::testing::{
    hub::ConnectionFilter,
    model::{Act, Disconnect, Order, Target},
    pod::Pod,
};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, with something on its standard input.
fn run(args: &[&str], input: &str) -> Output {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn internal(pod: &Pod) -> String {
    format!("http://{}", pod.addresses().internal[0])
}

fn clients(pod: &Pod) -> String {
    format!("ws://{}/ws", pod.addresses().plain[0])
}

/// A follower whose output is read line by line.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").unwrap()
    }

    fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stderr))
    }
}

/// Has blocking processes beside a pod on its own threads.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_is_followed() {
    let pod = pod(|_| ());
    let (api, url) = (internal(&pod), clients(&pod));
    blocking(|| {
        let mut follower = Follower::start(&["subscribe", "news", "--url", &url, "--count", "4"]);
        assert!(follower.line().starts_with("news  -- joined at "));
        let publish = |args: &[&str], input: &str| {
            let base = ["publish", "news", "--url", &api, "--api-key", "test-key"];
            let done = run(&[&base[..2], args, &base[2..]].concat(), input);
            assert!(done.status.success(), "{}", text(&done.stderr));
            text(&done.stdout)
        };
        assert!(publish(&["t", "{\"n\": 12345678901234567890}"], "").starts_with("news "));
        assert!(publish(&["t", "plain words", "--text", "--key", "k"], "").ends_with(" #2\n"));
        assert!(publish(&["t"], "[true]\n").ends_with(" #3\n"));
        let position = publish(&["t", "--binary", "--json"], "\u{0}");
        assert!(position.contains("\"offset\":4"), "{position}");
        for expected in ["{\"n\":12345678901234567890}", "t k  \"plain words\"", "#3", "base64:AA=="].map(str::to_owned)
        {
            let line = follower.line().replace("\": ", "\":");
            assert!(line.contains(&expected), "{line}");
        }
        assert_eq!(follower.end().0, Some(0), "it ends after the events it was asked for");
    });
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_events_and_a_bad_one_is_named() {
    let pod = pod(|_| ());
    let api = internal(&pod);
    blocking(|| {
        let base = ["publish", "r", "t", "--lines", "--url", &api, "--api-key", "test-key"];
        let done = run(&base, "1\n\n{\"a\":2}\n");
        assert_eq!(text(&done.stdout).lines().count(), 2, "{}", text(&done.stderr));
        let done = run(&base, "3\nnot json\n4\n");
        assert_eq!(done.status.code(), Some(1));
        let why = text(&done.stderr);
        assert!(why.contains("line 2: the data is not JSON") && why.contains("--text"), "{why}");
        assert!(text(&done.stdout).trim_end().ends_with("#3"), "the first line is in, the third is not");
    });
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_publish_is_said() {
    let pod = pod(|_| ());
    let api = internal(&pod);
    blocking(|| {
        let refused = |args: &[&str], code: i32, why: &str| {
            let done = run(&[&["publish"], args].concat(), "");
            assert_eq!(done.status.code(), Some(code), "{args:?}");
            assert!(text(&done.stderr).contains(why), "{args:?}: {}", text(&done.stderr));
        };
        refused(&["r", "t", "1", "--url", &api], 1, "an API key is needed: --api-key KEY");
        refused(&["r", "t", "1", "--url", &api, "--api-key", "wrong"], 1, "401");
        refused(&["r{}", "t", "1", "--url", &api, "--api-key", "test-key"], 1, "400");
        refused(&["r", "t", "x", "--url", &api, "--api-key", "test-key"], 1, "the data is not JSON");
        refused(&["r", "t", "1", "--url", "http://127.0.0.1:1", "--api-key", "k"], 1, "refused");
        refused(&["r", "t", "1", "--url", "nonsense", "--api-key", "k"], 1, "not published");
        refused(&["r"], 2, "<TOPIC>");
        refused(&["r", "t", "1", "--text", "--binary"], 2, "cannot be used with");
    });
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_comes_back_with_its_position() {
    let pod = pod(|_| ());
    let url = clients(&pod);
    let mut follower = blocking(|| {
        let mut follower = Follower::start(&["subscribe", "r", "--url", &url]);
        follower.line();
        follower
    });
    publish(&pod, "r", "t", "1").await;
    assert!(blocking(|| follower.line()).contains("#1"));
    let cut = async |disconnect: Disconnect| {
        let everybody = ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
        let cut = pod.services().queues.ask_all(move |worker| {
            for connection in worker.list_connections(&everybody).connections {
                let target = Target::Connection(connection.id.to_string().into());
                worker.obey(&Order { target, act: Act::Disconnect(disconnect) });
            }
        });
        cut.await.unwrap();
    };
    cut(Disconnect::Slow).await;
    publish(&pod, "r", "t", "2").await;
    publish(&pod, "r", "t", "3").await;
    let seen: Vec<String> = blocking(|| (0..3).map(|_| follower.line()).collect());
    assert!(seen[0].contains("going on from") && seen[1].contains("#2") && seen[2].contains("#3"), "{seen:?}");
    cut(Disconnect::Disconnected).await;
    let (code, said) = blocking(|| follower.end());
    assert_eq!(code, Some(1), "who is sent away does not come back");
    assert!(said.contains("4003 disconnected"), "{said}");
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_says_which_events_are_lost() {
    let pod = pod(|settings| settings.default_policy.history_size = 1);
    let url = clients(&pod);
    let mut epoch = String::new();
    for n in 1..=4 {
        epoch = publish(&pod, "r", "t", &n.to_string()).await.epoch.to_string();
    }
    blocking(|| {
        for (since, said) in [
            (format!("{epoch}:1"), "r  -- LOST: #2 to #4 are lost"),
            ("another:2".to_owned(), "r  -- LOST: what came after #2 is lost; it goes on behind #4"),
        ] {
            let mut follower = Follower::start(&["subscribe", "r", "--url", &url, "--since", &since]);
            assert_eq!(follower.line(), said);
            assert!(follower.line().starts_with("r  -- joined at "));
            follower.child.kill().unwrap();
            follower.end();
            // A program reads messages only, and its user the rest.
            let mut program = Follower::start(&["subscribe", "r", "--url", &url, "--since", &since, "--json"]);
            while !program.line().contains("\"type\":\"subscribed\"") {}
            program.child.kill().unwrap();
            let (_, stderr) = program.end();
            assert!(stderr.contains(said), "{stderr}");
        }
    });
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_can_type() {
    let pod = pod(|_| ());
    let url = clients(&pod);
    blocking(|| {
        let mut follower = Follower::start(&["subscribe", "-i", "--url", &url]);
        let mut typed = follower.child.stdin.take().unwrap();
        let mut say = |line: &str| writeln!(typed, "{line}").unwrap();
        say("join demo:1");
        assert!(follower.line().contains("joined at"));
        say("publish demo:1 t {\"a\":1}");
        let mut lines: Vec<String> = (0..3).map(|_| follower.line()).collect();
        lines.sort();
        assert!(lines[0].contains("published as #1"), "{lines:?}");
        assert!(lines[1].contains("#1") && lines[1].contains("{\"a\":1}"), "{lines:?}");
        assert!(lines[2].contains("joined"), "presence of a demo room is told: {lines:?}");
        say("publish other t 1");
        assert!(follower.line().contains("error forbidden"));
        say("stats");
        assert!(follower.line().contains("websocket without TLS"));
        say("quit");
        drop(typed);
        assert_eq!(follower.end().0, Some(0));
    });
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_subscription_is_said() {
    let pod = pod(|_| ());
    let (url, tls) = (clients(&pod), format!("wss://localhost:{}/ws", pod.addresses().tls[0].port()));
    blocking(|| {
        let refused = |args: &[&str], code: i32, why: &str| {
            let done = run(&[&["subscribe"], args].concat(), "");
            assert_eq!(done.status.code(), Some(code), "{args:?}");
            assert!(text(&done.stderr).contains(why), "{args:?}: {}", text(&done.stderr));
        };
        refused(&[], 2, "<ROOMS>");
        refused(&["a b", "--url", &url], 1, "\"a b\"");
        refused(&["r", "--since", "4"], 2, "a position is EPOCH:OFFSET");
        refused(&["r", "s", "--since", "e:4", "--url", &url], 1, "name one room");
        refused(&["r", "--url", "http://localhost/"], 1, "neither ws nor wss");
        refused(&["r", "--url", &url.replace("/ws", "/nowhere"), "--token", "a\nb"], 1, "no header can carry");
        refused(&["r", "--url", &url, "--token", "bad"], 1, "401");
        refused(&["r", "--url", "ws://127.0.0.1:1/ws", "--no-reconnect"], 1, "refused");
        refused(&["r", "--url", &tls], 1, "--insecure any certificate");
        let mut trusting = Follower::start(&["subscribe", "r", "--url", &tls, "--insecure", "--json"]);
        assert!(trusting.line().contains("\"type\":\"welcome\""));
        assert!(trusting.line().contains("\"type\":\"subscribed\""));
        trusting.child.kill().unwrap();
        trusting.end();
    });
    pod.stop();
}
