//! What each field around an event costs on the wire, in frames that refer to earlier ones and in frames that do not; and what each
//! level of deflate costs and saves there.
//!
//! No pod, no network: messages as the native protocol writes them, of three corpora, and the same messages with a field less, in another
//! order, or in another shape. Always holds: the message that all are compared with is, byte for byte, what the pod's encoder
//! writes.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use roomcast::testing::{
    model::{Batch, Epoch, Event, Payload, Room},
    protocol::{Dialect as _, Messages, Native},
};
use roomcast_websocket::{Deflater, Opcode, message_frame, next_message_frame};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    arguments::OutputArgs,
    content::Random,
    corpus::Corpus,
    error::BenchError,
    plot::Plot,
    report::{self, Row},
};

/// The smallest message that a pod compresses by itself.
const COMPRESS_FROM: usize = 256;

/// Messages before which nothing is counted: the window fills.
const WARM_UP: usize = 50;

/// The room, the epoch and the topic: as long as those of real ones.
const ROOM: &str = "line:4711";
const EPOCH: &str = "b1946ac92492d2347";
const TOPIC: &str = "position";

/// Bytes of each field of an `events` message, in chained and in independent frames, and bytes and CPU of each level of deflate. No
/// pod is started. See bench/README.md.
#[derive(Debug, Args)]
pub(crate) struct EnvelopeArgs {
    /// How many events are counted
    #[arg(long, default_value_t = 640, value_name = "N")]
    events: usize,
    /// Chooses the random parts of the events
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// How often each level compresses them; the fastest counts
    #[arg(long, default_value_t = 7, value_name = "N")]
    repetitions: usize,
    #[command(flatten)]
    output: OutputArgs,
}

/// A shape of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// As the native protocol writes it.
    Sent,
    /// As it was written before: positions ahead of what they are about.
    PositionsFirst,
    /// Without one of the batch's fields.
    Without(&'static str),
    /// Without one of the event's fields.
    EventWithout(&'static str),
    /// A possible next version: an array, with a number that `subscribed` gave for the room and epoch.
    Array,
    /// The same with the milliseconds since the message before instead of the time.
    ArrayWithPassedTime,
    /// What was published, and nothing around it.
    Data,
}

const SHAPES: [Shape; 13] = [
    Shape::Sent,
    Shape::PositionsFirst,
    Shape::Without("type"),
    Shape::Without("room"),
    Shape::Without("epoch"),
    Shape::Without("after"),
    Shape::Without("offset"),
    Shape::EventWithout("topic"),
    Shape::EventWithout("time"),
    Shape::EventWithout("offset"),
    Shape::Array,
    Shape::ArrayWithPassedTime,
    Shape::Data,
];

impl Shape {
    fn name(self) -> String {
        match self {
            Self::Sent => "as it is sent".to_owned(),
            Self::PositionsFirst => "positions first".to_owned(),
            Self::Without(field) => format!("without `{field}`"),
            Self::EventWithout(field) => format!("without the event's `{field}`"),
            Self::Array => "an array".to_owned(),
            Self::ArrayWithPassedTime => "an array, time since the last".to_owned(),
            Self::Data => "`data` alone".to_owned(),
        }
    }

    fn write(self, said: &Said) -> String {
        let Said { offset, time, passed, data } = said;
        let field = |name: &str, value: String| (name.to_owned(), value);
        let object = |fields: Vec<(String, String)>| {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let (mut event, mut batch) = (
            vec![
                field("topic", format!("\"{TOPIC}\"")),
                field("data", data.clone()),
                field("time", time.to_string()),
                field("offset", offset.to_string()),
            ],
            vec![
                field("type", "\"events\"".to_owned()),
                field("room", format!("\"{ROOM}\"")),
                field("epoch", format!("\"{EPOCH}\"")),
                field("events", String::new()),
                field("after", (offset - 1).to_string()),
                field("offset", offset.to_string()),
            ],
        );
        match self {
            Self::Sent => {}
            Self::PositionsFirst => {
                event.rotate_right(1);
                batch[3..].rotate_left(1);
            }
            Self::Without(name) => batch.retain(|(field, _)| field != name),
            Self::EventWithout(name) => event.retain(|(field, _)| field != name),
            Self::Array => return format!("[7,\"{TOPIC}\",{data},{time},{offset}]"),
            Self::ArrayWithPassedTime => return format!("[7,\"{TOPIC}\",{data},{passed},{offset}]"),
            Self::Data => return data.clone(),
        }
        let events = format!("[{}]", object(event));
        batch.iter_mut().filter(|(field, _)| field == "events").for_each(|(_, value)| value.clone_from(&events));
        object(batch)
    }
}

/// An event that is sent.
struct Said {
    offset: u64,
    time: u64,
    passed: u64,
    data: String,
}

/// Bytes a message.
#[derive(Debug, Clone, Copy, Serialize)]
struct Size {
    plain: f64,
    independent: f64,
    chained: f64,
}

/// What a shape comes to.
#[derive(Debug, Serialize)]
struct ShapeSize {
    corpus: &'static str,
    shape: String,
    #[serde(flatten)]
    size: Size,
}

/// What a level comes to, in bytes and microseconds of CPU a message.
#[derive(Debug, Serialize)]
struct LevelCost {
    corpus: &'static str,
    level: u32,
    independent: f64,
    independent_us: f64,
    chained: f64,
    chained_us: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    shapes: Vec<ShapeSize>,
    levels: Vec<LevelCost>,
}

/// Runs it.
pub(crate) async fn run(args: &EnvelopeArgs) -> Result<(), BenchError> {
    report::directory(&args.output)?;
    let mut measured = Measured { shapes: Vec::new(), levels: Vec::new() };
    let mut table = Vec::new();
    for corpus in Corpus::ALL {
        let said = said(corpus, args);
        let sent: Vec<String> = said.iter().map(|said| Shape::Sent.write(said)).collect();
        if let Some((ours, theirs)) =
            sent.iter().zip(&said).map(|(ours, said)| (ours, encoded(said))).find(|(a, b)| *a != b)
        {
            return Err(BenchError::Faults(format!("{ours}\nis not what the pod writes:\n{theirs}")));
        }
        let mut first = None;
        for shape in SHAPES {
            let messages: Vec<String> = said.iter().map(|said| shape.write(said)).collect();
            let size = size(&messages);
            table.push(shape_row(corpus, shape, size, *first.get_or_insert(size)));
            measured.shapes.push(ShapeSize { corpus: corpus.name(), shape: shape.name(), size });
        }
        measured.levels.extend((1..=9).map(|level| level_cost(corpus, level, &sent, args.repetitions)));
    }
    let levels = rows(measured.levels.iter().map(level_row));
    println!("\n{}", levels.markdown());
    let plot = Plot {
        title: format!("{} events of three corpora", args.events),
        bars_title: "bytes a message, chained".to_owned(),
        bars: measured
            .shapes
            .iter()
            .filter(|shape| ["as it is sent", "an array", "`data` alone"].contains(&shape.shape.as_str()))
            .map(|shape| (format!("{}, {}", shape.corpus, shape.shape), vec![shape.size.chained]))
            .collect(),
        ..Plot::default()
    };
    report::write("envelope", &args.output, &measured, &rows(table.into_iter()), &plot)
}

fn rows(mut rows: impl Iterator<Item = Row>) -> Row {
    let first = rows.next().unwrap_or_default();
    rows.fold(first, Row::above)
}

fn shape_row(corpus: Corpus, shape: Shape, size: Size, sent: Size) -> Row {
    let cell = |bytes: f64, sent: f64| match shape {
        Shape::Sent => format!("{bytes:.1}"),
        _ => format!("{bytes:.1} ({:+.1})", bytes - sent),
    };
    Row::default()
        .cell("corpus", corpus.name())
        .cell("message", shape.name())
        .cell("plain", cell(size.plain, sent.plain))
        .cell("independent", cell(size.independent, sent.independent))
        .cell("chained", cell(size.chained, sent.chained))
}

fn level_row(cost: &LevelCost) -> Row {
    Row::default()
        .cell("corpus", cost.corpus)
        .cell("level", cost.level.to_string())
        .cell("independent, bytes", format!("{:.1}", cost.independent))
        .cell("us", format!("{:.1}", cost.independent_us))
        .cell("chained, bytes", format!("{:.1}", cost.chained))
        .cell("us ", format!("{:.1}", cost.chained_us))
}

/// The events of a corpus, at about the times at which it says that they were.
fn said(corpus: Corpus, args: &EnvelopeArgs) -> Vec<Said> {
    let (mut time, mut random) = (1_795_132_800_123, Random(args.seed));
    let gap = if corpus == Corpus::Vehicles { 997 } else { 4_111 };
    let event = |n: u64| {
        let passed = gap + random.below(7) as u64;
        time += passed;
        Said { offset: 1_000 + n, time, passed, data: corpus.data(args.seed, n) }
    };
    (0..(WARM_UP + args.events.max(1)) as u64).map(event).collect()
}

/// What the pod writes.
fn encoded(said: &Said) -> String {
    let event = Event {
        offset: said.offset,
        time: said.time,
        room: None,
        topic: TOPIC.into(),
        key: None,
        payload: RawValue::from_string(said.data.clone()).map(Payload::Json).expect("a corpus is JSON"),
        user: None,
        id: None,
    };
    let (room, epoch) = (Room::parse(ROOM).expect("a name"), Epoch::new(EPOCH));
    let batch = Batch { room, epoch, after: said.offset - 1, offset: said.offset, events: vec![Arc::new(event)] };
    let mut messages = Messages::default();
    Native.batch(&batch, 0, &mut messages);
    messages.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}

fn size(messages: &[String]) -> Size {
    let counted = messages.len() - WARM_UP;
    let each = |bytes: usize| bytes as f64 / counted as f64;
    Size {
        plain: each(messages[WARM_UP..].iter().map(String::len).sum()),
        independent: each(independent(&mut Deflater::new(Deflater::DEFAULT_LEVEL, 15), messages)),
        chained: each(chained(&mut Deflater::new(Deflater::DEFAULT_LEVEL, 15), messages)),
    }
}

/// The bytes of the messages behind those of the warm-up, as frames that refer to nothing.
fn independent(deflater: &mut Deflater, messages: &[String]) -> usize {
    let mut out = Vec::new();
    for message in &messages[WARM_UP..] {
        message_frame(Opcode::Text, message.as_bytes(), Some((deflater, least(message))), &mut out);
    }
    out.len()
}

/// The same as frames of one chain.
fn chained(deflater: &mut Deflater, messages: &[String]) -> usize {
    let (mut out, mut before) = (Vec::new(), 0);
    deflater.begin_anew();
    for (n, message) in messages.iter().enumerate() {
        if n == WARM_UP {
            before = out.len();
        }
        next_message_frame(Opcode::Text, message.as_bytes(), (deflater, least(message)), &mut out);
    }
    out.len() - before
}

/// A shape that makes a message too short to be compressed would be compared with nothing.
fn least(message: &str) -> usize {
    COMPRESS_FROM.min(message.len())
}

fn level_cost(corpus: Corpus, level: u32, messages: &[String], repetitions: usize) -> LevelCost {
    let counted = (messages.len() - WARM_UP) as f64;
    let mut deflater = Deflater::new(level, 15);
    let mut fastest = |of: fn(&mut Deflater, &[String]) -> usize| {
        let (mut bytes, mut best) = (0, Duration::MAX);
        for _ in 0..repetitions.max(1) {
            let began = Instant::now();
            bytes = black_box(of(&mut deflater, black_box(messages)));
            best = best.min(began.elapsed());
        }
        (bytes as f64 / counted, best.as_secs_f64() * 1e6)
    };
    let ((independent, independent_us), (chained, chained_us)) = (fastest(independent), fastest(chained));
    LevelCost {
        corpus: corpus.name(),
        level,
        independent,
        independent_us: independent_us / counted,
        chained,
        // Those of the warm-up are compressed as well.
        chained_us: chained_us / messages.len() as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_of_what_the_pod_writes() {
        let data = r#"{"vehicle":"tram-001"}"#.to_owned();
        let said = Said { offset: 7, time: 1_795_132_800_123, passed: 997, data };
        assert_eq!(Shape::Sent.write(&said), encoded(&said));
        for shape in SHAPES {
            let text = shape.write(&said);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
            assert!(shape == Shape::Sent || text != encoded(&said), "{text}");
        }
        assert_eq!(
            Shape::PositionsFirst.write(&said),
            format!(
                r#"{{"type":"events","room":"{ROOM}","epoch":"{EPOCH}","after":6,"offset":7,"events":[{{"offset":7,"topic":"{TOPIC}","data":{},"time":1795132800123}}]}}"#,
                said.data
            )
        );
    }
}
