//! The development certificate: what browsers demand of it, and where it is kept.

#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::SystemTime};

use roomcast_certs::{DEVELOPMENT_VALIDITY, Kept, RENEW_BEFORE, Rotation, Source, development, make, provider};
use rustls::{ClientConfig, RootCertStore};
use support::{DAY, noon, shake};

#[test]
fn webtransport_can_pin_it() {
    let (certificate, _) = make(noon()).unwrap();
    let whole = certificate.not_after().duration_since(certificate.not_before()).unwrap();
    assert_eq!(whole, DEVELOPMENT_VALIDITY);
    assert!(whole <= 14 * DAY, "serverCertificateHashes takes at most 14 days");
    assert!(certificate.not_before() < noon(), "a browser whose clock is behind");
    assert!(certificate.remaining(noon()) > 12 * DAY);

    let leaf = certificate.chain().first().unwrap();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    assert_eq!(certificate.sha256(), hash.as_ref());

    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).unwrap();
    assert_eq!(parsed.version(), x509_parser::x509::X509Version::V3);
    let key = &parsed.public_key().algorithm;
    assert_eq!(key.algorithm.to_id_string(), "1.2.840.10045.2.1", "ECDSA");
    let curve = key.parameters.as_ref().unwrap().as_oid().unwrap();
    assert_eq!(curve.to_id_string(), "1.2.840.10045.3.1.7", "P-256");
}

#[test]
fn a_client_that_trusts_it_accepts_all_its_names_and_no_other() {
    // A real verification, at the real time.
    let rotation = Arc::new(Rotation::start(Source::Development { dir: None }, SystemTime::now()).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(rotation.current().chain().first().unwrap().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);
    for name in ["localhost", "127.0.0.1", "::1"] {
        shake(rotation.clone(), &client, name).unwrap();
    }
    let error = shake(rotation.clone(), &client, "example.com").unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn it_is_kept_with_its_key_unreadable_by_others_and_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state").join("roomcast");
    let first = development(Some(&state), noon()).unwrap();
    let public = state.join("development-cert.pem");
    assert_eq!(first.kept, Kept::Written(public.clone()));

    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state.join("development.pem")), 0o600);
    assert_eq!(mode(&state), 0o700);
    let public_text = fs::read_to_string(&public).unwrap();
    assert!(public_text.contains("BEGIN CERTIFICATE") && !public_text.contains("PRIVATE"));
    assert_eq!(fs::read_dir(&state).unwrap().count(), 2, "no leftovers");

    let again = development(Some(&state), noon() + 9 * DAY).unwrap();
    assert_eq!(again.kept, Kept::Reused(public.clone()));
    assert_eq!(again.certificate.sha256(), first.certificate.sha256());
    again.certificate.served().keys_match().unwrap();

    // An hour of the 13 days lay before `noon`, and 3 days before the end is the time.
    let later = development(Some(&state), noon() + DEVELOPMENT_VALIDITY - RENEW_BEFORE).unwrap();
    assert_eq!(later.kept, Kept::Written(public));
    assert_ne!(later.certificate.sha256(), first.certificate.sha256());
    assert!(later.certificate.remaining(noon() + 10 * DAY) > 12 * DAY);
}

#[test]
fn what_cannot_be_used_again_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("development.pem");
    let mut last = development(Some(dir.path()), noon()).unwrap().certificate.sha256();
    let mut remade = |why: &str, now| {
        let made = development(Some(dir.path()), now).unwrap();
        assert!(matches!(made.kept, Kept::Written(_)), "{why}: {:?}", made.kept);
        assert_ne!(made.certificate.sha256(), last, "{why}");
        last = made.certificate.sha256();
    };

    fs::write(&file, "-----BEGIN CERTIFICATE-----\nbm8=\n").unwrap();
    remade("half a file", noon());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    remade("a key that others could read", noon());
    remade("a clock that went back", noon() - DAY);

    // A certificate that another program made, valid for years, must not be taken for ours: no browser would pin it.
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = time::OffsetDateTime::from(noon() - DAY);
    params.not_after = params.not_before + 400 * DAY;
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(&file, params.self_signed(&key).unwrap().pem() + &key.serialize_pem()).unwrap();
    remade("a long-lived certificate", noon());
}

#[test]
fn without_a_place_to_keep_it_lives_in_memory_and_says_why() {
    let nowhere = development(None, noon()).unwrap();
    assert_eq!(nowhere.kept, Kept::MemoryOnly("there is no state directory".to_owned()));

    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("state");
    let Kept::MemoryOnly(why) = development(Some(&below_a_file), noon()).unwrap().kept else {
        panic!("a directory below a file cannot be made");
    };
    assert!(why.contains("cannot be written") && why.contains("state"), "{why}");
}
