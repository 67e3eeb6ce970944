//! `check-config` reads the files that a start reads.

use std::fs;

use super::*;

/// Flags with which each file is read, its own last.
const FILES: [&str; 10] = [
    "--cert FILE --key KEY",
    "--cert CERT --key FILE",
    "--tls-ticket-keys FILE",
    "--tokens-public-keys FILE",
    "--tokens-jwks-file FILE",
    "--tokens-jwks-url https://issuer.example.com/keys --tokens-jwks-ca FILE",
    "--hooks-connect https://app.example.com/may --hooks-ca FILE",
    "--redis rediss://redis.example.com:6379 --redis-ca FILE",
    "--upstream wss://home.example.com:9443 --upstream-ca FILE",
    "--archive-url postgres://db.example.com/chat --archive-ca FILE",
];

#[test]
fn a_file_that_a_pod_cannot_start_with_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (_, pem) = roomcast_certs::make(std::time::SystemTime::now()).unwrap();
    fs::write(path("cert"), pem.certificate).unwrap();
    fs::write(path("key"), pem.key).unwrap();
    fs::write(path("garbage"), "no file of this kind").unwrap();
    let (certificate, key) = (path("cert"), path("key"));
    for bad in [path("garbage"), path("missing")] {
        for flags in FILES {
            let flags = flags.replace("FILE", &bad).replace("CERT", &certificate).replace("KEY", &key);
            let mut args = vec!["check-config", "--anonymous", "--origin", "https://app.example.com"];
            if !flags.starts_with("--cert") {
                args.extend(["--cert", &certificate, "--key", &key]);
            }
            args.extend(flags.split(' '));
            let mut variables = vec![("ROOMCAST_API_KEY", "key")];
            if flags.starts_with("--upstream") {
                variables.push(("ROOMCAST_UPSTREAM_KEY", "key"));
            }
            let checked = roomcast(&args, &variables);
            let said = stderr(&checked);
            assert_eq!(checked.status.code(), Some(2), "{flags}: {said}{}", stdout(&checked));
            assert!(said.contains(&bad), "{flags}: {said}");
        }
    }
}
