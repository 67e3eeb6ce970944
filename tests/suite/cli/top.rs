//! `roomcast top` in a terminal: a pseudo-terminal stands in for it, a small server for the pod where the pod must be silent first.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::terminal::PseudoTerminal;

use super::{roomcast, stderr};
use crate::harness::pod;

/// What a terminal is told when a program takes it, and gives it back.
const TAKEN: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";

fn top(terminal: &PseudoTerminal, url: &str, no_color: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["top", url]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    terminal.spawn(command)
}

fn given_back(terminal: &PseudoTerminal, modes: &str) {
    terminal.wait_for(GIVEN_BACK);
    let text = terminal.text();
    assert_eq!((text.matches(TAKEN).count(), text.matches(GIVEN_BACK).count()), (1, 1), "{text:?}");
    assert!(text.rfind("\u{1b}[?25h") > text.rfind("\u{1b}[?25l"), "the cursor is seen again: {text:?}");
    assert_eq!(terminal.modes(), modes, "raw mode ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_shown_and_keys_turn_the_pages() {
    let own = pod(|_| ());
    let url = format!("http://{}/", own.addresses().internal[0]);
    tokio::task::block_in_place(|| {
        let mut terminal = PseudoTerminal::new(80, 24);
        let modes = terminal.modes();
        let mut child = top(&terminal, &url, false);
        for text in ["READY", "connections", "roomcast", "quit"] {
            terminal.wait_for(text);
        }
        terminal.type_in("2");
        terminal.wait_for("waiting_sockets");
        terminal.type_in("3");
        terminal.wait_for("pod,");
        terminal.type_in("?");
        terminal.wait_for("PageUp,");
        terminal.type_in("q");
        // Help is open: Esc would close it, q ends.
        assert_eq!(child.wait().unwrap().code(), Some(0));
        given_back(&terminal, &modes);
        assert!(terminal.text().contains("\u{1b}[38;5;"), "colours: {:?}", terminal.text());
    });
    own.stop();
}

#[test]
fn no_color_means_none_and_signals_give_the_terminal_back() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let terminal = PseudoTerminal::new(60, 12);
        let modes = terminal.modes();
        let mut child = top(&terminal, &url, true);
        terminal.wait_for("ASKING");
        assert_ne!(terminal.modes(), modes, "it is raw meanwhile");
        kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        given_back(&terminal, &modes);
        let text = terminal.text();
        assert!(!text.contains("\u{1b}[38;") && !text.contains("\u{1b}[31"), "{text:?}");
    }
}

#[test]
fn a_pod_that_does_not_answer_is_said_and_shown_once_it_does() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&answers);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                line.clear();
            }
            if told.load(Ordering::Acquire) {
                let body = r#"{"pod": "00ff", "version": "9.9.9", "readiness": "ready", "uptime_ms": 1000}"#;
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
                let _ = write!(&stream, "{head} {}\r\n\r\n{body}", body.len());
            }
        }
    });
    let mut terminal = PseudoTerminal::new(80, 24);
    let modes = terminal.modes();
    let mut child = top(&terminal, &url, false);
    // Words stand apart: what lies between two of them is not written, because the screen is empty there.
    for text in ["NO ANSWER", "again"] {
        terminal.wait_for(text);
    }
    answers.store(true, Ordering::Release);
    terminal.wait_for("READY");
    terminal.wait_for("9.9.9");
    terminal.type_in("\u{3}");
    assert_eq!(child.wait().unwrap().code(), Some(0), "Ctrl-C is a key");
    given_back(&terminal, &modes);
}

#[test]
fn without_a_terminal_or_a_url_it_says_so_and_fails() {
    let output = roomcast(&["top"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("needs a terminal to draw on; roomcast stats"), "{}", stderr(&output));
    let output = roomcast(&["top", "nonsense"], &[]);
    assert_eq!((output.status.code(), stderr(&output).contains("a URL is http://HOST:PORT")), (Some(1), true));
}
