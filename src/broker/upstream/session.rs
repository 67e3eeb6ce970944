//! Keeps one link to a home's pod, for as long as the edge lives.
//!
//! Never decides which room goes over it. Bounded: a message by [`MAX_RECORD`](crate::broker::relay::MAX_RECORD), and it must have come whole
//! within [`SILENT`]; what the home asks by the places for its questions; what it is told by [`TAKES_WITHIN`], after which it is cut. Always
//! holds: a link counts from the home's welcome on, and no more once it was silent; whatever the home says that this build cannot read, or
//! that cannot be true, ends it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{
    dial::dial,
    ledger::GOOD,
    link::HomeLink,
    sound::{is_event_offset, is_position},
    state::{EdgeState, own_now},
    unpacker::Unpacker,
};
use crate::broker::{
    Delivery, FleetAnswer, FleetQuestion,
    relay::{
        MAX_HOPS,
        delivered::decode,
        message::{
            Ancestry, FromEdge, FromHome, Record, RecordError, VERSION, check_pod, message, message_record, next_record,
        },
        pod_memory::OnAccount,
        taking_pace::TakingPace,
    },
};

/// How often an edge has a sign of life, which the home answers.
const PING_EVERY: Duration = Duration::from_secs(1);

/// For how long a home may say nothing, or have begun to.
const SILENT: Duration = Duration::from_secs(5);

/// Within which a home takes what it is told, however much that is.
const TAKES_WITHIN: Duration = Duration::from_secs(60);

/// The pause before the first attempt to connect again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// And the longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Keeps the link to the home's pod at that place among the addresses.
pub(super) async fn keep_link(state: Arc<EdgeState>, index: usize) {
    let Some(url) = state.settings.urls.get(index).cloned() else { return };
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let why = match timeout(state.settings.connect_timeout, dial(&url, &state.settings)).await {
            Ok(Ok(socket)) => run(&state, index, socket).await,
            Ok(Err(why)) => why,
            Err(_) => format!("no connection within {:?}", state.settings.connect_timeout),
        };
        state.metrics.reconnects.increment(1);
        if began.elapsed() >= GOOD {
            pause = FIRST_PAUSE;
        }
        if state.note(index, |ledger| ledger.ended(&why, std::time::Instant::now())) == Some(true) {
            tracing::warn!(url, why, "there is no link to the home");
        }
        let jitter = u64::from(getrandom::u32().unwrap_or_default() % 50);
        tokio::time::sleep(pause + Duration::from_millis(jitter)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Runs a link until it ends. Returns why.
async fn run<S>(state: &Arc<EdgeState>, index: usize, socket: WebSocketStream<S>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut writes, mut reads) = socket.split();
    let (pod, secret, release) = (state.pod.clone(), state.secret.clone(), env!("CARGO_PKG_VERSION").to_owned());
    let address = state.settings.advertise.clone();
    let hello = FromEdge::Hello { version: VERSION, pod, release, secret, address, inflates: true };
    let Some(hello) = message_record(&hello) else { return "there is no hello".to_owned() };
    if let Err(error) = writes.send(Message::Binary(hello)).await {
        return error.to_string();
    }
    let (mut link, mut unpacker): (Option<Arc<HomeLink>>, _) = (None, Unpacker::default());
    while link.is_none() {
        if let Err(why) = read(state, index, (&mut link, &mut unpacker), &mut reads).await {
            if let Some(link) = link {
                state.link_down(index, &link);
            }
            return why;
        }
    }
    let Some(link) = link else { return String::new() };
    let why = tokio::select! {
        why = async {
            let mut link = Some(Arc::clone(&link));
            loop {
                if let Err(why) = read(state, index, (&mut link, &mut unpacker), &mut reads).await {
                    return why;
                }
            }
        } => why,
        why = write(state, index, &link, &mut writes) => why,
        why = have_signs_of_life(&link) => why,
    };
    state.link_down(index, &link);
    why
}

/// Reads one message of the home.
async fn read<S>(
    state: &Arc<EdgeState>,
    index: usize,
    (link, unpacker): (&mut Option<Arc<HomeLink>>, &mut Unpacker),
    reads: &mut SplitStream<WebSocketStream<S>>,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What comes between is no sign of life: a message that never ends would be held for ever.
    let deadline = Instant::now() + SILENT;
    loop {
        match timeout_at(deadline, reads.next()).await {
            Err(_) => return Err(format!("the home said nothing for {SILENT:?}")),
            Ok(None) => return Err("the home ended the link".to_owned()),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(Some(Ok(Message::Binary(bytes)))) => {
                state.metrics.bytes_in.increment(bytes.len() as u64);
                state.note(index, |ledger| ledger.came(bytes.len()));
                let _held = OnAccount::put(&state.memory, bytes.len());
                return take(state, index, (link, unpacker), bytes);
            }
            Ok(Some(Ok(Message::Close(frame)))) => return Err(closed(frame.as_ref())),
            Ok(Some(Ok(_))) => {}
        }
    }
}

/// Writes what waits, until the home takes nothing more.
async fn write<S>(
    state: &EdgeState,
    index: usize,
    link: &HomeLink,
    writes: &mut SplitSink<WebSocketStream<S>, Message>,
) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some((bytes, _held)) = link.queue.next().await {
        state.metrics.bytes_out.increment(bytes.len() as u64);
        state.note(index, |ledger| ledger.went(bytes.len()));
        match timeout(SILENT, writes.send(Message::Binary(bytes))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("the home took nothing for {SILENT:?}"),
        }
    }
    "it was closed".to_owned()
}

async fn have_signs_of_life(link: &HomeLink) -> String {
    let mut pace = TakingPace::new(TAKES_WITHIN.as_secs() as usize / PING_EVERY.as_secs() as usize);
    loop {
        if pace.is_too_slow(&link.queue) {
            return format!("the home has not taken what it was told {TAKES_WITHIN:?} ago");
        }
        link.queue.send(&FromEdge::Ping { at: own_now() });
        tokio::time::sleep(PING_EVERY).await;
    }
}

fn closed(frame: Option<&CloseFrame>) -> String {
    match frame {
        Some(frame) if !frame.reason.is_empty() => format!("the home refuses it: {}", frame.reason),
        _ => "the home ended the link".to_owned(),
    }
}

/// Takes in what the home says.
fn take(
    state: &Arc<EdgeState>,
    index: usize,
    (link, unpacker): (&mut Option<Arc<HomeLink>>, &mut Unpacker),
    mut bytes: Bytes,
) -> Result<(), String> {
    let failed = |error: RecordError| error.to_string();
    while let Some(record) = next_record(&mut bytes).map_err(failed)? {
        match (record, &*link) {
            (Record::Delivery(number, body), Some(_)) => delivered(state, index, number, &body)?,
            (Record::Packed(packed), Some(_)) => {
                let mut unpacked = unpacker.unpack(&packed).map_err(failed)?;
                let _held = OnAccount::put(&state.memory, unpacked.len());
                while let Some(record) = next_record(&mut unpacked).map_err(failed)? {
                    let Record::Delivery(number, body) = record else {
                        return Err("the home has compressed what is no delivery".to_owned());
                    };
                    delivered(state, index, number, &body)?;
                }
            }
            (Record::Delivery(..) | Record::Packed(_), None) => {
                return Err("a delivery came before the welcome".to_owned());
            }
            (Record::Message(json), None) => match message(&json).map_err(failed)? {
                FromHome::Welcome { version: VERSION, pod, ancestry, largest, wants_tokens } => {
                    check_pod(&pod)?;
                    check(state, &ancestry)?;
                    state.set_ancestry(index, ancestry);
                    let new = HomeLink::new(pod, largest, wants_tokens, Arc::clone(&state.memory));
                    *link = Some(Arc::clone(&new));
                    state.link_up(index, &new);
                }
                FromHome::Welcome { version, .. } => {
                    return Err(format!("the home speaks version {version} of the link, this edge version {VERSION}"));
                }
                _ => return Err("the home did not say that it takes the link".to_owned()),
            },
            (Record::Message(json), Some(link)) => {
                said(state, index, link, message(&json).map_err(failed)?)?;
            }
        }
    }
    Ok(())
}

/// Takes in a delivery.
fn delivered(state: &EdgeState, index: usize, number: u32, body: &Bytes) -> Result<(), String> {
    let delivery = decode(body).map_err(|error| format!("a delivery cannot be read: {error}"))?;
    if let Delivery::Event { event, .. } = &delivery {
        if !is_event_offset(event.offset) {
            return Err("an event came whose offset is none".to_owned());
        }
        let lag = state.home_now().saturating_sub(event.time);
        // Milliseconds of any sensible lag are exact.
        state.metrics.lag.record(lag as f64 / 1_000.0);
        state.note(index, |ledger| ledger.lagged(lag));
    }
    state.rooms.delivered(index, number, delivery);
    Ok(())
}

/// Whether the pods between this one and the log are no circle, and not too many.
fn check(state: &EdgeState, ancestry: &Ancestry) -> Result<(), String> {
    ancestry.check()?;
    if ancestry.pods.contains(&state.pod) {
        return Err(format!("a circle: this edge, {}, is between that home and the log", state.pod));
    }
    if ancestry.hops > MAX_HOPS {
        return Err(format!("too long a way: {} pods are between this edge and the log", ancestry.hops));
    }
    Ok(())
}

fn said(state: &Arc<EdgeState>, index: usize, link: &Arc<HomeLink>, said: FromHome) -> Result<(), String> {
    match said {
        FromHome::Welcome { .. } => return Err("a second welcome came".to_owned()),
        FromHome::Ancestry(ancestry) => {
            check(state, &ancestry)?;
            state.set_ancestry(index, ancestry);
        }
        FromHome::Started { position, .. } if !is_position(&position) => {
            return Err("a room is said to stand where none can".to_owned());
        }
        FromHome::Started { number, position } => state.rooms.started(index, number, position),
        FromHome::Refused { number, why } => state.rooms.refused(index, number, &why),
        FromHome::Answered { id, said } => state.users_refused(link.answered(id, said, &state.tokens)),
        FromHome::Alive => {}
        FromHome::ShowAgain => link.show_again(&state.tokens),
        FromHome::Pong { at, time } => state.heard(index, at, time),
        FromHome::Ask { id, question } => answer(state, link, id, *question),
    }
    Ok(())
}

/// Answers a question of the home, unless too many are being answered: then it counts this pod as silent.
fn answer(state: &Arc<EdgeState>, link: &Arc<HomeLink>, id: u64, question: FleetQuestion) {
    let Ok(place) = Arc::clone(&state.questions).try_acquire_owned() else {
        state.metrics.refused_question.increment(1);
        return;
    };
    let answer = state.respond.get().map(|respond| respond.respond(question));
    let (state, link) = (Arc::clone(state), Arc::clone(link));
    tokio::spawn(async move {
        let said = match answer {
            Some(answer) => answer.await,
            None => None,
        };
        // The home wants tokens of the users that are named.
        for user in said.iter().flat_map(FleetAnswer::users) {
            link.show_token(user, &state.tokens);
        }
        let fits = |record: &Bytes| record.len() <= link.largest;
        let record = message_record(&FromEdge::Answer { id, said }).filter(fits);
        if let Some(record) = record.or_else(|| message_record(&FromEdge::Answer { id, said: None })) {
            link.queue.send_record(record);
        }
        drop(place);
    });
}
