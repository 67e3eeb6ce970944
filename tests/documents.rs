//! Every command in the documents for operators, run as it stands there; every configuration that they show; and every file
//! that the map names.
//! (README.md and docs/API.md are run by tests/js/clients, beside a browser.)
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::SystemTime,
};

use testkit::process::Process;

const OPERATIONS: &str = include_str!("../docs/OPERATIONS.md");
const CERTIFICATES: &str = include_str!("../certs/README.md");

/// The text below a heading, up to the next one.
fn section(document: &'static str, heading: &str) -> &'static str {
    let section = document.split("\n## ").find(|section| section.starts_with(&format!("{heading}\n")));
    section.unwrap_or_else(|| panic!("the section {heading} is no longer there"))
}

fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let start = format!("\n```{language}\n");
    text.split(&start).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// The commands of the `console` blocks, without their prompts.
fn commands(text: &str) -> Vec<String> {
    let command = |line: &str| line.strip_prefix("$ ").unwrap_or_else(|| panic!("not a command: {line}")).to_owned();
    blocks(text, "console").iter().flat_map(|block| block.lines()).map(command).collect()
}

/// A shell that finds roomcast, and nothing of whoever runs the tests. Pods listen on free ports.
fn shell(script: &str, dir: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_roomcast")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(dir).env_clear();
    command.env("PATH", path).env("HOME", dir).env("KEY", "secret");
    for listener in ["LISTEN", "PLAIN_LISTEN", "INTERNAL_LISTEN"] {
        command.env(format!("ROOMCAST_{listener}"), "127.0.0.1:0");
    }
    command
}

fn run(script: &str, dir: &Path) -> Output {
    shell(script, dir).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A pod that has started, by a command of the documents.
fn start(command: &str, dir: &Path) -> Process {
    Process::start(shell(&format!("exec {command}"), dir))
}

fn certificate(dir: &Path) {
    let (_, pem) = roomcast_certs::make(SystemTime::now()).unwrap();
    fs::write(dir.join("tls.crt"), &pem.certificate).unwrap();
    fs::write(dir.join("tls.key"), &pem.key).unwrap();
}

#[test]
fn the_commands_about_starting_work() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let commands = commands(section(OPERATIONS, "Starting"));
    assert!(commands.len() >= 3, "the commands are no longer where they were: {commands:?}");
    for command in commands {
        if command.starts_with("roomcast serve") {
            assert_eq!(start(&command, dir.path()).started()["development"], false);
        } else {
            let output = run(&command, dir.path());
            assert!(output.status.success(), "{command}: {}", said(&output));
        }
    }
}

#[test]
fn the_commands_about_certificates_work() {
    let dir = tempfile::tempdir().unwrap();
    let pod = start("roomcast serve", dir.path());
    let scripts = blocks(CERTIFICATES, "sh");
    assert!(scripts.len() >= 2, "the commands are no longer where they were: {scripts:?}");
    for script in scripts {
        // A pod goes on until it is told to end, and there are other pods on this machine.
        let (serve, rest): (Vec<_>, Vec<_>) = script.lines().partition(|line| line.starts_with("roomcast serve"));
        let rest = rest.join("\n").replace("8443", &pod.address("tls").port().to_string());
        let rest = rest.replace("$(pidof roomcast)", &pod.id().to_string());
        let output = run(&rest, dir.path());
        assert!(output.status.success(), "{rest}: {}", said(&output));
        for line in serve {
            if !dir.path().join("tls.crt").exists() {
                certificate(dir.path());
            }
            start(&line.replace('…', "--anonymous"), dir.path());
        }
    }
}

#[test]
fn the_commands_about_tokens_work() {
    let commands = commands(section(OPERATIONS, "Tokens"));
    assert!(commands.len() >= 8, "the commands are no longer where they were: {commands:?}");
    let dir = tempfile::tempdir().unwrap();
    let output = run(&commands.join("\n"), dir.path());
    let out = said(&output);
    assert!(output.status.success(), "{out}");
    assert_eq!(out.matches("The token is good.").count(), 2, "{out}");
    assert!(out.contains("chat:*: join, publish") && out.contains("The configuration is good."), "{out}");
}

#[test]
fn every_configuration_is_a_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roomcast.toml");
    let shown = blocks(OPERATIONS, "toml");
    assert!(!shown.is_empty());
    for text in shown {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        let output = command.args(["check-config", "--config"]).arg(&file).env_clear().output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !out.contains("Warning"), "{out}{err}");
    }
}

/// The program's code and that of the crates beside it, as one text: literals that go on in the next line are whole.
fn sources() -> String {
    fn walk(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, text);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let (root, mut text) = (Path::new(env!("CARGO_MANIFEST_DIR")), String::new());
    ["src", "certs/src"].iter().for_each(|folder| walk(&root.join(folder), &mut text));
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + part.trim_start())
}

#[test]
fn every_line_of_the_log_that_the_document_lists_is_written() {
    let (section, sources) = (section(OPERATIONS, "Logs"), sources());
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let columns = rows.map(|row| row.trim_matches('|').split(" | ").skip(1).collect::<Vec<_>>());
    let mut found = 0;
    for line in columns.flatten().flat_map(|column| column.split('`').skip(1).step_by(2)) {
        if line.contains(' ') {
            assert!(sources.contains(line), "no code writes the line `{line}`");
            found += 1;
        }
    }
    assert!(found >= 35, "{found} lines: the table is no longer where it was");
}

/// What stands between backquotes and is a path with a folder in it.
fn paths(document: &str) -> Vec<&str> {
    let is_path = |text: &&str| {
        let (relative, folder) = (!text.starts_with('/'), text.contains('/'));
        relative && folder && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
    };
    document.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_path).collect()
}

#[test]
fn every_file_that_the_documents_for_developers_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["docs/ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let document = fs::read_to_string(root.join(name)).unwrap();
        let named = paths(&document);
        assert!(!named.is_empty() || name == "SECURITY.md", "{name} names no file");
        for path in named {
            let there = ["", "src", "helm/roomcast"].iter().any(|folder| root.join(folder).join(path).exists());
            assert!(there, "{name} names {path}, which there is not");
        }
    }
}

#[test]
fn no_code_but_the_table_of_presets_knows_a_presets_name() {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("config/preset.rs") {
                let text = fs::read_to_string(&path).unwrap();
                for preset in roomcast::testing::config::Preset::ALL {
                    let name = format!("\"{}\"", preset.name);
                    let code = |line: &&str| line.contains(&name) && !line.trim_start().starts_with("//");
                    found.extend(text.lines().filter(code).map(|line| format!("{}: {line}", path.display())));
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.is_empty(), "{found:#?}");
}
