//! Short runs against a real pod, and a real Redis: events come, are verified, and are reported. Figures of a debug
//! build mean nothing and are not looked at. `TEST_POD` names the pod's binary; without it the bench builds one by cargo.
#![allow(clippy::unwrap_used)]

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::Value;

/// Tells the directories of this process' runs apart.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Runs a scenario; its result.
fn run(arguments: &str) -> Value {
    let name = arguments.split(' ').next().unwrap();
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let out = std::env::temp_dir().join(format!("roomcast-bench-{name}-{}-{run}", std::process::id()));
    let mut run = Command::new(env!("CARGO_BIN_EXE_roomcast-bench"));
    run.args(arguments.split(' ')).args(["--workers", "2", "--out"]).arg(&out);
    if let Some(pod) = std::env::var_os("TEST_POD") {
        run.arg("--pod").arg(pod);
    }
    let run = run.output().unwrap();
    let told = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{arguments}: {told}\n{}", String::from_utf8_lossy(&run.stderr));
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join(format!("{name}.json"))).unwrap()).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    json["result"].clone()
}

#[test]
fn socketio_and_the_native_protocol_take_turns_in_one_pod() {
    let found =
        run("broadcast --dialect socketio --connections 30 --rate 20 --seconds 1 --repetitions 2 --quiet 0 --size 300");
    for side in ["pod", "native", "floor"] {
        let rounds = found[side]["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 2, "{side}");
        assert!(rounds.iter().all(|round| round["deliveries"] == 30 * 20), "{side}: {rounds:?}");
    }
    assert!(found["native_cpu_ratio"]["median"].as_f64().unwrap() > 0.0);
    assert_eq!(found["native_cpu_bar"], 1.1);
    let bytes = |side: &str| found[side]["wire_bytes_per_delivery"]["median"].as_f64().unwrap();
    assert!(bytes("native") > 150.0 && (bytes("pod") - bytes("native")).abs() < 100.0, "{found}");
}

#[test]
fn trips_are_batched_and_collapsed_and_nothing_else_is_missing() {
    // Few in many trips, and many in one.
    let [spread, one] = [
        "trips --connections 60 --trips 20 --rate 200 --seconds 1 --repetitions 1 --size 300",
        "trips --connections 60 --trips 1 --rate 20 --seconds 1 --repetitions 1 --size 300 --plain",
    ]
    .map(|arguments| thread::spawn(|| run(arguments)))
    .map(|run| run.join().unwrap());
    assert_eq!((spread["passes"].as_array().unwrap().len(), one["passes"].as_array().unwrap().len()), (2, 1));
    for (found, owed) in [(&spread, 200 * 3), (&one, 20 * 60)] {
        for pass in found["passes"].as_array().unwrap() {
            let count = |side: &str, what: &str| pass[side]["rounds"][0][what].as_u64().unwrap();
            for side in ["window", "none"] {
                assert_eq!(count(side, "deliveries") + count(side, "collapsed"), owed, "{side}: {pass}");
            }
            assert_eq!((&pass["window"]["window_ms"], &pass["none"]["window_ms"]), (&200.into(), &0.into()));
            assert!(count("window", "collapsed") > 0, "{pass}");
            let figure = |side: &str, what: &str| pass[side][what]["median"].as_f64().unwrap();
            assert!(figure("window", "events_per_frame") > figure("none", "events_per_frame"), "{pass}");
            assert!(figure("ratio", "wire_bytes_per_owed") < 1.0, "{pass}");
            assert!(pass["window"]["latency"]["max"].as_f64().unwrap() >= 200.0, "{pass}");
        }
    }
}

/// Whether this program runs here.
fn has(program: &str, argument: &str) -> bool {
    let output = Command::new(program).arg(argument).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn servers_of_others_are_called_in_turns_and_their_logs_hold_what_they_answered() {
    for (program, argument) in [("go", "version"), ("npm", "--version")] {
        if !has(program, argument) {
            eprintln!("SKIPPED: {program} is missing, so there are no peers to measure beside: install it");
            return;
        }
    }
    let found = run(
        "peers --part redis --peers centrifugo,socketio --seconds 0.2 --repetitions 1 --callers 4 --crowd 8 --batch 5 --rate 50",
    );
    let stages = found["stages"].as_array().unwrap();
    assert_eq!(stages.iter().map(|stage| stage["over"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "cluster"]);
    for stage in stages {
        let cells = stage["cells"].as_array().unwrap();
        for (who, loads) in [("roomcast", 5), ("embedded", 1), ("centrifugo", 5), ("socket.io", 4), ("bare XADD", 2)] {
            let own: Vec<_> = cells.iter().filter(|cell| cell["who"] == who).collect();
            assert_eq!(own.len(), loads, "{who}: {own:?}");
            assert!(own.iter().all(|cell| cell["rounds"][0]["events"].as_u64().unwrap() > 0), "{who}: {own:?}");
        }
        let slow = stage["slow"].as_array().unwrap();
        assert_eq!(slow.len(), 4);
        assert!(slow.iter().all(|one| one["answered"]["count"] == 10 && one["received"]["count"].as_u64() == Some(10)));
        assert!(
            stage["bars"].as_array().unwrap().iter().any(|bar| bar["bound"] == serde_json::json!({"at_most": 0.7}))
        );
    }
}

#[test]
fn sessions_are_resumed_at_the_pod_that_did_not_begin_them() {
    let found = run("connect --another --in-flight 4 --seconds 0.5");
    let count = |part: &str, what: &str| found[part][what].as_u64().unwrap();
    assert_eq!(count("full", "resumed"), 0, "{found}");
    for part in ["resuming", "elsewhere"] {
        // The first of each chain has nothing to resume.
        assert!(count(part, "resumed") > 0 && count(part, "resumed") < count(part, "opened"), "{found}");
    }
}

#[test]
fn rooms_have_members_on_every_pod_and_each_gets_every_event() {
    let found =
        run("spread --pods 2 --connections 10 --rooms 100 --each 20 --quiet 0.2 --rate 200 --batch 5 --seconds 1");
    assert_eq!((&found["members"], &found["published"]["events"]), (&2.into(), &200.into()), "{found}");
    assert_eq!(found["published"]["deliveries"], 200 * 2 * 2, "{found}");
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&found["memory_after_kib"]) > number(&found["memory_before_kib"]), "{found}");
    assert!(number(&found["redis_kib"]) > 0.0 && number(&found["published"]["events_a_call"]) > 1.0, "{found}");
    for cost in ["redis_cpu_us_per_event", "taking_cpu_us_per_event"] {
        assert!(number(&found["published"][cost]) > 0.0, "{cost}: {found}");
    }
}

#[test]
fn servers_of_others_broadcast_in_turns_and_every_client_gets_every_event() {
    for (program, argument) in [("go", "version"), ("npm", "--version")] {
        if !has(program, argument) {
            eprintln!("SKIPPED: {program} is missing, so there are no peers to measure beside: install it");
            return;
        }
    }
    let (mut all, mut peers) = (vec!["roomcast", "centrifugo", "socket.io"], "centrifugo,socketio".to_owned());
    // Each has turns of its own, and some take minutes to build.
    if std::env::var("PEERS").is_ok_and(|which| which == "all") {
        all = vec![
            "roomcast",
            "centrifugo",
            "centrifugo GOGC=50",
            "centrifugo deltas",
            "socket.io",
            "nchan",
            "nats",
            "mercure",
        ];
        peers = "centrifugo,centrifugo-gogc50,centrifugo-deltas,socketio,nchan,nats,mercure".to_owned();
    } else {
        eprintln!(
            "SKIPPED of the peers: nchan, nats, mercure and two ways to run Centrifugo; PEERS=all measures beside all"
        );
    }
    let found = run(&format!(
        "peers --part broadcast --peers {peers} --connections 40 --rooms 8 --room-rate 10 --rooms-rate 40 \
         --broadcast-seconds 0.5 --settle 0 --repetitions 1 --seconds 0.2 --callers 4",
    ));
    let races = found["field"].as_array().unwrap();
    assert_eq!(
        races.iter().map(|race| race["shape"].as_str().unwrap()).collect::<Vec<_>>(),
        ["compressed", "plain", "rooms"]
    );
    let bytes = |race: usize, who: usize| {
        races[race]["standings"][who]["rounds"][0]["single"]["wire_bytes_per_delivery"].as_f64()
    };
    for race in races {
        for (standing, who) in race["standings"].as_array().unwrap().iter().zip(&all) {
            assert_eq!((&standing["who"], &standing["cannot"]), (&(*who).into(), &Value::Null), "{race}");
            let round = &standing["rounds"][0];
            let deliveries = if race["shape"] == "rooms" { 20 * 40 / 8 } else { 40 * 5 };
            assert_eq!(round["single"]["deliveries"], deliveries, "{standing}");
            assert_eq!(round["bursts"].is_null(), race["shape"] == "rooms", "{standing}");
            assert!(round["connects_per_second"].as_f64().unwrap() > 0.0, "{standing}");
            let published = &round["published"];
            match (race["shape"].as_str().unwrap(), *who) {
                ("plain", "nats") => assert_eq!(published["Cannot"], "NATS has no HTTP API"),
                ("plain", _) => assert!(published["Rate"]["per_second"].as_f64().unwrap() > 0.0, "{standing}"),
                _ => assert!(published.is_null(), "{standing}"),
            }
        }
    }
    for (who, name) in all.iter().enumerate() {
        assert!(bytes(0, who).unwrap() < bytes(1, who).unwrap(), "{name} compresses");
    }
}

#[test]
fn a_crowd_comes_beside_and_then_to_those_that_stay() {
    let found = run("comeback --connections 200 --residents 20 --rate 20 --seconds 0.5 --size 300");
    for crowd in ["control", "comeback"] {
        let Value::Object(crowd) = &found[crowd] else { panic!("{found}") };
        assert!(crowd["seconds"].as_f64().unwrap() > 0.0 && crowd["cpu_us_each"].as_f64().unwrap() > 0.0, "{found}");
        assert!((1..=200).contains(&crowd["peak_per_second"].as_u64().unwrap()), "{found}");
        assert!(crowd["residents"]["deliveries"].as_u64().unwrap() >= 20, "{found}");
    }
    assert!(found["alone"]["deliveries"].as_u64().unwrap() >= 20 * 5 && found["slowed"][1].as_f64().unwrap() > 0.0);
}

#[test]
fn events_cross_an_ocean_once_and_nothing_is_lost_when_links_and_pods_fail() {
    let found = run(
        "edge --regions 2 --delay 20,10 --edges 1 --most-edges 2 --crowd 2 --rooms 5 --rate 50 --seconds 1 --follow 200 --follow-rate 100 \
         --cut 0.3 --one-server",
    );
    let number = |value: &Value| value.as_f64().unwrap();
    let across = &found["across"];
    assert_eq!(
        (across["from_home"]["home"]["count"].as_u64(), across["from_edge"]["events"].as_u64()),
        (Some(100), Some(50))
    );
    for (reached, ways) in [
        (&across["from_home"]["regions"][0], 20.0),
        (&across["from_home"]["regions"][1], 10.0),
        (&across["from_edge"]["regions"][0], 30.0),
    ] {
        assert_eq!((number(&reached["ways_ms"]), &reached["latency"]["count"]), (ways, &50.into()), "{reached}");
        // Three significant digits.
        assert!(number(&reached["latency"]["p50"]) > ways * 0.99, "{reached}");
    }
    let copies = &found["copies"];
    for (case, edges) in [("one", 1), ("several", 2)] {
        let case = &copies[case];
        assert_eq!((&case["edges"], &case["deliveries"]), (&edges.into(), &100.into()), "{case}");
        // Each event crosses at least once, with its 256 bytes.
        assert!(number(&case["bytes_an_event"]) > 256.0, "{case}");
    }
    assert!(number(&copies["ratio"]) < 1.5, "two edges behind relays have one copy: {copies}");
    assert!(number(&found["followed"]["ratio"]["cpu"]["median"]) > 0.0, "{found}");
    let faulted = &found["faulted"];
    // Four kinds of cuts for each region; a relay and a pod of the home, of which there are two, are killed.
    assert_eq!(faulted["steps"].as_array().unwrap().len(), 4 * 2 + 2, "{faulted}");
    for wrong in ["lost", "duplicated", "reordered", "silent_gaps", "other"] {
        assert_eq!(faulted[wrong], 0, "{faulted}");
    }
    assert!(faulted["deliveries"].as_u64().unwrap() > faulted["acknowledged"].as_u64().unwrap(), "{faulted}");
}

#[test]
fn two_pods_are_called_in_turns() {
    let found = run("pair --bursts 2 --callers 4");
    assert_eq!(found["bursts"].as_array().unwrap().len(), 2);
    for figure in ["pod", "reference", "ratio"] {
        assert!(found[figure]["min"].as_f64().unwrap() > 0.0, "{found}");
    }
}
