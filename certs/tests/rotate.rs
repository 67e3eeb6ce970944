//! A certificate is replaced while running, and a broken one never takes its place.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::symlink,
    sync::Arc,
};

use roomcast_certs::{Reloaded, Rotation, RotationError, Source, insecure::client_config_accept_any};
use support::{DAY, Files, carry, noon, shake};

fn started(files: &Files) -> Rotation {
    Rotation::start(Source::Files { cert: files.cert.clone(), key: files.key.clone() }, noon()).unwrap()
}

#[test]
fn nothing_changed() {
    let files = Files::fresh();
    let rotation = started(&files);
    let before = rotation.current().sha256();
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Unchanged);
    assert_eq!(rotation.reload(noon()).unwrap(), Reloaded::Unchanged);
    assert_eq!(rotation.current().sha256(), before);
    assert!(rotation.previous().is_none() && !rotation.is_broken());
}

#[test]
fn new_handshakes_get_the_new_one_and_standing_connections_go_on() {
    let files = Files::fresh();
    let rotation = Arc::new(started(&files));
    let client = Arc::new(client_config_accept_any().unwrap());
    let first = shake(rotation.clone(), &client, "localhost").unwrap();
    let old = rotation.current();
    assert_eq!(&first.served, old.chain().first().unwrap());

    let renewed = files.renew();
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Replaced);
    let second = shake(rotation.clone(), &client, "localhost").unwrap();
    assert_eq!(&second.served, renewed.chain().first().unwrap());
    assert_eq!(rotation.previous().unwrap().sha256(), old.sha256());
    assert_eq!(rotation.not_after(), renewed.not_after());

    let (mut client, mut server) = first.pair;
    server.writer().write_all(b"still here").unwrap();
    carry(&mut client, &mut server).unwrap();
    let mut text = [0; 10];
    client.reader().read_exact(&mut text).unwrap();
    assert_eq!(&text, b"still here");
}

#[test]
fn a_kubernetes_secret_is_swapped_by_a_symlink_above_the_files() {
    let (one, two) = (Files::fresh(), Files::fresh());
    let mount = tempfile::tempdir().unwrap();
    let data = mount.path().join("..data");
    symlink(one.path(), &data).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), mount.path().join(name)).unwrap();
    }
    let source = Source::Files { cert: mount.path().join("tls.crt"), key: mount.path().join("tls.key") };
    let rotation = Rotation::start(source, noon()).unwrap();
    let swap = mount.path().join("..data_tmp");
    symlink(two.path(), &swap).unwrap();
    fs::rename(&swap, &data).unwrap();
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Replaced);
}

#[test]
fn a_broken_file_keeps_the_old_one_and_is_counted_once() {
    let files = Files::fresh();
    let rotation = started(&files);
    let good = rotation.current().sha256();

    fs::write(&files.cert, "garbage").unwrap();
    assert!(matches!(rotation.poll(noon()), Err(RotationError::Load(_))));
    assert!(rotation.is_broken());
    assert_eq!(rotation.failed_reloads(), 1);
    assert_eq!(rotation.current().sha256(), good);
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Unchanged, "reported once");
    assert_eq!(rotation.failed_reloads(), 1);
    assert!(rotation.is_broken(), "until it is repaired");
    assert!(rotation.reload(noon()).is_err(), "who asks is told again");
    assert_eq!(rotation.failed_reloads(), 2);

    fs::remove_file(&files.cert).unwrap();
    let error = rotation.poll(noon()).unwrap_err().to_string();
    assert!(error.contains("cannot read the certificate file"), "{error}");
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Unchanged);
    assert_eq!(rotation.failed_reloads(), 3);
    assert_eq!(rotation.current().sha256(), good);

    let repaired = files.renew();
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Replaced);
    assert!(!rotation.is_broken());
    assert_eq!(rotation.current().sha256(), repaired.sha256());
}

#[test]
fn a_pair_that_is_written_one_file_after_the_other_is_taken_when_it_is_whole() {
    let files = Files::fresh();
    let rotation = started(&files);
    let old_key = fs::read(&files.key).unwrap();
    let renewed = files.renew();
    let new_key = fs::read(&files.key).unwrap();
    fs::write(&files.key, old_key).unwrap();
    assert!(rotation.poll(noon()).is_err());
    fs::write(&files.key, new_key).unwrap();
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Replaced);
    assert_eq!(rotation.current().sha256(), renewed.sha256());
}

#[test]
fn going_back_to_the_certificate_in_use_repairs_without_replacing() {
    let files = Files::fresh();
    let rotation = started(&files);
    let whole = fs::read(&files.cert).unwrap();
    fs::write(&files.cert, "garbage").unwrap();
    rotation.poll(noon()).unwrap_err();
    fs::write(&files.cert, whole).unwrap();
    assert_eq!(rotation.poll(noon()).unwrap(), Reloaded::Unchanged);
    assert!(!rotation.is_broken() && rotation.previous().is_none());
}

#[test]
fn a_pod_without_a_usable_certificate_does_not_start() {
    let files = Files::fresh();
    fs::write(&files.key, "").unwrap();
    let source = Source::Files { cert: files.cert.clone(), key: files.key.clone() };
    let error = Rotation::start(source, noon()).unwrap_err().to_string();
    assert!(error.starts_with("no private key in"), "{error}");
}

#[test]
fn the_development_certificate_renews_itself_before_it_runs_out() {
    let dir = tempfile::tempdir().unwrap();
    for dir in [None, Some(dir.path().to_owned())] {
        let rotation = Rotation::start(Source::Development { dir }, noon()).unwrap();
        let first = rotation.current();
        assert_eq!(rotation.poll(noon() + 9 * DAY).unwrap(), Reloaded::Unchanged);
        assert_eq!(rotation.reload(noon() + 9 * DAY).unwrap(), Reloaded::Unchanged);
        let now = noon() + 10 * DAY;
        assert_eq!(rotation.poll(now).unwrap(), Reloaded::Replaced);
        assert!(rotation.current().remaining(now) > 12 * DAY);
        let previous = rotation.previous().unwrap();
        assert_eq!(previous.sha256(), first.sha256());
        assert!(previous.remaining(now) > 2 * DAY, "both can be pinned for a while");
        assert_eq!(rotation.poll(now).unwrap(), Reloaded::Unchanged);
    }
}

#[test]
fn a_pod_takes_the_certificate_that_another_one_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::Development { dir: Some(dir.path().to_owned()) };
    let (one, two) = (Rotation::start(source.clone(), noon()).unwrap(), Rotation::start(source, noon()).unwrap());
    assert_eq!(one.current().sha256(), two.current().sha256());
    one.poll(noon() + 10 * DAY).unwrap();
    two.poll(noon() + 10 * DAY).unwrap();
    assert_eq!(one.current().sha256(), two.current().sha256());
}
