//! The examples about tokens in `docs/OPERATIONS.md`, run as they stand there.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path, process::Command};

const DOCUMENT: &str = include_str!("../docs/OPERATIONS.md");

fn section() -> &'static str {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with("Tokens\n"));
    section.expect("the section about tokens is no longer there")
}

fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("\n```{language}\n");
    section().split(&start).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[test]
fn every_command_works() {
    let commands: Vec<String> = blocks("console")
        .iter()
        .flat_map(|block| block.lines())
        .map(|line| line.strip_prefix("$ ").unwrap_or_else(|| panic!("not a command: {line}")).to_owned())
        .collect();
    assert!(commands.len() >= 8, "the commands are no longer where they were: {commands:?}");
    let dir = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_roomcast")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands.join("\n")])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", path)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.matches("The token is good.").count(), 2, "{out}");
    assert!(out.contains("chat:*: join, publish") && out.contains("The configuration is good."), "{out}");
}

#[test]
fn every_configuration_is_a_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roomcast.toml");
    assert!(!blocks("toml").is_empty());
    for text in blocks("toml") {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        let output = command.args(["check-config", "--config"]).arg(&file).env_clear().output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !out.contains("Warning"), "{out}{err}");
    }
}
