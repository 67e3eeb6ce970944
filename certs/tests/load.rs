//! Certificates from files: each thing that is wrong with one is named, with the file and what to do.

#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path};

use roomcast_certs::{MAX_FILE_BYTES, load, make};
use support::{DAY, Files, noon};

fn refusal(cert: &Path, key: &Path) -> String {
    load(cert, key, noon()).unwrap_err().to_string()
}

#[test]
fn a_chain_and_its_key_load() {
    let files = Files::fresh();
    let leaf = files.renew();
    let (intermediate, pem) = make(noon()).unwrap();
    let chain = fs::read_to_string(&files.cert).unwrap() + &pem.certificate;
    fs::write(&files.cert, chain).unwrap();

    let loaded = load(&files.cert, &files.key, noon()).unwrap();
    assert_eq!(loaded.chain().len(), 2);
    assert_eq!(loaded.sha256(), leaf.sha256());
    assert_eq!(loaded.not_after(), leaf.not_after());
    assert_eq!(loaded.chain().last(), intermediate.chain().first());
    loaded.served().keys_match().unwrap();
}

#[test]
fn both_may_be_in_one_file() {
    let files = Files::fresh();
    let both = fs::read_to_string(&files.key).unwrap() + &fs::read_to_string(&files.cert).unwrap();
    fs::write(&files.cert, both).unwrap();
    load(&files.cert, &files.cert, noon()).unwrap();
}

#[test]
fn expired_and_early_ones_load() {
    let files = Files::fresh();
    let expired = load(&files.cert, &files.key, noon() + 20 * DAY).unwrap();
    assert_eq!(expired.remaining(noon() + 20 * DAY), std::time::Duration::ZERO);
    load(&files.cert, &files.key, noon() - DAY).unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let files = Files::fresh();
    let gone = files.path().join("gone.pem");
    let error = refusal(&gone, &files.key);
    assert!(error.starts_with("cannot read the certificate file") && error.contains("gone.pem"), "{error}");
    assert!(error.contains("No such file") && error.contains("check the path"), "{error}");
    let error = refusal(&files.cert, &gone);
    assert!(error.starts_with("cannot read the key file") && error.contains("gone.pem"), "{error}");
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let files = Files::fresh();
    let error = refusal(Path::new("/dev/zero"), &files.key);
    assert_eq!(
        error,
        format!("the certificate file /dev/zero is larger than {MAX_FILE_BYTES} bytes: that is no certificate")
    );
}

#[test]
fn swapped_and_empty_files_are_named() {
    let files = Files::fresh();
    let error = refusal(&files.key, &files.key);
    assert!(error.starts_with("no certificate in") && error.contains("tls.key, only a private key"), "{error}");
    assert!(error.contains("-----BEGIN CERTIFICATE-----"), "{error}");

    let error = refusal(&files.cert, &files.cert);
    assert!(error.starts_with("no private key in") && error.contains("tls.crt, only a certificate"), "{error}");
    assert!(error.contains("-----BEGIN PRIVATE KEY-----"), "{error}");

    let empty = files.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let error = refusal(&empty, &files.key);
    assert!(error.contains("empty.pem; it needs"), "{error}");
}

#[test]
fn half_a_file_is_not_valid_pem() {
    let files = Files::fresh();
    let whole = fs::read_to_string(&files.cert).unwrap();
    fs::write(&files.cert, whole.split("-----END").next().unwrap()).unwrap();
    let error = refusal(&files.cert, &files.key);
    assert!(error.contains("tls.crt is not valid PEM") && error.contains("copied in part"), "{error}");
}

#[test]
fn a_certificate_that_is_no_certificate() {
    let files = Files::fresh();
    fs::write(&files.cert, "-----BEGIN CERTIFICATE-----\nbm90IHg1MDk=\n-----END CERTIFICATE-----\n").unwrap();
    let error = refusal(&files.cert, &files.key);
    assert!(error.contains("tls.crt: the first certificate is not valid X.509"), "{error}");
}

#[test]
fn a_key_that_is_no_key() {
    let files = Files::fresh();
    fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n").unwrap();
    let error = refusal(&files.cert, &files.key);
    assert!(error.contains("tls.key: the key cannot be used") && error.contains("ECDSA"), "{error}");
}

#[test]
fn encrypted_keys_are_recognised() {
    let files = Files::fresh();
    let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHj\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let older = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIHj\n-----END RSA PRIVATE KEY-----\n";
    for text in [pkcs8, older] {
        fs::write(&files.key, text).unwrap();
        let error = refusal(&files.cert, &files.key);
        assert!(error.contains("is encrypted") && error.contains("openssl pkey -in"), "{error}");
    }
}

#[test]
fn a_foreign_key_and_a_chain_in_the_wrong_order() {
    let files = Files::fresh();
    let own = fs::read_to_string(&files.cert).unwrap();
    let (_, other) = make(noon()).unwrap();
    fs::write(&files.cert, &other.certificate).unwrap();
    let error = refusal(&files.cert, &files.key);
    assert!(error.contains("does not belong to the first certificate"), "{error}");
    assert!(error.ends_with("give the two files that were issued together"), "{error}");

    fs::write(&files.cert, other.certificate + &own).unwrap();
    let error = refusal(&files.cert, &files.key);
    assert!(error.ends_with("but to certificate 2 of it; put that one first"), "{error}");
}
