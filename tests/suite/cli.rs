//! The program from outside: what it prints, and how it exits.

mod doctor;
mod files;
mod stats;
mod terminal;
mod top;
mod version;

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

/// Runs roomcast without the variables of whoever runs the tests.
pub fn roomcast(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(variables.iter().copied()).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_default_file_is_a_good_file() {
    let printed = roomcast(&["default-config"], &[]);
    assert!(printed.status.success());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roomcast.toml");
    fs::write(&file, &printed.stdout).unwrap();

    let checked = roomcast(&["check-config", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let report = stdout(&checked);
    assert!(report.starts_with("The configuration is good.\n"), "{report}");
    assert!(report.contains("mode             development\n"), "{report}");
    assert!(!report.contains("Set:"), "a file of comments sets nothing: {report}");
}

#[test]
fn a_dialect_with_mistakes_keeps_a_pod_from_starting_and_each_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    let text = r#"
[[dialect]]
name = "shop"
paths = ["shop"]

[[dialect.command]]
when = { "type" = "join" }
does = "dance"
room = "event:{/id"

[[dialect.message]]
on = "pong"
write = '{"type": "pong", "at": "{when}"}'

[[dialect.event]]
write = '{"type": "{topic}"'
"#;
    std::fs::write(&file, text).unwrap();
    for command in ["check-config", "serve"] {
        let refused = roomcast(&[command, "--config", file.to_str().unwrap()], &[]);
        assert_eq!(refused.status.code(), Some(2), "{command}");
        let said = stderr(&refused);
        for (line, what) in [
            (4, "dialect.paths = [\"shop\"]"),
            (7, "dialect.command.when"),
            (8, "dialect.command.does = \"dance\""),
            (9, "dialect.command.room = \"event:{/id\""),
            (13, "dialect.message.write"),
            (16, "dialect.event.write"),
        ] {
            let start = format!("rc.toml:{line}: {what}");
            let problem = said.lines().find(|problem| problem.contains(&start));
            let problem = problem.unwrap_or_else(|| panic!("{command}: no {start} in\n{said}"));
            assert!(problem.len() > start.len() + 20, "it says what is allowed: {problem}");
        }
    }
}

#[test]
fn check_config_says_where_each_value_comes_from_and_never_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    fs::write(&file, "origins = ['https://app.example.com']\n\n[limits]\nmax_rooms = 9\n").unwrap();
    let variables = [("ROOMCAST_CONFIG", file.to_str().unwrap()), ("ROOMCAST_API_KEY", "hunter2")];
    let checked = roomcast(&["check-config", "--workers", "3"], &variables);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    let report = stdout(&checked);
    for line in [
        "  workers = 3  (--workers)".to_owned(),
        "  api_keys = [\"…\"]  (ROOMCAST_API_KEY)".to_owned(),
        format!("  limits.max_rooms = 9  ({}:4)", file.display()),
        format!("  origins = [\"https://app.example.com\"]  ({}:1)", file.display()),
    ] {
        assert!(report.lines().any(|printed| printed == line), "{line}\n{report}");
    }
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn what_is_wrong_goes_to_stderr_and_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    fs::write(&file, "workers = 0\nlisten = 'nowhere'\n").unwrap();
    let checked = roomcast(&["check-config", "--config", file.to_str().unwrap()], &[]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(checked.stdout.is_empty());
    let errors = stderr(&checked);
    let path = file.display();
    assert!(errors.contains(&format!("{path}:1: workers = 0: it is out of range; allowed: 1 to 1024\n")), "{errors}");
    assert!(errors.contains(&format!("{path}:2: listen = \"nowhere\": it has no port; allowed: ")), "{errors}");

    let missing = roomcast(&["check-config", "--dev=false"], &[]);
    assert_eq!(missing.status.code(), Some(2));
    let errors = stderr(&missing);
    assert!(errors.contains("there is no listener for clients") && errors.contains("no client could join"), "{errors}");

    assert_eq!(roomcast(&["--no-such-flag"], &[]).status.code(), Some(2));
}

#[test]
fn an_edge_is_refused_an_archive_of_its_own_but_may_have_the_policies_of_its_home() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    fs::write(
        &file,
        "dev = true\n[upstream]\nurls = ['wss://home.example.com:9443']\nkey = 'key'\n\
         [[policy]]\nmatch = ['chat:*']\narchive = 'postgres'\n",
    )
    .unwrap();
    let check = |more: &[&str]| {
        let mut args = vec!["check-config", "--config", file.to_str().unwrap()];
        args.extend(more);
        roomcast(&args, &[])
    };
    let good = check(&[]);
    assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    let refused = check(&["--archive-url", "postgres://ann:s3cret@db.example.com/chat"]);
    assert_eq!(refused.status.code(), Some(2));
    let errors = stderr(&refused);
    assert!(errors.contains("`upstream.urls` and `archive.url` are both set"), "{errors}");
    assert!(!errors.contains("s3cret"), "{errors}");
}

#[test]
fn help_and_completions() {
    let help = roomcast(&["--help"], &[]);
    assert!(help.status.success());
    for command in ["serve", "check-config", "default-config", "token", "completions"] {
        assert!(stdout(&help).contains(command), "{}", stdout(&help));
    }
    let all = stdout(&roomcast(&["serve", "--help"], &[]));
    let short = stdout(&roomcast(&["serve", "-h"], &[]));
    for flag in
        ["--listen", "--plain-listen", "--internal-listen", "--api-key", "--cert", "--key", "--workers", "--config"]
    {
        assert!(short.contains(flag) && all.contains(flag), "{flag}");
    }
    assert!(all.contains("--limits-max-rooms") && !short.contains("--limits-max-rooms"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = roomcast(&["completions", shell], &[]);
        assert!(script.status.success() && stdout(&script).contains("plain-listen"), "{shell}");
    }
}

/// Runs roomcast with something on stdin.
fn with_stdin(args: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(args).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

const SECRET: (&str, &str) = ("ROOMCAST_TOKENS_HMAC_SECRETS", "a-secret-of-more-than-32-bytes-for-HS256");

fn made(args: &[&str], variables: &[(&str, &str)]) -> String {
    let made = roomcast(&[&["token", "make"], args].concat(), variables);
    assert!(made.status.success() && made.stderr.is_empty(), "{}", stderr(&made));
    let token = stdout(&made);
    assert_eq!(token.lines().count(), 1, "a token and nothing else");
    token
}

#[test]
fn a_token_that_was_made_is_one_that_the_pod_takes() {
    let token = made(&["--user", "ann"], &[SECRET]);
    for check in [&["token", "check"][..], &["token", "check", "-"], &["token", "check", token.trim()]] {
        let checked = with_stdin(check, &[SECRET], &token);
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        let expected = "The token is good.\n\n\
                        user             ann\n\
                        ends             in 1 hour, with 30 seconds of leeway\n\
                        personal room    none: tokens.personal_room is not set\n\
                        rooms            none by name\n";
        assert_eq!(stdout(&checked), expected);
    }

    // Both take the names of claims, the issuer and the audience from the configuration.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rc.toml");
    let text = "[tokens]\nhmac_secrets = ['a-secret-of-more-than-32-bytes-for-HS256']\nissuer = 'me'\naudiences = ['chat', 'b']\n\
                user_claims = ['uid']\nrooms_claim = 'r'\npersonal_room = 'user:{user}'\nleeway = '1m'\n";
    fs::write(&file, text).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let rooms =
        ["--user", "7", "--room", "chat:*", "--room", "x", "--right", "join", "--right", "publish", "--expires", "2d"];
    let token = made(&[&rooms[..], &config].concat(), &[]);
    let checked = with_stdin(&[&["token", "check"][..], &config].concat(), &[], &token);
    let report = stdout(&checked);
    for line in [
        "user             7",
        "personal room    user:7",
        "rooms            chat:*: join, publish",
        "                 x: join, publish",
    ] {
        assert!(report.lines().any(|printed| printed == line), "{line}\n{report}{}", stderr(&checked));
    }
    let elsewhere = with_stdin(&["token", "check"], &[SECRET], &token);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert_eq!(
        stderr(&elsewhere),
        "The token is refused: the token's claim `sub` is missing: it is to name the user\n"
    );
}

#[test]
fn a_token_that_the_pod_refuses_is_refused_with_the_reason() {
    let token = made(&["--user", "ann", "--expires", "1s"], &[SECRET]);
    let other = ("ROOMCAST_TOKENS_HMAC_SECRETS", "another-secret-of-more-than-32-bytes");
    let issuer = ("ROOMCAST_TOKENS_ISSUER", "me");
    let leeway = ("ROOMCAST_TOKENS_LEEWAY", "0ms");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    for (variables, input, reason) in [
        (vec![other], token.as_str(), "the token's signature is wrong"),
        (vec![SECRET, issuer], &token, "the token's claim `iss` is missing"),
        (vec![SECRET, leeway], &token, "the token has expired: get a new one"),
        (vec![SECRET], "", "the token is not a signed JWT: it is not three parts with dots between"),
        (vec![SECRET], &"x".repeat(9000), "the token is longer than 8192 bytes"),
    ] {
        let checked = with_stdin(&["token", "check"], &variables, input);
        assert_eq!((checked.status.code(), stdout(&checked).as_str()), (Some(1), ""));
        assert_eq!(stderr(&checked), format!("The token is refused: {reason}\n"));
    }
}

#[test]
fn without_a_key_both_say_what_to_set_and_make_up_nothing() {
    let made = roomcast(&["token", "make", "--user", "ann"], &[]);
    assert_eq!((made.status.code(), stdout(&made).as_str()), (Some(2), ""));
    let checked = with_stdin(&["token", "check"], &[], "x");
    assert_eq!((checked.status.code(), stdout(&checked).as_str()), (Some(1), ""));
    for said in [stderr(&made), stderr(&checked)] {
        assert!(said.contains("ROOMCAST_TOKENS_HMAC_SECRETS=$(openssl rand -hex 32)"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s");
    fs::write(&file, "short\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, why) in [
        (
            vec!["--hmac-secret", "short"],
            "--hmac-secret: the secret has 5 bytes, and HS256 needs at least 32".to_owned(),
        ),
        (vec!["--hmac-secret-file", file], format!("{file}: the secret has 5 bytes")),
        (vec!["--hmac-secret-file", "/nowhere"], "cannot read /nowhere: No such file".to_owned()),
        (vec!["--private-key", file], format!("{file}: there is no private key in it")),
        (vec!["--private-key", file, "--hmac-secret", "x"], "cannot be used with".to_owned()),
        (vec!["--right", "publish"], "--room".to_owned()),
        (vec!["--room", "x", "--right", "admin"], "possible values: join, publish".to_owned()),
        (vec!["--expires", "forever"], "it is not a duration; allowed: 1s to 3650d".to_owned()),
    ] {
        let made = roomcast(&[&["token", "make", "--user", "ann"], &args[..]].concat(), &[]);
        assert_eq!(made.status.code(), Some(2), "{args:?}");
        assert!(stderr(&made).contains(&why), "{args:?} {}", stderr(&made));
    }
    let good = dir.path().join("good");
    fs::write(&good, format!("{}\n", SECRET.1)).unwrap();
    let token = self::made(&["--user", "ann", "--hmac-secret-file", good.to_str().unwrap()], &[]);
    assert!(with_stdin(&["token", "check"], &[SECRET], &token).status.success());
}

#[test]
fn a_preset_that_was_printed_is_a_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("preset.toml");
    let key = ("JWT_SECRET", "0123456789abcdef0123456789abcdef");
    for preset in ["trips", "loomio", "ticketing", "live-polls", "social"] {
        fs::write(&file, stdout(&roomcast(&["default-config", "--preset", preset], &[]))).unwrap();
        let checked = roomcast(&["check-config", "--config", file.to_str().unwrap()], &[key]);
        assert_eq!((checked.status.code(), stderr(&checked).as_str()), (Some(0), ""), "{preset}");
        let within = stdout(&roomcast(&["check-config", "--preset", preset], &[key]));
        let listeners = |report: &str| {
            report.lines().filter(|line| line.starts_with("clients")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(listeners(&stdout(&checked)), listeners(&within), "{preset}");
    }
    let unnamed = roomcast(&["check-config"], &[("ROOMCAST_CONFIG", "")]);
    assert_eq!(unnamed.status.code(), Some(2));
    assert!(
        stderr(&unnamed).starts_with("ROOMCAST_CONFIG=\"\": it is empty: name a configuration file"),
        "{}",
        stderr(&unnamed)
    );
}

#[test]
fn check_config_reads_the_files_with_keys() {
    let missing = roomcast(&["check-config", "--tokens-public-keys", "/nowhere/key.pem"], &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).starts_with("tokens.public_keys: cannot read /nowhere/key.pem: "), "{}", stderr(&missing));
    let good = stdout(&roomcast(&["check-config", "--tokens-jwks-url", "https://login.example.com/keys"], &[SECRET]));
    assert!(good.contains("token keys       1 secret, https://login.example.com/keys\n"), "{good}");
    assert!(!good.contains(SECRET.1) && good.contains("tokens.hmac_secrets = [\"…\"]"), "{good}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let shell = format!("{} default-config | head -n 1", env!("CARGO_BIN_EXE_roomcast"));
    let output = Command::new("bash").args(["-c", &format!("set -o pipefail; {shell}")]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
