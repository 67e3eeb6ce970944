use std::{num::NonZeroU8, sync::mpsc, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::*;
use crate::{
    hub::fanout::{client_window::ClientWindow, frame::Frame, window_mark::WindowMark},
    metrics::WindowMetrics,
    protocol::{DialectId, Framing, MessageKind},
    transport::webtransport::{write_compressed, write_stored},
};

/// What a room needs for a chain.
const MANY: u64 = 1_000;

fn windows(bytes: usize) -> Arc<SharedWindows> {
    Arc::new(SharedWindows::new(6, bytes, WindowMetrics::default()))
}

/// Windows of which what is counted can be read.
fn counted() -> (Arc<SharedWindows>, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = metrics::with_local_recorder(&recorder, WindowMetrics::default);
    (Arc::new(SharedWindows::new(6, 1 << 20, metrics)), recorder.handle())
}

fn of_bits(bits: u8) -> WireFormat {
    let framing = Framing::websocket(NonZeroU8::new(bits)).keeping_window(true);
    WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing }
}

fn messages(texts: &[&[u8]]) -> Messages {
    let mut messages = Messages::default();
    texts.iter().for_each(|text| messages.push(MessageKind::Text, |out| out.extend_from_slice(text)));
    messages
}

fn event(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n},\"text\":\"{}\"}}", "what is said in this room again and again ".repeat(8)).into_bytes()
}

/// Sends a frame of these messages to so many, all of which stay in the chain. What it has to do with their windows.
fn send(window: &Arc<RoomWindow>, format: WireFormat, texts: &[&[u8]], receivers: u64) -> FrameWindow {
    let (mut out, mut alone) = (Vec::new(), Deflater::new(6, 15));
    let turn = window.chain(format);
    let frame = turn.and_then(|mut turn| turn.write(&messages(texts), 256, &mut alone, &mut out));
    let frame = frame.unwrap_or_else(|| FrameWindow::independent(true));
    let stayed = if frame.leaves == Some(WindowMark::NONE) { 0 } else { receivers };
    window.served(format, 0, frame, FrameReach { receivers, took: receivers, stayed });
    frame
}

/// Whether a frame is of a chain.
fn is_chained(frame: FrameWindow) -> bool {
    frame.place.is_some()
}

#[test]
fn few_clients_with_a_window_size_of_their_own_take_no_window_from_many() {
    let one = Deflater::held_bytes(15);
    let (all, mut odd) = (windows(one), 0);
    let window = Arc::new(RoomWindow::new(Arc::clone(&all)));
    for n in 0..50 {
        let text = event(n);
        // Those with the odd size are served first.
        odd += u64::from(is_chained(send(&window, of_bits(9), &[&text], 2)));
        send(&window, of_bits(15), &[&text], MANY);
    }
    assert_eq!(odd, 0, "100 receivers of 50,100 are not worth a window");
    assert_eq!(all.held(), one);
    assert!(is_chained(send(&window, of_bits(15), &[&event(50)], MANY)));
}

#[test]
fn a_room_that_is_asked_gives_its_least_chain_up() {
    let all = windows(1 << 20);
    let window = Arc::new(RoomWindow::new(Arc::clone(&all)));
    for n in 0..5 {
        send(&window, of_bits(15), &[&event(n)], MANY);
        send(&window, of_bits(10), &[&event(n)], MANY / 2);
    }
    assert_eq!(all.held(), Deflater::held_bytes(15) + Deflater::held_bytes(10));
    assert_eq!(window.worth(), Some(5 * MANY / 2), "what its least chain reaches");
    window.ask_to_yield();
    assert!(is_chained(send(&window, of_bits(15), &[&event(5)], MANY)));
    assert!(!is_chained(send(&window, of_bits(10), &[&event(5)], MANY)), "and it waits before it has one again");
    assert_eq!(all.held(), Deflater::held_bytes(15));
    window.ask_to_yield();
    window.sweep(all.now_ms());
    assert_eq!((all.held(), window.worth()), (0, None));
}

#[test]
fn of_two_rooms_the_one_that_reaches_more_gets_the_only_window() {
    let all = windows(Deflater::held_bytes(15));
    let [quiet, busy, even] = [(); 3].map(|()| Arc::new(RoomWindow::new(Arc::clone(&all))));
    for n in 0..3 {
        send(&quiet, of_bits(15), &[&event(n)], MANY);
    }
    for n in 0..3 {
        all.advance(super::PRESS_MS);
        assert!(!is_chained(send(&even, of_bits(15), &[&event(n)], MANY)), "one that reaches as many gets none");
    }
    assert!(is_chained(send(&quiet, of_bits(15), &[&event(3)], MANY)));
    for n in 0..3 {
        all.advance(super::PRESS_MS);
        assert!(!is_chained(send(&busy, of_bits(15), &[&event(n)], 10 * MANY)), "the window is the other's still");
    }
    assert!(!is_chained(send(&quiet, of_bits(15), &[&event(4)], MANY)), "it gave way");
    assert!(is_chained(send(&busy, of_bits(15), &[&event(3)], 10 * MANY)));
    assert_eq!(all.held(), Deflater::held_bytes(15));
}

#[test]
fn a_window_that_is_not_used_any_more_is_given_back() {
    let all = windows(1 << 20);
    let window = Arc::new(RoomWindow::new(Arc::clone(&all)));
    for n in 0..3 {
        send(&window, of_bits(15), &[&event(n)], MANY);
    }
    all.advance(59_000);
    all.sweep();
    assert_eq!(all.held(), Deflater::held_bytes(15));
    all.advance(130_000);
    all.sweep();
    assert_eq!(all.held(), 0);
}

#[test]
fn what_was_served_is_said_while_another_worker_compresses() {
    let window = Arc::new(RoomWindow::new(windows(1 << 20)));
    for n in 0..2 {
        send(&window, of_bits(15), &[&event(n)], MANY);
    }
    let frame = send(&window, of_bits(15), &[&event(2)], MANY);
    let turn = window.chain(of_bits(15)).expect("a chain");
    let (said, heard) = mpsc::channel();
    let other = std::thread::spawn({
        let window = Arc::clone(&window);
        move || {
            window.served(of_bits(15), 1, frame, FrameReach { receivers: 5, took: 5, stayed: 5 });
            said.send(()).expect("the test waits");
        }
    });
    assert!(heard.recv_timeout(Duration::from_secs(20)).is_ok(), "it waits for the turn of the other worker");
    drop(turn);
    other.join().expect("no panic");
}

#[test]
fn a_chained_frame_counts_as_chained_whatever_its_last_message_leaves() {
    let (all, handle) = counted();
    let window = Arc::new(RoomWindow::new(all));
    let mut state = 7u64;
    let noise: Vec<u8> = (0..300)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    for n in 0..3 {
        send(&window, of_bits(15), &[&event(n)], MANY);
    }
    let count = |kind: &str| {
        let (text, series) = (handle.render(), format!("roomcast_window_frames_total{{kind=\"{kind}\"}} "));
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let before = (count("chained"), count("independent"));
    let frame = send(&window, of_bits(15), &[&event(3), &noise], MANY);
    assert!(frame.behind != WindowMark::NONE && frame.leaves == Some(WindowMark::NONE), "{frame:?}");
    assert_eq!((count("chained"), count("independent")), (before.0 + MANY, before.1));
    let next = send(&window, of_bits(15), &[&event(4)], MANY);
    assert_eq!(next.behind, WindowMark::NONE, "a keyframe follows");
}

#[test]
fn a_panic_while_a_frame_is_made_ends_the_chains() {
    let all = windows(1 << 20);
    let window = Arc::new(RoomWindow::new(Arc::clone(&all)));
    for n in 0..3 {
        send(&window, of_bits(15), &[&event(n)], MANY);
    }
    let panicking = Arc::clone(&window);
    let thread = std::thread::spawn(move || {
        let _turn = panicking.chain(of_bits(15)).expect("a chain");
        panic!("a dialect that panics");
    });
    assert!(thread.join().is_err());
    assert!(!is_chained(send(&window, of_bits(15), &[&event(3)], MANY)), "whatever state it is in");
    assert_eq!(all.held(), 0);
    assert!(is_chained(send(&window, of_bits(15), &[&event(4)], MANY)), "and begins anew");
}

/// A client of WebTransport: what it inflates of a room's stream, and what was said on it.
struct Reader {
    window: ClientWindow,
    inflater: flate2::Decompress,
    said: Vec<u8>,
    read: Vec<u8>,
}

impl Reader {
    fn new() -> Self {
        let inflater = flate2::Decompress::new(false);
        Self { window: ClientWindow::new(), inflater, said: Vec::new(), read: Vec::new() }
    }

    fn receive(&mut self, piece: &[u8], plain: &[u8]) {
        self.said.extend_from_slice(plain);
        self.read.reserve(plain.len() + 64);
        let before = self.inflater.total_in();
        let status = self.inflater.decompress_vec(piece, &mut self.read, flate2::FlushDecompress::Sync);
        assert!(status.is_ok() && self.inflater.total_in() - before == piece.len() as u64, "{status:?}");
    }
}

#[test]
fn pieces_of_a_chain_are_read_on_streams_that_carry_other_things_as_well() {
    let framing = Framing::Stream { deflate: true, keeps_window: true };
    let format = WireFormat { dialect: DialectId::NATIVE, spelling: 0, framing };
    let window = Arc::new(RoomWindow::new(windows(1 << 20)));
    let (mut alone, mut state) = (Deflater::new(6, 15), 3u64);
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut readers: Vec<Reader> = (0..200).map(|_| Reader::new()).collect();
    let mut chained = 0;
    for n in 0..400 {
        // Now and then something short, and something that does not become smaller.
        let plain: Vec<u8> = match random(20) {
            0 => b"{}".to_vec(),
            1 => (0..300).map(|_| random(256) as u8).collect(),
            _ => event(n),
        };
        let mut piece = Vec::new();
        let turn = window.chain(format);
        let frame = turn.and_then(|mut turn| turn.write_piece(&plain, &mut alone, &mut piece));
        let frame = frame.unwrap_or_else(|| FrameWindow::independent(true));
        let mut independent = Vec::new();
        write_compressed(&mut alone, &plain, &mut independent);
        let (shared, apart) = (Frame::with_window(frame), Frame::with_window(FrameWindow::independent(true)));
        let mut reach = FrameReach::default();
        for reader in &mut readers {
            if random(100) == 0 {
                *reader = Reader::new();
            }
            if random(50) == 0 {
                // A reply, or a gap: of this client alone, as it is.
                let (mut stored, reply) = (Vec::new(), event(1_000 + n));
                write_stored(&reply, &mut stored);
                reader.receive(&stored, &reply);
                reader.window = ClientWindow::new();
            }
            let takes = !piece.is_empty() && reader.window.takes(&shared, false);
            reader.receive(if takes { &piece } else { &independent }, &plain);
            reader.window.written(if takes { &shared } else { &apart });
            chained += u64::from(takes && frame.behind != WindowMark::NONE);
            reach.receivers += 1;
            reach.took += u64::from(takes);
            reach.stayed += u64::from(reader.window.holds(&shared));
        }
        window.served(format, 0, frame, reach);
        for reader in &mut readers {
            assert!(reader.said == reader.read, "{n}: what is read is not what was said");
            reader.said.clear();
            reader.read.clear();
        }
    }
    println!("{chained} of 80,000 deliveries were chained");
    assert!(chained > 20_000, "{chained}");
}
