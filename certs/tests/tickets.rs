//! Tickets whose keys the pods of a fleet share.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use roomcast_certs::{Rotation, Source, TicketKeys, insecure::client_config_accept_any_with, server_config};
use rustls::{
    ClientConfig,
    HandshakeKind::{self, Full, Resumed},
    ServerConfig, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use support::{noon, shake_with};

/// A file of random bytes.
fn key(dir: &Path, name: &str, bytes: usize) -> PathBuf {
    let path = dir.join(name);
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).unwrap();
    std::fs::write(&path, random).unwrap();
    path
}

fn keys(paths: &[&PathBuf]) -> Arc<TicketKeys> {
    let paths: Vec<PathBuf> = paths.iter().copied().cloned().collect();
    Arc::new(TicketKeys::start(&paths, noon()).unwrap())
}

/// A pod of its own: its certificate is not the others'.
fn pod(keys: &Arc<TicketKeys>, listener: &'static str) -> Arc<ServerConfig> {
    let rotation = Rotation::start(Source::Development { dir: None }, noon()).unwrap();
    let mut config = server_config(Arc::new(rotation)).unwrap();
    keys.share(&mut config, listener).unwrap();
    Arc::new(config)
}

fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(client_config_accept_any_with(&[version]).unwrap())
}

fn visit(pod: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> HandshakeKind {
    shake_with(pod, client, "localhost").unwrap().kind
}

#[test]
fn a_client_resumes_on_another_pod() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [48, 80] {
        let file = key(dir.path(), "key", bytes);
        let (one, other) = (pod(&keys(&[&file]), "public"), pod(&keys(&[&file]), "public"));
        let client = client(&TLS13);
        assert_eq!(visit(&one, &client), Full);
        assert_eq!(visit(&other, &client), Resumed);
        assert_eq!(visit(&one, &client), Resumed, "the other pod gave it the next ticket");
    }
}

#[test]
fn tls_1_2_resumes_where_it_was_only() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(&[&key(dir.path(), "key", 80)]);
    let (one, other) = (pod(&keys, "public"), pod(&keys, "public"));
    let client = client(&TLS12);
    assert_eq!((visit(&one, &client), visit(&one, &client)), (Full, Resumed));
    assert_eq!(visit(&other, &client), Full, "with the key in hand its session could be read otherwise");
}

#[test]
fn secrets_for_other_purposes_are_the_same_on_all_pods_and_differ_by_file_and_purpose() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (key(dir.path(), "1", 80), key(dir.path(), "2", 48));
    let (one, other) = (keys(&[&first, &second]), keys(&[&second, &first]));
    let of = |keys: &TicketKeys, purpose: &str| keys.secrets(purpose).unwrap();
    assert_eq!(of(&one, "a"), of(&other, "a").into_iter().rev().collect::<Vec<_>>());
    let all = [of(&one, "a"), of(&one, "b")].concat();
    assert!(all.iter().enumerate().all(|(at, secret)| !all[..at].contains(secret) && *secret != [0; 32]));
    std::fs::write(&first, [200; 80]).unwrap();
    one.poll(noon());
    assert_ne!(of(&one, "a")[0], all[0], "the file has another key now");
    assert_eq!(of(&one, "a")[1], all[1]);
}

#[test]
fn keys_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (key(dir.path(), "1", 80), key(dir.path(), "2", 80));
    let before = pod(&keys(&[&first]), "public");
    let (next_known, taken_over) = (pod(&keys(&[&first, &second]), "public"), pod(&keys(&[&second, &first]), "public"));
    let gone = pod(&keys(&[&second]), "public");
    let old = client(&TLS13);
    assert_eq!((visit(&before, &old), visit(&next_known, &old)), (Full, Resumed));
    assert_eq!((visit(&taken_over, &old), visit(&next_known, &old)), (Resumed, Resumed), "each knows the other's");
    let late = client(&TLS13);
    assert_eq!((visit(&before, &late), visit(&gone, &late)), (Full, Full), "a ticket of an unknown key");
    assert_eq!(visit(&gone, &late), Resumed);
}

#[test]
fn a_ticket_is_good_on_its_kind_of_listener_and_for_half_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(&[&key(dir.path(), "key", 80)]);
    let (public, grpc) = (pod(&keys, "public"), pod(&keys, "grpc"));
    let visitor = client(&TLS13);
    assert_eq!((visit(&public, &visitor), visit(&grpc, &visitor)), (Full, Full));
    let patient = client(&TLS13);
    assert_eq!(visit(&public, &patient), Full);
    keys.poll(noon() + Duration::from_secs(12 * 3_600));
    assert_eq!(visit(&public, &patient), Resumed);
    keys.poll(noon() + Duration::from_secs(24 * 3_600 + 1));
    assert_eq!(visit(&public, &patient), Full);
}

#[test]
fn files_are_looked_at_again_and_broken_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = key(dir.path(), "key", 80);
    let (mine, theirs) = (keys(&[&file]), keys(&[&file]));
    let (one, other) = (pod(&mine, "public"), pod(&theirs, "public"));
    let visitor = client(&TLS13);
    assert_eq!(visit(&one, &visitor), Full);
    std::fs::write(&file, "not random at all").unwrap();
    mine.poll(noon());
    assert!(mine.is_broken());
    assert_eq!(visit(&one, &visitor), Resumed, "the last good key stays");
    key(dir.path(), "key", 80);
    mine.poll(noon());
    assert!(!mine.is_broken());
    assert_eq!((visit(&one, &visitor), visit(&other, &visitor)), (Full, Full), "this one has not looked yet");
    theirs.poll(noon());
    assert_eq!((visit(&one, &visitor), visit(&other, &visitor)), (Full, Resumed));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let good = key(dir.path(), "good", 80);
    let (short, long) = (key(dir.path(), "short", 32), key(dir.path(), "long", 200));
    let text = dir.path().join("text");
    std::fs::write(&text, "x".repeat(80)).unwrap();
    let copy = dir.path().join("copy");
    std::fs::copy(&good, &copy).unwrap();
    let missing = dir.path().join("missing");
    for (path, words) in [
        (&short, "has 32 bytes instead of 48 or 80 random bytes; make one with: openssl rand"),
        (&long, "has more than 80 bytes instead"),
        (&text, "is text"),
        (&copy, "are the same"),
        (&missing, "cannot read the ticket key"),
    ] {
        let error = TicketKeys::start(&[good.clone(), path.clone()], noon()).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(&*path.to_string_lossy()), "{error}");
    }
}
