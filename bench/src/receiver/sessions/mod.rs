//! The receivers' process for WebTransport: thousands of sessions on one event loop of one thread.
//!
//! Takes the same orders and gives the same notices as the process for WebSockets, counts and checks with the same code.
//! Always holds: orders come one at a time; a session that ends unasked is a fault.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    task::LocalSet,
    time::{Instant, sleep},
};

use super::{
    control::{Agreed, Join, Notice, OPENING, Order, Target, VisitReport, Visits},
    tally::Tally,
};
use crate::{
    child::{self, say},
    clock::{self, SECOND},
    error::{BenchError, Doing as _},
    process,
    stats::Latencies,
    verify::Faults,
};

pub(super) mod callers;
pub(super) mod frames;
mod seat;
mod session;

use callers::Callers;
use seat::{Hall, Seat};
use session::Session;

/// How often it is looked whether what is waited for has come.
const LOOK: Duration = Duration::from_millis(5);

/// The role's main: until the parent closes the input.
pub(crate) fn run() -> Result<(), BenchError> {
    child::end_with_parent()?;
    process::raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the event loop".to_owned())?;
    let result = LocalSet::new().block_on(&runtime, serve());
    if let Err(error) = &result {
        say(&Notice::Failed(error.to_string()))?;
    }
    result
}

async fn serve() -> Result<(), BenchError> {
    let hall = Rc::new(Hall {
        tally: RefCell::new(Tally::new(Target::Pod)),
        frames: RefCell::default(),
        callers: Callers::new()?,
    });
    let mut seats: Vec<Rc<RefCell<Seat>>> = Vec::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.doing(|| "reading the parent's orders".to_owned())? {
        let order = serde_json::from_str(&line)
            .map_err(|e| BenchError::Protocol(format!("an order that cannot be read: {e}")))?;
        match order {
            Order::Join(join) => join_all(&hall, &join, &mut seats).await?,
            Order::Begin(_) => {
                hall.tally.borrow_mut().begin();
                for seat in &seats {
                    let mut seat = seat.borrow_mut();
                    seat.tracker.begin();
                    let read = seat.wire_bytes();
                    if let Some((_, base)) = &mut seat.connection {
                        *base = read;
                    }
                }
                say(&Notice::Began)?;
            }
            Order::Finish { ends, timeout_ms, last, .. } => {
                finish(&hall, &seats, ends.into_iter().collect(), timeout_ms, last).await?;
            }
            Order::Visit(visits) => visit(&hall, &visits).await?,
        }
    }
    Ok(())
}

async fn join_all(hall: &Rc<Hall>, join: &Join, seats: &mut Vec<Rc<RefCell<Seat>>>) -> Result<(), BenchError> {
    let from = seats.len();
    let (mut told, mut members, mut progress) = (clock::now(), 0, clock::now());
    loop {
        let begun = seats.len() - from;
        let now_members = seats[from..].iter().filter(|seat| seat.borrow().member).count();
        if let Some(ended) = seats[from..].iter().find_map(|seat| seat.borrow().ended.clone()) {
            return Err(BenchError::Protocol(format!("a session could not be opened: {ended}")));
        }
        if now_members > members {
            (members, progress) = (now_members, clock::now());
        }
        for index in begun..join.connections.min(members + join.in_flight) {
            seats.push(Session::start(hall, join, join.first + index, true));
        }
        if members >= join.connections {
            return say(&Notice::Ready(agreed(&seats[from..])));
        }
        let now = clock::now();
        if now.saturating_sub(progress) > OPENING {
            return Err(BenchError::Timeout {
                what: format!("opening session {} of {}", members + 1, join.connections),
                seconds: OPENING / SECOND,
                hint: "is the server overloaded, or does it refuse sessions without saying so?".to_owned(),
            });
        }
        if now.saturating_sub(told) > SECOND / 10 {
            told = now;
            say(&Notice::Joined(members))?;
        }
        sleep(LOOK).await;
    }
}

fn agreed(seats: &[Rc<RefCell<Seat>>]) -> Agreed {
    let mut positions = HashMap::new();
    let mut deflate = true;
    for seat in seats {
        let seat = seat.borrow();
        deflate &= seat.deflate;
        positions.insert(seat.room, seat.tracker.position());
    }
    // quinn does not say which suite was agreed.
    Agreed { suite: String::new(), deflate, positions: positions.into_iter().collect() }
}

async fn finish(
    hall: &Hall,
    seats: &[Rc<RefCell<Seat>>],
    ends: HashMap<u32, u64>,
    timeout_ms: u64,
    last: bool,
) -> Result<(), BenchError> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let there = |seat: &Rc<RefCell<Seat>>| {
        let seat = seat.borrow();
        seat.ended.is_some() || ends.get(&seat.room).is_none_or(|&end| seat.tracker.position() >= end)
    };
    while Instant::now() < deadline && !seats.iter().all(there) {
        sleep(LOOK).await;
    }
    let mut faults = Faults::default();
    let (mut connections, mut wire_bytes) = (0, 0);
    let mut tally = hall.tally.borrow_mut();
    for seat in seats {
        let seat = &mut *seat.borrow_mut();
        if let Some(ended) = &seat.ended {
            faults.closed += 1;
            tally.example(|| format!("a member of room {} was closed: {ended}", seat.room));
            continue;
        }
        connections += 1;
        wire_bytes += seat.wire_bytes() - seat.connection.as_ref().map_or(0, |(_, base)| *base);
        if let Some(&end) = ends.get(&seat.room) {
            seat.tracker.finish(end, &mut faults);
        }
    }
    tally.faults.lost += faults.lost;
    tally.faults.closed += faults.closed;
    tally.wire_bytes = wire_bytes;
    if faults.lost > 0 {
        tally.example(|| format!("{} events had not come at the end", faults.lost));
    }
    say(&Notice::Report(Box::new(tally.report(connections, last))))
}

async fn visit(hall: &Rc<Hall>, visits: &Visits) -> Result<(), BenchError> {
    let (start, mut told) = (Instant::now(), Instant::now());
    let (mut report, mut latency) = (VisitReport::default(), Latencies::new());
    let mut open: Vec<(Rc<RefCell<Seat>>, u64, Option<Instant>)> = Vec::new();
    let stays = visits.stay_ms.map(Duration::from_millis);
    let end = Duration::from_secs_f64(visits.seconds);
    let patience = Duration::from_nanos(OPENING) + stays.unwrap_or_default();
    let mut begun = 0_u64;
    loop {
        let elapsed = start.elapsed();
        open.retain_mut(|(seat, started, leaves)| {
            let mut seat = seat.borrow_mut();
            if let Some(ended) = &seat.ended {
                if leaves.is_none() {
                    report.failed += 1;
                } else {
                    report.faults.closed += 1;
                }
                report.example.get_or_insert_with(|| ended.clone());
                return false;
            }
            let arrived = if stays.is_some() { seat.member } else { seat.connection.is_some() };
            if leaves.is_none() && arrived {
                latency.record(clock::now().saturating_sub(*started));
                report.opened += 1;
                *leaves = Some(Instant::now() + stays.unwrap_or_default());
            }
            if leaves.is_some_and(|at| at <= Instant::now()) {
                if let Some((connection, _)) = seat.connection.take() {
                    connection.close(quinn::VarInt::from_u32(0x100), b"");
                }
                return false;
            }
            true
        });
        let opening = open.iter().filter(|(_, _, leaves)| leaves.is_none()).count();
        let due = visits.per_second.map_or(u64::MAX, |rate| (elapsed.as_secs_f64() * rate) as u64);
        if elapsed < end {
            for _ in 0..visits.join.in_flight.saturating_sub(opening).min(due.saturating_sub(begun) as usize) {
                let seat = Session::start(hall, &visits.join, begun as usize, stays.is_some());
                open.push((seat, clock::now(), None));
                begun += 1;
            }
        } else if open.is_empty() || elapsed > end + patience {
            report.failed += open.len() as u64;
            break;
        }
        if told.elapsed() > Duration::from_millis(100) {
            told = Instant::now();
            say(&Notice::Visited(report.opened))?;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let seen = hall.tally.borrow_mut().report(0, false);
    report.latency = latency.buckets();
    report.deliveries = seen.deliveries;
    report.faults.add(&seen.faults);
    report.example = report.example.or(seen.example);
    say(&Notice::Visits(Box::new(report)))
}
