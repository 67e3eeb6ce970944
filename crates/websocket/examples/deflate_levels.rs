//! Measures what a compression level costs and saves on events of about 1 KiB of JSON, each message for itself:
//! `cargo run --release -p roomcast-websocket --example deflate_levels`.

use std::{fmt::Write as _, hint::black_box, time::Instant};

use roomcast_websocket::{Deflater, Inflater};

/// Events of a vehicle's trip, as a backend would publish them: mostly numbers, with some words.
fn event(i: u64, size: usize) -> Vec<u8> {
    let mut random = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut text = format!(
        "{{\"type\":\"event\",\"room\":\"trip:{}\",\"offset\":{i},\"topic\":\"position\",\"data\":{{\"points\":[",
        next(100_000)
    );
    while text.len() < size - 120 {
        let (lat, lon, speed, heading) = (next(1_000_000), next(1_000_000), next(300), next(360));
        let status = ["moving", "stopped", "boarding", "delayed"][next(4) as usize];
        write!(text, "{{\"lat\":48.{lat:06},\"lon\":11.{lon:06},\"speed\":{speed},\"heading\":{heading},\"status\":\"{status}\"}},")
            .expect("writing to a String cannot fail");
    }
    text.pop();
    text += "],\"vehicle\":\"a7f3\",\"line\":\"S8\"}}";
    text.into_bytes()
}

fn main() {
    for size in [300, 1024, 4096] {
        let events: Vec<Vec<u8>> = (0..500).map(|i| event(i, size)).collect();
        let plain: usize = events.iter().map(Vec::len).sum();
        println!("events of {} bytes\nlevel  bits  µs/deflate  µs/inflate  ratio", plain / events.len());
        for (level, bits) in (0..=9).map(|level| (level, 15)).chain([(1, 12), (6, 12), (1, 9), (6, 9)]) {
            let mut deflater = Deflater::new(level, bits);
            let mut inflater = Inflater::new();
            let compressed: Vec<Vec<u8>> =
                events.iter().map(|e| deflater.deflate(e).map_or(e.clone(), <[u8]>::to_vec)).collect();
            let total: usize = compressed.iter().map(Vec::len).sum();
            let mut best = [f64::MAX; 2];
            for _ in 0..10 {
                let start = Instant::now();
                for event in &events {
                    black_box(deflater.deflate(black_box(event)));
                }
                best[0] = best[0].min(start.elapsed().as_secs_f64());
                let start = Instant::now();
                for (message, event) in compressed.iter().zip(&events) {
                    if message.len() < event.len() {
                        assert_eq!(inflater.inflate(black_box(message), 1 << 16).map(<[u8]>::len), Ok(event.len()));
                    }
                }
                best[1] = best[1].min(start.elapsed().as_secs_f64());
            }
            let [deflate, inflate] = best.map(|seconds| seconds * 1e6 / events.len() as f64);
            println!("{level:5} {bits:5} {deflate:11.1} {inflate:11.1} {:6.3}", total as f64 / plain as f64);
        }
    }
}
