//! A node's subscriptions, stepped through time against a server that is played by hand.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The subscriptions, their clock, and what they told.
struct PlayedServer {
    subscriptions: NodeSubscriptions,
    now: Instant,
    told: Vec<String>,
}

fn hello(version: &str) -> String {
    format!("%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n${}\r\n{version}\r\n+proto\r\n:3\r\n", version.len())
}

fn push(kind: &str, channel: &str) -> String {
    format!(">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:1\r\n", kind.len(), channel.len())
}

impl PlayedServer {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            subscriptions: NodeSubscriptions::new(vec!["HELLO".to_owned(), "3".to_owned()], now),
            now,
            told: Vec::new(),
        }
    }

    /// Connected and greeted by a server of this version.
    fn up(version: &str) -> Self {
        let mut stage = Self::new();
        stage.subscriptions.connected(stage.now);
        assert_eq!(stage.sent(), ["HELLO 3"]);
        stage.hear(&hello(version)).unwrap();
        stage.told();
        stage
    }

    /// A channel that stands.
    fn with(channel: &str) -> Self {
        let mut stage = Self::up("7.0.15");
        stage.order(&[(channel, Order::Subscribe)]);
        assert_eq!(stage.sent(), [format!("SSUBSCRIBE {channel}")]);
        stage.hear(&push("ssubscribe", channel)).unwrap();
        assert_eq!(stage.told(), [format!("confirmed {channel}")]);
        stage
    }

    fn order(&mut self, orders: &[(&str, Order)]) {
        let orders: Vec<(Arc<str>, Order)> =
            orders.iter().map(|(channel, order)| ((*channel).into(), *order)).collect();
        let Self { subscriptions, now, told } = self;
        subscriptions.order(orders.into_iter(), *now, |event| told.push(shown(&event)));
    }

    fn hear(&mut self, text: &str) -> Result<(), NodeError> {
        let Self { subscriptions, now, told } = self;
        subscriptions.buffer().extend_from_slice(text.as_bytes());
        subscriptions.received(*now, |event| told.push(shown(&event)))
    }

    fn pass(&mut self, milliseconds: u64) -> Result<(), NodeError> {
        self.now += Duration::from_millis(milliseconds);
        self.subscriptions.step(self.now)
    }

    /// The commands that are to be written now.
    fn sent(&mut self) -> Vec<String> {
        self.pass(0).unwrap();
        let mut reader = Reader::default();
        reader.buffer().extend_from_slice(&self.subscriptions.out().split());
        let words = |value: Value<'_>| match value {
            Value::List(words) => {
                words.iter().map(|word| word.text().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| reader.next(words).unwrap()).collect()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Up { sharded } => format!("up {sharded}"),
        Event::Confirmed(channel) => format!("confirmed {channel}"),
        Event::Lost(channel) => format!("lost {channel}"),
        Event::Message(channel, payload) => format!("message {channel} {}", String::from_utf8_lossy(payload)),
        Event::Moved(slot, owner) => format!("moved {slot} {owner}"),
        Event::Refresh => "refresh".to_owned(),
        Event::Refused(error) => error.to_string(),
    }
}

#[test]
fn ten_thousand_are_asked_for_in_commands_of_one_slot_and_64_channels() {
    let mut stage = PlayedServer::up("7.2.4");
    let names: Vec<String> = (0..10_000).map(|n| format!("{{{}}}:{n}", n % 100)).collect();
    stage.order(&names.iter().map(|name| (name.as_str(), Order::Subscribe)).collect::<Vec<_>>());
    let sent = stage.sent();
    assert_eq!(sent.len(), 200);
    for command in &sent {
        let channels: Vec<&str> = command.strip_prefix("SSUBSCRIBE ").unwrap().split(' ').collect();
        assert!(channels.len() <= 64 && channels.iter().all(|c| slot(c.as_bytes()) == slot(channels[0].as_bytes())));
    }
    // What is under way is not asked for twice, whatever else is wanted meanwhile.
    stage.order(&[("more", Order::Subscribe), (&names[0], Order::Subscribe)]);
    assert_eq!(stage.sent(), ["SSUBSCRIBE more"]);
    stage.pass(999).unwrap();
    assert_eq!(stage.sent(), [] as [&str; 0]);
    stage.pass(1).unwrap();
    assert_eq!(stage.sent().iter().filter(|command| command.starts_with("SSUBSCRIBE")).count(), 201);
}

#[test]
fn servers_before_7_get_plain_subscriptions() {
    let mut stage = PlayedServer::new();
    stage.order(&[("c", Order::Subscribe)]);
    assert_eq!(stage.sent(), [] as [&str; 0]);
    stage.subscriptions.connected(stage.now);
    stage.hear(&hello("6.2.14")).unwrap();
    assert_eq!(stage.told(), ["up false"]);
    assert_eq!(stage.sent(), ["HELLO 3", "SUBSCRIBE c"]);
    stage.hear(&push("subscribe", "c")).unwrap();
    stage.hear(">3\r\n+message\r\n+c\r\n+hi\r\n").unwrap();
    assert_eq!(stage.told(), ["confirmed c", "message c hi"]);
    stage.order(&[("c", Order::Unsubscribe)]);
    assert_eq!(stage.sent(), ["UNSUBSCRIBE c"]);
}

#[test]
fn what_the_server_takes_away_is_taken_back_at_once() {
    let mut stage = PlayedServer::with("c");
    stage.hear(&push("sunsubscribe", "c")).unwrap();
    assert_eq!(stage.told(), ["lost c", "refresh"]);
    assert_eq!(stage.sent(), [] as [&str; 0]);
    stage.pass(1).unwrap();
    assert_eq!(stage.sent(), ["SSUBSCRIBE c"]);
    stage.hear("-MOVED 7365 10.0.0.2:6379\r\n").unwrap();
    assert_eq!(stage.told(), ["moved 7365 10.0.0.2:6379", "refresh"]);
    stage.pass(99).unwrap();
    assert_eq!(stage.sent(), [] as [&str; 0]);
    stage.pass(1).unwrap();
    assert_eq!(stage.sent(), ["SSUBSCRIBE c"]);
    stage.hear(&push("ssubscribe", "c")).unwrap();
    assert_eq!(stage.told(), ["confirmed c"]);
}

#[test]
fn errors_are_retried_more_and_more_seldom_and_the_earlier_moment_counts() {
    let mut stage = PlayedServer::up("7.0.15");
    stage.order(&[("c", Order::Subscribe)]);
    for wait in [100, 200, 400, 800, 1_000, 1_000] {
        assert_eq!(stage.sent().iter().filter(|sent| *sent == "SSUBSCRIBE c").count(), 1, "before {wait}");
        // Many commands fail together: that is one failure.
        stage.hear("-NOPERM no such channel\r\n-NOPERM no such channel\r\n").unwrap();
        assert_eq!(stage.told().len(), 2);
        stage.pass(wait - 1).unwrap();
        assert!(!stage.sent().contains(&"SSUBSCRIBE c".to_owned()), "too early: {wait}");
        stage.pass(1).unwrap();
    }
    stage.sent();
    stage.hear("-CLUSTERDOWN Hash slot not served\r\n").unwrap();
    assert_eq!(stage.told(), [] as [&str; 0]);
    stage.order(&[("d", Order::Subscribe)]);
    assert_eq!(stage.sent().len(), 2);
}

#[test]
fn a_lost_connection_loses_all_and_the_next_one_asks_for_all() {
    let mut stage = PlayedServer::with("c");
    stage.order(&[("d", Order::Subscribe), ("gone", Order::Subscribe)]);
    stage.hear(&push("ssubscribe", "gone")).unwrap();
    stage.order(&[("gone", Order::Linger)]);
    stage.told();
    let PlayedServer { subscriptions, told, .. } = &mut stage;
    subscriptions.disconnected(|event| told.push(shown(&event)));
    assert_eq!(stage.told(), ["lost c", "refresh"]);
    assert_eq!((stage.subscriptions.deadline(), stage.sent().len()), (None, 0));
    stage.subscriptions.connected(stage.now);
    stage.hear(&hello("7.0.15")).unwrap();
    let mut sent = stage.sent();
    sent.sort();
    assert_eq!(sent, ["HELLO 3", "SSUBSCRIBE c", "SSUBSCRIBE d"]);
}

#[test]
fn silence_ends_a_connection_and_anything_heard_is_life() {
    let mut stage = PlayedServer::new();
    stage.subscriptions.connected(stage.now);
    assert_eq!(stage.pass(999), Ok(()));
    assert_eq!(stage.pass(1), Err(NodeError::Silent));

    let mut stage = PlayedServer::up("7.0.15");
    stage.pass(1_000).unwrap();
    assert_eq!(stage.sent(), ["PING"]);
    stage.hear("+PONG\r\n").unwrap();
    stage.pass(2_499).unwrap();
    assert!(stage.subscriptions.deadline().unwrap() <= stage.now + Duration::from_millis(1));
    assert_eq!(stage.pass(1), Err(NodeError::Silent));
}

#[test]
fn the_servers_own_count_finds_what_nothing_else_would() {
    let counted = |stage: &mut PlayedServer| {
        for _ in 0..5 {
            stage.hear("+PONG\r\n").unwrap();
            stage.pass(1_000).unwrap();
        }
        assert!(stage.sent().contains(&"CLIENT INFO".to_owned()));
    };
    let info = |ssub: usize| {
        let text = format!("txt:id=3 addr=127.0.0.1:5 name= sub=0 psub=0 ssub={ssub} multi=-1");
        format!("={}\r\n{text}\r\n", text.len())
    };
    let mut stage = PlayedServer::with("c");
    counted(&mut stage);
    assert_eq!(stage.hear(&info(1)), Ok(()));
    // What lingers is counted too, what was dropped after the question is not compared.
    stage.order(&[("c", Order::Linger)]);
    counted(&mut stage);
    assert_eq!(stage.hear(&info(1)), Ok(()));
    counted(&mut stage);
    stage.order(&[("c", Order::Unsubscribe)]);
    assert_eq!(stage.sent(), ["SUNSUBSCRIBE c"]);
    assert_eq!(stage.hear(&info(1)), Ok(()));
    counted(&mut stage);
    assert_eq!(stage.hear(&info(1)), Err(NodeError::Miscounted { theirs: 1, ours: 0 }));

    // A user may not be allowed to ask: then nothing is compared, and nothing is told.
    let mut stage = PlayedServer::with("c");
    counted(&mut stage);
    stage.hear("-NOPERM User pod has no permissions to run the 'client|info' command\r\n").unwrap();
    assert_eq!(stage.told(), [] as [&str; 0]);
    stage.pass(1_000).unwrap();
    stage.hear("+PONG\r\n").unwrap();
    stage.pass(2_000).unwrap();
    stage.hear("+PONG\r\n").unwrap();
    stage.pass(2_000).unwrap();
    assert!(!stage.sent().contains(&"CLIENT INFO".to_owned()));
}

#[test]
fn a_channel_that_lingers_is_heard_and_not_fought_for() {
    let mut stage = PlayedServer::with("c");
    stage.order(&[("c", Order::Linger)]);
    stage.hear(">3\r\n+smessage\r\n+c\r\n+late\r\n").unwrap();
    stage.hear(&push("sunsubscribe", "c")).unwrap();
    assert_eq!(stage.told(), ["message c late"]);
    stage.pass(500).unwrap();
    assert_eq!(stage.sent(), [] as [&str; 0]);

    // It comes back: whether it still stands is for the server to say.
    let mut stage = PlayedServer::with("c");
    stage.order(&[("c", Order::Linger)]);
    stage.order(&[("c", Order::Subscribe)]);
    assert_eq!(stage.sent(), ["SSUBSCRIBE c"]);
    stage.hear(&push("ssubscribe", "c")).unwrap();
    assert_eq!(stage.told(), ["confirmed c"]);

    // One that is not there yet has nothing to linger for, but its answer may be on its way.
    let mut stage = PlayedServer::up("7.0.15");
    stage.order(&[("c", Order::Subscribe)]);
    stage.sent();
    stage.order(&[("c", Order::Linger)]);
    assert_eq!(stage.sent(), ["SUNSUBSCRIBE c"]);
    stage.hear(&push("ssubscribe", "c")).unwrap();
    stage.hear(&push("sunsubscribe", "c")).unwrap();
    assert_eq!(stage.told(), [] as [&str; 0]);
}

#[test]
fn wanting_again_what_stands_says_so_again() {
    let mut stage = PlayedServer::with("c");
    stage.order(&[("c", Order::Subscribe)]);
    assert_eq!(stage.told(), ["confirmed c"]);
    // Dropped and wanted in a breath: the answers come in the order of the commands.
    stage.order(&[("c", Order::Unsubscribe)]);
    stage.order(&[("c", Order::Subscribe)]);
    assert_eq!(stage.sent(), ["SUNSUBSCRIBE c", "SSUBSCRIBE c"]);
    stage.hear(&push("sunsubscribe", "c")).unwrap();
    stage.hear(&push("ssubscribe", "c")).unwrap();
    assert_eq!(stage.told().last().map(String::as_str), Some("confirmed c"));
}

#[test]
fn a_refusal_says_why() {
    for (error, login) in [
        ("WRONGPASS invalid username-password pair or user is disabled.", true),
        ("NOAUTH HELLO must be called with the client already authenticated", true),
        ("ERR unknown command 'HELLO'", false),
        ("NOPROTO unsupported protocol version", false),
    ] {
        let mut stage = PlayedServer::new();
        stage.subscriptions.connected(stage.now);
        let refusal = stage.hear(&format!("-{error}\r\n")).unwrap_err();
        assert_eq!(matches!(&refusal, NodeError::Login(_)), login, "{refusal}");
        assert!(refusal.to_string().contains(error));
    }
    let mut stage = PlayedServer::up("7.0.15");
    assert!(matches!(stage.hear("?\r\n"), Err(NodeError::Unreadable(_))));
}

/// What may happen, and to which of three channels.
fn happening() -> impl Strategy<Value = (u8, usize)> {
    (0..12u8, 0..3usize)
}

proptest! {
    /// For every sequence of orders and answers: what is pending and what stands is counted right, and what is wanted and
    /// does not stand has a moment at which it is asked for.
    #[test]
    fn nothing_is_forgotten(happenings in prop::collection::vec(happening(), 0..80)) {
        let mut stage = PlayedServer::up("7.0.15");
        for (what, channel) in happenings {
            let name = ["a", "b", "c"][channel];
            match what {
                0 | 1 => stage.order(&[(name, Order::Subscribe)]),
                2 => stage.order(&[(name, Order::Linger)]),
                3 => stage.order(&[(name, Order::Unsubscribe)]),
                4..=6 => stage.hear(&push("ssubscribe", name)).unwrap(),
                7 => stage.hear(&push("sunsubscribe", name)).unwrap(),
                8 => stage.hear("-MOVED 1 h:2\r\n").unwrap(),
                9 => stage.pass(100).unwrap(),
                10 => drop(stage.sent()),
                _ => {
                    let PlayedServer { subscriptions, told, .. } = &mut stage;
                    subscriptions.disconnected(|event| told.push(shown(&event)));
                    stage.subscriptions.connected(stage.now);
                    stage.hear(&hello("7.0.15")).unwrap();
                }
            }
            stage.hear("+PONG\r\n").unwrap();
            let subscriptions = &stage.subscriptions;
            let stands = |subscription: &&Subscription| matches!(subscription.standing, Standing::Confirmed | Standing::Lingering);
            prop_assert_eq!(subscriptions.standing, subscriptions.subscriptions.values().filter(stands).count());
            prop_assert_eq!(subscriptions.pending.len(), subscriptions.subscriptions.len() - subscriptions.standing);
            prop_assert!(subscriptions.pending.iter().all(|channel| subscriptions.subscriptions.contains_key(channel)));
            prop_assert!(subscriptions.pending.is_empty() || subscriptions.schedule.due().is_some());
        }
        // And when the server answers, all that is wanted stands.
        stage.pass(1_000).unwrap();
        for _ in 0..2 {
            let asked: Vec<String> = stage.sent();
            for name in asked.iter().filter_map(|command| command.strip_prefix("SSUBSCRIBE ")).flat_map(|c| c.split(' ')) {
                stage.hear(&push("ssubscribe", name)).unwrap();
            }
            stage.hear("+PONG\r\n").unwrap();
            stage.pass(1_000).unwrap();
        }
        prop_assert!(stage.subscriptions.pending.is_empty());
    }
}
