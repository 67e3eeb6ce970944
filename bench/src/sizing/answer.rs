//! The plan and the laws as tables in Markdown.

use super::{
    ask::Ask,
    laws::{Beyond, Laws, number},
    load::Figure,
    plan::Plan,
};
use crate::report::Row;

const MIB: f64 = 1024.0;
const GIB: f64 = 1024.0 * 1024.0;

/// One answer: question, figure, how it came about, and what of it was not measured.
struct Line(String, String, String, Vec<Beyond>);

/// What a figure is made of, with the largest residual of its laws.
fn by(figures: &[&Figure], what: &str) -> String {
    let largest = figures.iter().fold(0.0, |most: f64, figure| most.max(figure.largest));
    format!("{what}; points lie up to {:.0} % off", largest * 100.0)
}

fn beyond(figures: &[&Figure]) -> Vec<Beyond> {
    let mut all = Vec::new();
    figures.iter().flat_map(|figure| &figure.beyond).for_each(|beyond| beyond.add_to(&mut all));
    all
}

/// The same of connections alone.
fn connections_beyond(figures: &[&Figure]) -> Vec<Beyond> {
    let mut all = beyond(figures);
    all.retain(|beyond| matches!(beyond.parameter, "sockets" | "sessions"));
    all
}

/// The plan.
pub(crate) fn plan(ask: &Ask, plan: &Plan) -> String {
    let mut lines = pods(ask, plan);
    lines.extend(rollout(plan));
    lines.extend(redis(ask, plan));
    let rows = lines.into_iter().map(|Line(question, figure, how, beyond)| {
        let places: Vec<_> = beyond.iter().map(Beyond::to_string).collect();
        let reach = if places.is_empty() { "no".to_owned() } else { format!("**yes**: {}", places.join("; ")) };
        Row::default().cell("what", question).cell("figure", figure).cell("by", how).cell("extrapolated", reach)
    });
    rows.reduce(Row::above).unwrap_or_default().markdown()
}

fn pods(ask: &Ask, plan: &Plan) -> Vec<Line> {
    let Plan { all, missing, .. } = plan;
    let cpu = [&all.frames, &all.quiet, &all.publishing];
    let memory = [&missing.memory, &missing.kernel];
    let fleet = |value: f64| value * plan.pods as f64;
    let reason = format!("{}; {} may be missing", plan.reason.words(), ask.spare);
    let limit = plan.most_kib() * 2.0 / GIB;
    vec![
        Line("pods".into(), number(plan.pods as f64), reason, beyond(&cpu)),
        Line(
            "connections of a pod".into(),
            format!("{}; {} with the spare missing", number(all.held), number(missing.held)),
            "spread evenly".into(),
            connections_beyond(&[&missing.memory]),
        ),
        Line(
            "rooms of a pod, and its members of each".into(),
            format!("{}, {}", number(all.rooms), number(all.members)),
            "members meet by chance".into(),
            Vec::new(),
        ),
        Line(
            "deliveries a second, of a pod and in all".into(),
            format!("{}, {}", number(all.deliveries), number(fleet(all.deliveries))),
            "connections × rate".into(),
            Vec::new(),
        ),
        Line(
            "cores that a pod uses".into(),
            format!("{}; {} with the spare missing", number(all.cores()), number(missing.cores())),
            by(&cpu, "laws frame, quiet, publish"),
            beyond(&cpu),
        ),
        Line(
            "of it for frames, pings, publishing".into(),
            cpu.map(|figure| number(figure.value)).join(", "),
            by(&cpu, "the same laws"),
            Vec::new(),
        ),
        Line(
            "cores that all pods use".into(),
            number(fleet(all.cores())),
            format!("of {}", number(fleet(ask.cores))),
            Vec::new(),
        ),
        Line(
            "CPU to send one event to a pod's members of a room, ms".into(),
            number(all.fan_out / 1e3),
            "law frame; on all cores at once".into(),
            Vec::new(),
        ),
        Line(
            "memory of a pod, MiB: the process, the kernel's sockets".into(),
            [&all.memory, &all.kernel].map(|figure| number(figure.value / MIB)).join(", "),
            by(&memory, "laws memory, kernel"),
            beyond(&memory),
        ),
        Line(
            "the least memory limit, GiB".into(),
            number(limit),
            "the fullest pod, and as much again as `memory_budget`".into(),
            beyond(&[&plan.fullest.memory, &missing.memory]),
        ),
        Line(
            "bytes to clients, of a pod, Mbit/s".into(),
            number(all.egress.value * 8.0 / 1e6),
            by(&[&all.egress], "laws wire; without headers of TCP, UDP and IP"),
            beyond(&[&all.egress]),
        ),
        Line(
            "the same of all pods, Gbit/s; TB in 30 days".into(),
            format!(
                "{}; {}",
                number(fleet(all.egress.value) * 8.0 / 1e9),
                number(fleet(all.egress.value) * 86_400.0 * 30.0 / 1e12)
            ),
            "times the pods".into(),
            Vec::new(),
        ),
    ]
}

fn rollout(plan: &Plan) -> Vec<Line> {
    let Plan { all, moves, .. } = plan;
    let memory = [&plan.fullest.memory];
    vec![
        Line(
            "rollout: handshakes a second, all pods, one pod".into(),
            format!("{}, {}", number(moves.all * all.held), number(plan.come)),
            "the model of OPERATIONS.md".into(),
            Vec::new(),
        ),
        Line(
            "rollout: moves of a client; seconds that it lasts".into(),
            format!("{:.2}; {}", moves.each, moves.seconds),
            "the same".into(),
            Vec::new(),
        ),
        Line(
            "rollout: `max_connections` at least".into(),
            number(plan.most_held().ceil()),
            format!("the fullest pod holds {:.2} times its clients", moves.fullest),
            connections_beyond(&memory),
        ),
        Line(
            "rollout: cores of the fullest pod".into(),
            number(plan.cores_of_a_rollout()),
            by(
                &[&plan.join, &plan.fullest.frames],
                &format!("{} us a handshake with its join", number(plan.join.value)),
            ),
            beyond(&[&plan.fullest.frames]),
        ),
    ]
}

fn redis(ask: &Ask, plan: &Plan) -> Vec<Line> {
    let Some(burden) = &plan.burden else { return Vec::new() };
    let cores = [&burden.cores];
    vec![
        Line("Redis: events a second".into(), number(ask.publishes()), "rooms × events of each".into(), Vec::new()),
        Line(
            "Redis: CPU, cores".into(),
            number(burden.cores.value),
            by(&cores, &format!("law redis, {} events a call", number(ask.events_a_call))),
            beyond(&cores),
        ),
        Line(
            "Redis: masters by CPU".into(),
            number(burden.masters(ask.busy())),
            "one core each; three survive the loss of one, with a replica each".into(),
            beyond(&cores),
        ),
        Line(
            "Redis: bytes of data to pods, Mbit/s".into(),
            number(burden.egress * 8.0 / 1e6),
            "each event once to each pod with a member".into(),
            Vec::new(),
        ),
        Line(
            "Redis: memory of rooms, MiB; data in their logs, MiB".into(),
            format!("{}; {}", number(burden.rooms.value / MIB), number(burden.logs / MIB)),
            by(&[&burden.rooms], "law redis-memory; 1,000 events or 5 minutes of each room"),
            beyond(&[&burden.rooms]),
        ),
    ]
}

/// The laws, what they were fitted to, and how far off the points lie.
pub(crate) fn laws(laws: &Laws) -> String {
    let rows = laws.iter().map(|law| {
        let range = |(name, least, most): &(&str, f64, f64)| {
            format!("{} {} to {}", name.replace('_', " "), number(*least), number(*most))
        };
        let ranges: Vec<_> = law.ranges.iter().map(range).collect();
        Row::default()
            .cell("law", law.shape.curve)
            .cell("of", law.shape.what)
            .cell("unit", law.shape.unit)
            .cell("it is", law.formula())
            .cell("points", law.points.to_string())
            .cell(
                "they lie off, mean and most",
                format!("{:.1} %, {:.1} %", law.fit.rms * 100.0, law.fit.largest * 100.0),
            )
            .cell("measured with", ranges.join(", "))
    });
    rows.reduce(Row::above).unwrap_or_default().markdown()
}
