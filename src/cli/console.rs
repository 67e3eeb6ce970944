//! What a person types into `roomcast subscribe -i`.

use std::io::{self, BufRead};

use serde_json::{Value, json};
use tokio::sync::mpsc;

/// One line that was typed.
#[derive(Debug, PartialEq)]
pub enum Typed {
    /// A command for the server.
    Command(Value),
    /// Something to tell the person.
    Help(String),
    /// The end.
    Quit,
}

/// The commands, for `help`.
const HELP: &str = "\
join ROOM                    leave ROOM
who ROOM                     who is in it
history ROOM [N]             its newest events
publish ROOM TOPIC JSON      where its policy lets clients publish
token TOKEN                  present a token, or a newer one
stats                        what this connection moved
ping                         is the server there?
{…}                          any command of the protocol, as JSON
quit";

/// The standard input, line by line.
pub struct Console;

impl Console {
    /// Reads the standard input on a thread of its own: a read of a terminal cannot wait politely. Full: the thread waits.
    pub fn open() -> mpsc::Receiver<Typed> {
        let (sender, receiver) = mpsc::channel(16);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                let typed = line.map_or(Some(Typed::Quit), |line| read(&line));
                if typed.is_some_and(|typed| sender.blocking_send(typed).is_err()) {
                    return;
                }
            }
            let _ = sender.blocking_send(Typed::Quit);
        });
        receiver
    }
}

/// A line as a command; `None`: it is empty.
fn read(line: &str) -> Option<Typed> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let about_room = |kind: &str| {
        if rest.is_empty() {
            Typed::Help(format!("{word} takes a room"))
        } else {
            Typed::Command(json!({ "type": kind, "room": rest }))
        }
    };
    Some(match word {
        "" => return None,
        "join" | "subscribe" => about_room("subscribe"),
        "leave" | "unsubscribe" => about_room("unsubscribe"),
        "who" | "presence" => about_room("presence"),
        "history" => {
            let (room, limit) = rest.split_once(char::is_whitespace).unwrap_or((rest, "10"));
            match limit.trim().parse::<u64>() {
                Ok(limit) if !room.is_empty() => {
                    Typed::Command(json!({ "type": "history", "room": room, "limit": limit }))
                }
                _ => Typed::Help("history takes a room and a number".to_owned()),
            }
        }
        "publish" => publish(rest),
        "token" if !rest.is_empty() => Typed::Command(json!({ "type": "connect", "token": rest })),
        "ping" | "stats" => Typed::Command(json!({ "type": word })),
        "quit" | "exit" => Typed::Quit,
        "help" | "?" => Typed::Help(HELP.to_owned()),
        _ => match serde_json::from_str(line) {
            Ok(command @ Value::Object(_)) => Typed::Command(command),
            _ => Typed::Help(format!("{word} is no command here; these are:\n{HELP}")),
        },
    })
}

fn publish(rest: &str) -> Typed {
    let mut words = rest.splitn(3, char::is_whitespace);
    let (Some(room), Some(topic), Some(data)) = (words.next(), words.next(), words.next()) else {
        return Typed::Help("publish takes a room, a topic and JSON".to_owned());
    };
    match serde_json::from_str::<Value>(data) {
        Ok(data) => Typed::Command(json!({ "type": "publish", "room": room, "topic": topic, "data": data })),
        Err(error) => Typed::Help(format!("the data is not JSON ({error}); text goes in quotes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands() {
        for (line, command) in [
            ("join news", json!({"type":"subscribe","room":"news"})),
            ("  leave   news ", json!({"type":"unsubscribe","room":"news"})),
            ("who a:1", json!({"type":"presence","room":"a:1"})),
            ("history a", json!({"type":"history","room":"a","limit":10})),
            ("history a 3", json!({"type":"history","room":"a","limit":3})),
            ("publish a t {\"x\": 1}", json!({"type":"publish","room":"a","topic":"t","data":{"x":1}})),
            ("publish a t \"two words\"", json!({"type":"publish","room":"a","topic":"t","data":"two words"})),
            ("token abc", json!({"type":"connect","token":"abc"})),
            ("{\"type\":\"ping\"}", json!({"type":"ping"})),
        ] {
            assert_eq!(read(line), Some(Typed::Command(command)), "{line}");
        }
        assert_eq!(read("   "), None);
        assert_eq!(read("quit"), Some(Typed::Quit));
        for line in ["join", "history a b", "publish a t", "publish a t x", "dance", "[1]", "help", "token"] {
            assert!(matches!(read(line), Some(Typed::Help(_))), "{line}");
        }
    }
}
