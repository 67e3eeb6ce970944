//! The whole bench without a pod: parent, floor and receivers as processes, over real sockets and TLS.
#![allow(clippy::unwrap_used)]

use std::{process::Command, time::Duration};

#[test]
fn a_run_of_the_floor_receives_everything_and_says_so() {
    let out = std::env::temp_dir().join(format!("roomcast-bench-{}", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_roomcast-bench"))
        .args(
            "broadcast --floor-only --connections 40 --rate 20 --seconds 1 --repetitions 2 --workers 2 --out"
                .split(' '),
        )
        .arg(&out)
        .output()
        .unwrap();
    let told = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{told}\n{}", String::from_utf8_lossy(&run.stderr));
    assert!(told.starts_with("\n| receivers |"), "{told}");
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("broadcast.json")).unwrap()).unwrap();
    let svg = std::fs::read_to_string(out.join("broadcast.svg")).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    assert!(svg.starts_with("<svg"));
    let floor = &json["result"]["floor"];
    let rounds = floor["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        assert_eq!(round["deliveries"], 40 * 20);
        assert!(round["cpu_us_per_delivery"].as_f64().unwrap() > 0.1);
        let wire = round["wire_bytes_per_delivery"].as_f64().unwrap();
        assert!((400.0..800.0).contains(&wire), "{wire} bytes for 1 KiB of JSON, compressed");
        let (p50, max) = (&round["latency"]["p50"], &round["last_receiver"]["max"]);
        assert!(p50.as_f64().unwrap() > 0.0 && p50.as_f64().unwrap() <= max.as_f64().unwrap());
    }
    assert_eq!(json["result"]["floor_counts"]["open"], 40);
    assert!(json["result"]["pod"].is_null());
}

#[test]
fn what_cannot_be_done_is_said_before_anything_starts() {
    let elsewhere = std::env::temp_dir().join(format!("roomcast-bench-refused-{}", std::process::id()));
    std::fs::create_dir_all(&elsewhere).unwrap();
    for (arguments, needed) in [
        ("broadcast --pod /nonexistent", "--pod"),
        ("broadcast --floor-only --size 5", "--size 5"),
        ("broadcast --floor-only --rate 0", "--rate 0"),
        ("broadcast --floor-only --connections 100000000", "open files"),
        ("broadcast --floor-only --no-floor", "cannot be used with"),
        ("publish --seconds 0", "--seconds 0"),
        ("publish --pod /nonexistent", "--pod"),
        ("peers --seconds 0", "--seconds 0"),
        ("peers --rate 0", "--rate 0"),
        ("pair --url wss://127.0.0.1:1/ws --api-key k", "--url"),
        ("broadcast --dialect socketio --transport webtransport", "--transport"),
        ("trips --dialect socketio", "--dialect"),
        ("trips --trips 0", "--trips"),
        ("trips --rate 0", "--rate 0"),
        ("idle --url https://127.0.0.1:1/ws --api-key k", "wss://"),
    ] {
        let start = std::time::Instant::now();
        let mut run = Command::new(env!("CARGO_BIN_EXE_roomcast-bench"));
        let run = run.args(arguments.split(' ')).current_dir(&elsewhere).output().unwrap();
        let told = String::from_utf8(run.stderr).unwrap();
        assert!(!run.status.success(), "{arguments}");
        assert!(told.contains(needed), "{arguments}: {told}");
        assert!(start.elapsed() < Duration::from_secs(20), "{arguments}: {:?}", start.elapsed());
    }
    std::fs::remove_dir_all(&elsewhere).unwrap();
}
