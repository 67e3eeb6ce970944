//! How `roomcast subscribe` prints what happens: one line an event for people, or the server's messages for programs.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use serde_json::Value;

/// Prints messages, and counts events.
pub struct Report {
    json: bool,
    left: Option<u64>,
}

impl Report {
    /// `count`: break after so many events.
    pub fn new(json: bool, count: Option<u64>) -> Self {
        Self { json, left: count }
    }

    /// Prints a message, and what it says of events that are `lost`: to the standard error where the output is for programs.
    /// `Break`: the last event that was wanted has come, or the output is closed.
    pub fn take(&mut self, text: &str, message: &Value, lost: Option<&str>) -> ControlFlow<()> {
        let events = message["events"].as_array().map_or(&[][..], Vec::as_slice);
        let is_live = message["type"] == "events";
        let mut out = String::new();
        let lost = lost.map(|lost| format!("{}  -- LOST: {lost}\n", message["room"].as_str().unwrap_or_default()));
        if self.json {
            out = format!("{text}\n");
            // A closed standard error is no reason to end.
            let _ = io::stderr().write_all(lost.unwrap_or_default().as_bytes());
        } else {
            out.push_str(&lost.unwrap_or_default());
            let shown = self.left.filter(|_| is_live).map_or(events.len(), |left| events.len().min(left as usize));
            for line in lines(message, &events[..shown]) {
                out.push_str(&line);
                out.push('\n');
            }
        }
        let mut stdout = io::stdout().lock();
        if stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            return ControlFlow::Break(());
        }
        if let Some(left) = &mut self.left
            && is_live
        {
            *left = left.saturating_sub(events.len() as u64);
            if *left == 0 {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// A message for people.
fn lines(message: &Value, events: &[Value]) -> Vec<String> {
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    let (room, number) = (text("room"), |field: &str| message[field].as_u64().unwrap_or_default());
    match text("type") {
        "events" | "history" => events.iter().map(|event| event_line(room, message, event)).collect(),
        "subscribed" => {
            let how = if message["recovered"] == true { "going on from" } else { "joined at" };
            vec![format!("{room}  -- {how} {}:{}", text("epoch"), number("offset"))]
        }
        "unsubscribed" if message["code"].is_string() => vec![format!("{room}  -- taken out: {}", text("code"))],
        "unsubscribed" => vec![format!("{room}  -- left")],
        "joined" | "left" => {
            let members = names(&message["members"]);
            vec![format!("{room}  -- {} {members}; {} here", text("type"), number("total"))]
        }
        "presence" => {
            let members = names(&message["members"]);
            vec![format!("{room}  -- {} here{}{members}", number("total"), if members.is_empty() { "" } else { ": " })]
        }
        "published" => vec![format!("-- published as #{}", number("offset"))],
        "error" => vec![format!(
            "{}-- error {}: {}",
            if room.is_empty() { String::new() } else { format!("{room}  ") },
            text("code"),
            text("message")
        )],
        "reconnect" => vec![format!("-- the pod goes away in {:.1} s", number("after_ms") as f64 / 1000.0)],
        "pong" => vec!["-- pong".to_owned()],
        "stats" => vec![format!(
            "-- {} {}{}: {} messages and {} bytes in, {} frames and {} bytes out ({} before compression)",
            text("transport"),
            if message["tls"] == true { "over TLS" } else { "without TLS" },
            message["compression"].as_str().map(|c| format!(", {c}")).unwrap_or_default(),
            number("messages_in"),
            number("bytes_in"),
            number("frames_out"),
            number("bytes_out"),
            number("bytes_plain"),
        )],
        // `welcome` and `done` are for programs, and so is what is not known yet. What a `gap` says is in the line on lost events.
        _ => Vec::new(),
    }
}

fn event_line(room: &str, message: &Value, event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let mut line = format!(
        "{room}  #{}  {}  {}",
        event["offset"],
        time_of_day(event["time"].as_u64().unwrap_or_default()),
        escape(text("topic"))
    );
    if event["key"].is_string() {
        line.push_str(&format!(" {}", escape(text("key"))));
    }
    match event.get("data") {
        Some(data) => line.push_str(&format!("  {data}")),
        None => line.push_str(&format!("  base64:{}", text("data64"))),
    }
    if event["user"].is_string() {
        line.push_str(&format!("  by {}", escape(text("user"))));
    }
    if message["retained"] == true {
        line.push_str("  (retained)");
    }
    line
}

fn names(members: &Value) -> String {
    let name = |member: &Value| {
        let name = member["user"].as_str().or(member["connection"].as_str()).unwrap_or_default();
        escape(name)
    };
    members.as_array().into_iter().flatten().map(name).collect::<Vec<_>>().join(", ")
}

/// Others' text must not move the terminal's cursor.
fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The time of day, UTC, of milliseconds since the Unix epoch.
fn time_of_day(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000 % 86_400, millis % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(json: &str) -> Vec<String> {
        let message: Value = serde_json::from_str(json).unwrap();
        let events = message["events"].as_array().cloned().unwrap_or_default();
        lines(&message, &events)
    }

    #[test]
    fn an_event_is_a_line() {
        let json = r#"{"type":"events","room":"trip:1","epoch":"e","after":41,"offset":43,"events":[
            {"offset":42,"topic":"moved","key":"bus-7","data":{"lat":60.17},"time":1795132800123},
            {"offset":43,"topic":"a\u001b[2Jb","data64":"AA==","time":1795132800150,"user":"ann"}]}"#;
        assert_eq!(
            shown(json),
            [
                "trip:1  #42  00:00:00.123  moved bus-7  {\"lat\":60.17}",
                "trip:1  #43  00:00:00.150  a\\u{1b}[2Jb  base64:AA==  by ann",
            ]
        );
    }

    #[test]
    fn what_is_no_event_is_told_apart() {
        for (json, line) in [
            (r#"{"type":"subscribed","room":"r","epoch":"e","offset":4,"recovered":true}"#, "r  -- going on from e:4"),
            (r#"{"type":"subscribed","room":"r","epoch":"e","offset":4,"recovered":false}"#, "r  -- joined at e:4"),
            (r#"{"type":"unsubscribed","room":"r","code":"removed"}"#, "r  -- taken out: removed"),
            (
                r#"{"type":"joined","room":"r","members":[{"connection":"c","user":"u"},{"connection":"d"}],"total":3}"#,
                "r  -- joined u, d; 3 here",
            ),
            (r#"{"type":"presence","room":"r","total":300}"#, "r  -- 300 here"),
            (r#"{"type":"error","code":"forbidden","message":"no","room":"r"}"#, "r  -- error forbidden: no"),
        ] {
            assert_eq!(shown(json), [line]);
        }
        assert!(shown(r#"{"type":"welcome"}"#).is_empty() && shown(r#"{"type":"later"}"#).is_empty());
    }

    #[test]
    fn only_live_events_count() {
        let mut report = Report::new(true, Some(2));
        let mut take = |json: &str| report.take(json, &serde_json::from_str(json).unwrap(), None);
        assert!(take(r#"{"type":"history","events":[{},{},{}]}"#).is_continue());
        assert!(take(r#"{"type":"events","events":[{}]}"#).is_continue());
        assert!(take(r#"{"type":"events","events":[{}]}"#).is_break());
    }
}
