//! The reference of all keys, as a file to start from and as a page to read. Both are made from the keys themselves.

use super::{
    dialect, legacy,
    policies::RoomPatternKind,
    section::{Key, Section},
    settings::{FileTable, Settings},
    value::Kind,
};

/// A configuration file in which every key stands with its default, commented out: `#key` is a key, `# text` is a
/// comment.
#[must_use]
pub fn default_file() -> String {
    let mut out = String::from(
        "# roomcast: every key, commented out, with its default or an example.\n\
         # Check a file with `roomcast check-config --config FILE`; docs/CONFIGURATION.md has all of this as a page.\n\
         # Text values may use the environment: \"${NAME}\", \"${NAME:-default}\" or \"${NAME:+if set}\".\n",
    );
    let settings = Settings::default();
    for FileTable { name, about, keys } in settings.tables() {
        if !name.is_empty() {
            line(&mut out, &format!("\n# {about}\n[{name}]"));
        }
        for key in keys {
            line(&mut out, "");
            for text in key.doc.lines() {
                line(&mut out, &format!("# {text}"));
            }
            line(&mut out, &format!("# Allowed: {}.", key.allowed));
            if key.default.is_none() {
                line(&mut out, &format!("# Not set: {}.", key.unset));
            }
            line(&mut out, &format!("#{} = {}", key.name, key.default.as_deref().unwrap_or(key.example)));
        }
    }
    out.push_str(
        "\n# How rooms behave whose names match: the first `[[policy]]` that matches wins. It takes every key of\n\
         # `[default_policy]`, and what it leaves out is as there.\n\
         #[[policy]]\n\
         #match = [\"trip:*\", \"driver:*\"]\n\
         #batch_window = \"200ms\"\n\
         #conflate = \"key\"\n\
         \n# Plain messages in the same Redis (`PUBLISH`) that become events: which channels, and what becomes of a message.\n\
         #[[legacy]]\n\
         #channels = [\"trip:*\"]\n\
         #room = \"trip:{channel:1}\"\n\
         #topic = \"{/topic}\"\n\
         #data = \"/data\"\n\
         \n# A client wire format, so that existing clients connect as they are: docs/DIALECTS.md.\n\
         #[[dialect]]\n\
         #name = \"chat\"\n\
         #paths = [\"/chat\"]\n\
         #command = [{ when = { \"/type\" = \"join\" }, does = \"subscribe\", room = \"chat:{/room}\" }]\n\
         #event = [{ write = '{\"type\": \"{topic}\", \"data\": \"{data}\"}' }]\n",
    );
    out
}

/// The page `docs/CONFIGURATION.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    let settings = Settings::default();
    for FileTable { name, about, keys } in settings.tables() {
        let title = if name.is_empty() { "The top of the file".to_owned() } else { format!("`[{name}]`") };
        line(&mut out, &format!("\n## {title}\n\n{about}\n"));
        line(&mut out, "| key | default | allowed | what it decides |\n| --- | --- | --- | --- |");
        for key in keys {
            line(&mut out, &row(&key));
        }
    }
    out.push_str(POLICIES);
    line(
        &mut out,
        &format!(
            "| `match` | must be set | a list of patterns, {} | The rooms that it is for. |",
            RoomPatternKind.allowed()
        ),
    );
    out.push_str(EXAMPLE);
    let table = legacy::LegacyTable::default();
    line(&mut out, &format!("\n## `[[legacy]]`\n\n{}\n", table.about()));
    line(&mut out, "| key | default | allowed | what it decides |\n| --- | --- | --- | --- |");
    for key in table.keys() {
        line(&mut out, &row(&key));
    }
    out.push_str(LEGACY_EXAMPLE);
    let tables: [&dyn Section; 5] = [
        &dialect::DialectTable::default(),
        &dialect::CommandTable::default(),
        &dialect::MessageTable::default(),
        &dialect::EventTable::default(),
        &dialect::RequestTable::default(),
    ];
    for table in tables {
        line(&mut out, &format!("\n## `[[{}]]`\n\n{}\n", table.name(), table.about()));
        line(&mut out, "| key | default | allowed | what it decides |\n| --- | --- | --- | --- |");
        for key in table.keys() {
            line(&mut out, &row(&key));
        }
    }
    out.push_str(DIALECT_EXAMPLE);
    out
}

fn row(key: &Key) -> String {
    let default = key.default.as_ref().map_or_else(|| key.unset.to_owned(), |default| format!("`{default}`"));
    let restart = if key.live { "" } else { " Needs a restart." };
    let named = key.path().replace(['.', '_'], "-");
    let flag = if key.flag() == named { String::new() } else { format!(" Flag: `--{}`.", key.flag()) };
    format!("| `{}` | {default} | {} | {}{flag}{restart} |", key.name, key.allowed, key.doc.replace('\n', " "))
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Made by `roomcast default-config --format markdown > docs/CONFIGURATION.md`; a test compares. -->

A pod needs no configuration to be tried out. What is set comes from four layers, the first one wins, key by key:

| layer | `max_rooms` in `[limits]` | a list |
| --- | --- | --- |
| flag | `--limits-max-rooms 64` | `--origin A --origin B` |
| environment | `ROOMCAST_LIMITS_MAX_ROOMS=64` | `ROOMCAST_ORIGIN=A,B` |
| file (TOML), named by `--config FILE` or `ROOMCAST_CONFIG` | `[limits]` `max_rooms = 64` | `origins = [\"A\", \"B\"]` |
| default | | |

- The flag of a key is its section and name with dashes; its variable is the flag in capitals after `ROOMCAST_`. Where the
  flag has another name, the table says so.
- `roomcast default-config` prints a file with every key. `roomcast check-config` takes the flags of `serve`, and says what is
  wrong, or what a pod would do.
- Durations are written `200ms`, `25s`, `5m`, `2h`, `1d`; sizes `64KiB`, `16MiB`, `1GiB`, or as a plain number of bytes.
- Text in the file may use the environment: `\"${NAME}\"`, `\"${NAME:-default}\"` for where the variable is unset or empty, or
  `\"${NAME:+text}\"` for where it is neither; `$${` is a plain `${`. A number or switch may be written as such text. Text of nothing
  but the latter two that comes out empty counts as not set: `\"${NAME:-}\"`.
- A flag can be seen by every user of the machine: give API keys and the secrets of tokens in the environment or in
  the file.
- An unknown key or a bad value, in whichever layer, keeps the pod from starting; all of them are said at once, with line,
  key and what is allowed.
- SIGHUP reads everything again, and so does a change of the file where `watch_config` says how often it is looked at. Keys that need a restart (among them all of `[hooks]`, `[grpc]` and `[token_lookup]`) keep their
  running value, and the log names them. If anything is wrong, the running configuration stays: also if a changed key needs one of
  those.

## Development mode

Without a certificate, or with `dev = true` whatever else is set, the pod is in development mode: it listens on loopback
addresses unless told otherwise, on `http://localhost:8080` too; pages of this machine and anonymous clients may connect; it
makes its own certificate (`certs/README.md`) and an API key, which it prints.

Outside of development mode the pod makes nothing, and it accepts only the clients that the settings allow. A pod that has no
listener for clients, or that no client could join, does not start and says what to set. Without an API key the publish API
refuses every call, and a warning says so.
";

const POLICIES: &str = r#"
## `[[policy]]`

How the rooms behave whose names match. It takes every key of `[default_policy]`; what it leaves out is as there. The first
`[[policy]]` that matches wins. A changed policy holds for rooms that become active after the reload.

| key | default | allowed | what it decides |
| --- | --- | --- | --- |
"#;

const EXAMPLE: &str = r#"
```toml
[default_policy]
history_size = 200

[[policy]]
match = ["trip:*", "driver:*"]
batch_window = "200ms"
conflate = "key"
retain = "key"

[[policy]]
match = ["chat:*"]
publish = "anyone"
presence = "events"
slow = "close"
```
"#;

const LEGACY_EXAMPLE: &str = r#"
```toml
[redis]
urls = ["redis://localhost:6379"]

[[legacy]]
channels = ["trip:*"]
room = "trip:{channel:1}"
topic = "{/topic}"
data = "/data"
```
"#;

const DIALECT_EXAMPLE: &str = r#"
```toml
[[dialect]]
name = "chat"
paths = ["/chat"]

[[dialect.command]]
when = { "/type" = "join" }
does = "subscribe"
room = "chat:{/room}"

[[dialect.message]]
on = "error"
write = '{"type": "error", "code": "{code}", "message": "{message}"}'

[[dialect.event]]
write = '{"type": "{topic}", "room": "{room:id}", "data": "{data}", "at": "{time}"}'
```
"#;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Flags, Variables, merge};

    fn parsed(file: &str) -> Settings {
        let names =
            ["ROOMCAST_API_KEY", "REDIS_PASSWORD", "FLEET_SECRET", "HOOK_SECRET", "EDGE_KEY", "ARCHIVE_PASSWORD"];
        let variables = names.map(|name| (name.to_owned(), "a-secret-of-more-than-thirty-two-bytes".to_owned()));
        let variables = Variables::from(variables);
        merge(&Flags::new(), &variables, Some((Path::new("default"), file))).expect("a good file").settings
    }

    #[test]
    fn the_default_file_as_it_is_sets_nothing() {
        // The variable sets the keys; the file does not.
        let mut settings = parsed(&default_file());
        settings.general.api_keys = None;
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn the_default_file_with_every_key_uncommented_has_every_key_and_its_default() {
        let mut file = String::new();
        for text in default_file().lines() {
            let key =
                text.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '['));
            line(&mut file, key.unwrap_or(text));
        }
        let settings = parsed(&file);
        for section in settings.sections() {
            for key in section.keys() {
                let value = section.get(key.name);
                assert!(value.is_some(), "{} is not in the file", key.path());
                match &key.default {
                    Some(default) => assert_eq!(value.as_ref(), Some(default), "{}", key.path()),
                    None => {
                        assert!(!key.unset.is_empty() && !key.example.is_empty(), "{}", key.path());
                        let shown = match (key.example.contains("${"), key.list) {
                            (false, _) => key.example,
                            (true, true) => "[\"…\"]",
                            (true, false) => "\"…\"",
                        };
                        assert_eq!(value.as_deref(), Some(shown), "{}", key.path());
                    }
                }
            }
        }
        assert_eq!((settings.policies.len(), settings.legacy.len()), (1, 1));
    }

    #[test]
    fn the_committed_page_is_the_made_one() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
        let committed = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/CONFIGURATION.md is out of date: cargo run -- default-config --format markdown > docs/CONFIGURATION.md; \
             and then, for the chart: node helm/schema.mjs"
        );
    }

    #[test]
    fn the_examples_of_the_page_are_good_files() {
        let page = markdown();
        let examples: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!examples.is_empty());
        for example in examples {
            assert_ne!(parsed(example), Settings::default());
        }
    }
}
