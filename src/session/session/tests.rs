#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::{Limits, Token};

const LIMITS: SessionLimits = SessionLimits {
    in_welcome: Limits { max_message_bytes: 65_536, max_rooms: 128, commands_per_second: 50, command_burst: 256 },
    control_frames_per_second: 50,
    signals_per_second: 20,
    acks_per_second: 50,
    calls: Access::User,
    calls_per_second: 1,
    call_burst: 1,
    ping_interval_ms: 25_000,
};

/// How many of 400 such commands at once are within the rate.
fn taken(command: impl Fn() -> Command) -> usize {
    taken_of(&LIMITS, command)
}

fn taken_of(limits: &SessionLimits, command: impl Fn() -> Command) -> usize {
    let mut session = Session::new(ConnectionId(1), Some(Grant::default()), limits, 0);
    let mut take = || {
        let request = Request { id: None, command: command() };
        let (_, action) = session.receive_with(|| Ok(request), |_| Arc::default(), limits, 0);
        !matches!(action, Action::Reply(Reply::Error { code: ErrorCode::RateLimited, .. }) | Action::Close(_))
    };
    (0..400).filter(|_| take()).count()
}

#[test]
fn commands_cost_what_they_make_the_pod_do() {
    let room = || Room::parse("chat:1").unwrap();
    assert_eq!(taken(|| Command::Ping), 256);
    assert_eq!(taken(|| Command::History { room: room(), since: None, before: None, limit: None }), 64);
    assert_eq!(taken(|| Command::Delete { room: room(), epoch: None, offset: 1 }), 64);
    let refresh = || Command::Refresh { token: Token::new("x") };
    assert_eq!(taken(refresh), 16);
    let little = Limits { command_burst: 8, ..LIMITS.in_welcome };
    assert_eq!(taken_of(&SessionLimits { in_welcome: little, ..LIMITS }, refresh), 4);
    let connect = || Command::Connect { token: Some(Token::new("x")) };
    assert_eq!(taken(connect), 64 + (256 - 64) / 16);
    let list = || Command::Presence { room: room() };
    assert_eq!(taken(list), 128 + (256 - 128) / 2);
}

#[test]
fn a_described_client_leaves_only_rooms_that_it_joined_by_a_command() {
    let mut session = Session::new(ConnectionId(1), Some(Grant::default()), &LIMITS, 0);
    let room = |name: &str| Room::parse(name).unwrap();
    session.begins_in(vec![room("everyone")]);
    for n in 0..1_000 {
        session.begins_in(vec![room("everyone"), room(&format!("poll:{n}"))]);
        session.begins_in(vec![room("everyone")]);
    }
    assert!(session.begun_in.len() <= 128);
    session.begins_in(vec![room("everyone")]);
    let mut leave = |name: &str, unasked: bool| {
        let request = Request { id: None, command: Command::Unsubscribe { room: room(name), unasked } };
        session.receive_with(|| Ok(request), |_| Arc::default(), &LIMITS, 0).1
    };
    let refused = leave("everyone", false);
    assert!(matches!(refused, Action::Reply(Reply::Error { code: ErrorCode::NotSubscribed, .. })), "{refused:?}");
    assert!(matches!(leave("event:1", false), Action::Unsubscribe(left) if left.as_str() == "event:1"));
    assert!(matches!(leave("everyone", true), Action::Unsubscribe(_)), "the native protocol says what it is in");
}

#[test]
fn coming_back_with_a_token_to_all_rooms_and_their_lists_is_not_punished() {
    for (max_rooms, command_burst) in [(128, 256), (1_000, 1_024), (50, 64)] {
        let limits = SessionLimits { in_welcome: Limits { max_rooms, command_burst, ..LIMITS.in_welcome }, ..LIMITS };
        let mut session = Session::new(ConnectionId(1), Some(Grant::default()), &limits, 0);
        let rooms: Vec<_> = (0..max_rooms).map(|n| Room::parse(&format!("r:{n}")).unwrap()).collect();
        let commands = [Command::Connect { token: Some(Token::new("x")) }]
            .into_iter()
            .chain(rooms.into_iter().map(|room| Command::Presence { room }));
        for command in commands {
            let (_, action) =
                session.receive_with(|| Ok(Request { id: None, command }), |_| Arc::default(), &limits, 0);
            let is_limited = matches!(action, Action::Reply(Reply::Error { code: ErrorCode::RateLimited, .. }));
            assert!(!is_limited && !matches!(action, Action::Close(_)), "{max_rooms} of {command_burst}");
        }
    }
}

#[test]
fn namespaces_are_connected_to_once_and_floods_of_them_pay_for_their_tokens() {
    let connected = |shows_token| {
        let mut session = Session::new(ConnectionId(1), Some(Grant::default()), &LIMITS, 0);
        (0..400).take_while(|_| session.connects(shows_token, &LIMITS, 0) == Verdict::Fine).count()
    };
    assert_eq!([connected(false), connected(true)], [64 + 192 / 4, 64 + 192 / 16]);
}
