//! Which runs make the points of which curves.

use super::runs::{Of, Reading, Run};
use Of::{At, Is};

/// A byte.
const KIB: f64 = 1.0 / 1024.0;

/// All runs, what matters most first. Rates are so low that two cores that also receive are less than half busy.
pub(super) fn all() -> Vec<Run> {
    let mut runs = Vec::new();
    for (connections, seconds) in [(1_000, 12), (5_000, 27), (10_000, 12), (15_000, 12), (19_000, 27)] {
        runs.push(idle("websocket", connections, seconds));
    }
    for (rooms, connections, each) in [
        (1_000, 10, 100),
        (10_000, 100, 100),
        (50_000, 500, 100),
        (100_000, 1_000, 100),
        (100, 1_000, 100),
        (1, 1_000, 1),
    ] {
        runs.push(rooms_held(rooms, connections, each));
    }
    for (connections, seconds) in [(1_000, 12), (5_000, 27), (20_000, 27), (50_000, 12)] {
        runs.push(idle("webtransport", connections, seconds));
    }
    for (connections, rate) in [(1_000, 10), (2_500, 4), (5_000, 1), (5_000, 2), (5_000, 5), (10_000, 1), (19_000, 1)] {
        runs.push(broadcast("websocket", connections, rate, 1_024, true));
    }
    for (size, compressed) in [(256, true), (4_096, true), (16_384, true), (256, false), (1_024, false), (4_096, false)]
    {
        runs.push(broadcast("websocket", 5_000, 2, size, compressed));
    }
    for (rooms, rate) in [(50, 100), (250, 500), (1_000, 1_000), (5_000, 1_000)] {
        runs.push(rooms_of_few("websocket", 5_000, rooms, rate));
    }
    for pods in 1..=4 {
        runs.push(events(pods, 1, 500));
    }
    for (pods, batch, rate) in
        [(1, 20, 500), (2, 20, 500), (4, 20, 500), (1, 100, 2_000), (4, 100, 2_000), (8, 100, 2_000)]
    {
        runs.push(events(pods, batch, rate));
    }
    for (connections, rate) in [(1_000, 5), (5_000, 1), (15_000, 1), (30_000, 1)] {
        runs.push(broadcast("webtransport", connections, rate, 1_024, true));
    }
    for (size, compressed) in [(256, true), (4_096, true), (256, false), (1_024, false), (4_096, false)] {
        runs.push(broadcast("webtransport", 2_000, 2, size, compressed));
    }
    for (rooms, rate) in [(50, 50), (500, 250), (2_000, 500)] {
        runs.push(rooms_of_few("webtransport", 2_000, rooms, rate));
    }
    runs
}

fn reading(curve: &'static str, at: &[(&'static str, Of)], value: Of) -> Reading {
    Reading { curve, at: at.to_vec(), value, only_if: None }
}

/// Connections that are quiet. Pings come after 25 s of silence, signs of life of sessions after 12 s: shorter quiet says nothing of them.
fn idle(transport: &'static str, connections: u32, seconds: u32) -> Run {
    let count = Is(f64::from(connections));
    let (parameter, join) = match transport {
        "websocket" => ("sockets", "join-websocket"),
        _ => ("sessions", "join-webtransport"),
    };
    let mut readings = vec![
        reading("memory", &[], At("/result/memory_before/resident", KIB)),
        reading(
            "memory",
            &[(parameter, count), ("rooms", Is(1.0)), ("memberships", count)],
            At("/result/memory_after/resident", KIB),
        ),
        reading(join, &[(parameter, count)], At("/result/connect_cpu_us", 1.0)),
    ];
    if seconds >= 25 {
        readings.push(reading("quiet", &[(parameter, count)], At("/result/idle_cpu_percent", 1e4)));
    }
    if transport == "websocket" {
        let slab = At("/result/kernel_slab_kib_per_socket", 1.0);
        readings.push(Reading {
            only_if: Some("/result/kernel_is_ours"),
            ..reading("kernel", &[("sockets", count)], slab)
        });
    }
    let command = format!("idle --transport {transport} --connections {connections} --seconds {seconds} --workers 2");
    Run { command, readings }
}

/// Many rooms on few plain sockets.
fn rooms_held(rooms: u32, connections: u32, each: u32) -> Run {
    let command = format!("spread --connections {connections} --rooms {rooms} --each {each} --workers 2");
    let [count, plain, memberships] = [rooms, connections, connections * each].map(f64::from).map(Is);
    let at = [("redis", Is(1.0)), ("plain_sockets", plain), ("rooms", count), ("memberships", memberships)];
    let mut readings = vec![reading("memory", &at, At("/result/memory_after_kib", 1.0))];
    // Of fewer rooms what else Redis holds would be the larger part.
    if rooms >= 1_000 {
        readings.push(reading("redis-memory", &[("rooms", count)], At("/result/redis_kib", 1.0)));
    }
    Run { command, readings }
}

/// One room for all.
fn broadcast(transport: &'static str, connections: u32, rate: u32, size: u32, compressed: bool) -> Run {
    let plain = if compressed { "" } else { " --plain" };
    let command = format!(
        "broadcast --no-floor --quiet 0 --repetitions 3 --seconds 3 --transport {transport} --connections {connections} --rate {rate} \
         --size {size} --workers 2{plain}"
    );
    let wire = "/result/pod/wire_bytes_per_delivery/median";
    let (frame, wire_curve) = match (transport, compressed) {
        ("websocket", true) => ("frame-websocket", "wire-websocket"),
        ("websocket", false) => ("frame-websocket", "wire-websocket-plain"),
        (_, true) => ("frame-webtransport", "wire-webtransport"),
        (_, false) => ("frame-webtransport", "wire-webtransport-plain"),
    };
    let count = f64::from(connections);
    let at = [
        ("kib", At(wire, 1.0 / 1024.0)),
        ("thousands", Is(count / 1_000.0)),
        ("members", Is(count)),
        ("rate", Is(f64::from(rate))),
    ];
    let readings = vec![
        reading(frame, &at, At("/result/pod/cpu_us_per_delivery/median", 1.0)),
        reading(wire_curve, &[("bytes", Is(f64::from(size)))], At(wire, 1.0)),
    ];
    Run { command, readings }
}

/// Few members a room.
fn rooms_of_few(transport: &'static str, connections: u32, rooms: u32, rate: u32) -> Run {
    let command = format!(
        "rooms --transport {transport} --connections {connections} --rooms {rooms} --rate {rate} --seconds 5 --workers 2"
    );
    let curve = if transport == "websocket" { "frame-websocket" } else { "frame-webtransport" };
    let count = f64::from(connections);
    let at = [
        ("kib", At("/result/round/wire_bytes_per_delivery", 1.0 / 1024.0)),
        ("thousands", Is(count / 1_000.0)),
        ("members", Is(count / f64::from(rooms))),
        ("rate", Is(f64::from(rate))),
    ];
    Run { command, readings: vec![reading(curve, &at, At("/result/round/cpu_us_per_delivery", 1.0))] }
}

/// Events to rooms that have a member on each of so many pods, alone or so many a request.
fn events(pods: u32, batch: u32, rate: u32) -> Run {
    let command = format!(
        "spread --pods {pods} --connections 10 --rooms 1000 --each 100 --quiet 1 --rate {rate} --batch {batch} --seconds 5 --workers 1"
    );
    let calls = ("events_a_call", At("/result/published/events_a_call", 1.0));
    let at = [calls, ("pods", Is(f64::from(pods)))];
    let mut readings = vec![reading("redis", &at, At("/result/published/redis_cpu_us_per_event", 1.0))];
    if pods > 1 {
        readings.push(reading("publish", &at, At("/result/published/publishing_cpu_us_per_event", 1.0)));
        readings.push(reading("take", &at, At("/result/published/taking_cpu_us_per_event", 1.0)));
    }
    Run { command, readings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizing::laws::SHAPES;

    #[test]
    fn every_law_has_runs_that_make_its_points() {
        let runs = all();
        for shape in SHAPES {
            assert!(runs.iter().any(|run| run.curves().any(|curve| curve == shape.curve)), "{}", shape.curve);
        }
        let known = |curve: &str| SHAPES.iter().any(|shape| shape.curve == curve);
        assert!(runs.iter().flat_map(Run::curves).all(known));
    }
}
