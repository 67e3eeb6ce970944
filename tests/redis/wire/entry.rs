//! Getting in: users, passwords, TLS, and what is told where nobody gets in.

use std::{sync::Arc, time::SystemTime};

use roomcast::testing::transport::trust::client_config;
use roomcast_redis_subscriber::{Endpoints, Health, NodeError, Password, State, Topology, discover};

use testkit::redis::{Cluster, Options, Standalone, wait_until};

use super::{Pod, channels, endpoints, nobody};

fn fault(health: &Health) -> Option<NodeError> {
    health.nodes.first()?.error.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_mended_by_itself() {
    let server = Standalone::start_with(Options::default().password("right"));
    for (given, code) in [(Some("wrong"), "WRONGPASS"), (None, "NOAUTH")] {
        for topology in [Topology::Standalone, Topology::Cluster] {
            let password = given.map(Password::new);
            let endpoints = Endpoints { password, ..endpoints(vec![server.address()], topology) };
            let found = discover(&endpoints).await;
            assert!(matches!(&found, Err(NodeError::Login(text)) if text.starts_with(code)), "{found:?}");
            let pod = Pod::start(endpoints);
            wait_until("a fault", || fault(&pod.health()).is_some());
            let health = pod.health();
            assert_eq!(health.state, State::NeverConnected);
            let text = fault(&health).unwrap().to_string();
            assert!(text.contains(code) && text.contains("check user and password"), "{text}");
            wait_until("it is told", || {
                pod.heard.told.lock().unwrap().last().is_some_and(|h| fault(h) == fault(&health))
            });
        }
    }
    let endpoints =
        Endpoints { password: Some(Password::new("late")), ..endpoints(vec![server.address()], Topology::Standalone) };
    assert!(!format!("{endpoints:?}").contains("late"));
    let pod = Pod::start(endpoints);
    wait_until("a fault", || fault(&pod.health()).is_some());
    server.call(&["CONFIG", "SET", "requirepass", "late"]);
    pod.join(&channels(10));
    assert_eq!(fault(&pod.health()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_listens_there_was_never_a_connection() {
    for topology in [Topology::Standalone, Topology::Cluster] {
        let pod = Pod::start(endpoints(vec![nobody()], topology));
        pod.subscriber.subscribe("a");
        wait_until("a fault", || matches!(fault(&pod.health()), Some(NodeError::Unreachable(_))));
        let health = pod.health();
        assert!(health.state == State::NeverConnected && health.unconfirmed == 1, "{health:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_few_rights_is_enough() {
    let server = Standalone::start();
    let rights =
        ["on", ">secret", "&test:*", "&room:*", "+ssubscribe", "+sunsubscribe", "+spublish", "+ping", "+client|info"];
    server.call(&[&["ACL", "SETUSER", "pod"], &rights[..]].concat());
    let user = Some("pod".to_owned());
    let password = Some(Password::new("secret"));
    let pod = Pod::start(Endpoints { user, password, ..endpoints(vec![server.address()], Topology::Standalone) });
    pod.join(&channels(100));

    pod.subscriber.subscribe("of another:1");
    wait_until("the refusal is told", || matches!(fault(&pod.health()), Some(NodeError::Subscribe(_))));
    let health = pod.health();
    assert!(health.state == State::Degraded && health.unconfirmed == 1 && health.confirmed == 100, "{health:?}");
    assert!(fault(&health).unwrap().to_string().contains("NOPERM"), "{health:?}");
    pod.subscriber.subscribe("room:more");
    wait_until("the others go on", || pod.health().confirmed == 101);
    pod.subscriber.unsubscribe("of another:1");
    pod.wait_whole();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (_, pem) = roomcast_certs::make(SystemTime::now()).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, &pem.certificate).unwrap();
    std::fs::write(&key, &pem.key).unwrap();
    let server = Standalone::start();
    // Alone, it has no use for the port of its bus.
    let port = server.bus();
    let trusting = client_config(Some(&cert)).unwrap().0;
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let config = ["tls-cert-file", cert, "tls-key-file", key, "tls-ca-cert-file", cert, "tls-auth-clients", "no"];
    server.call(&[&["CONFIG", "SET"], &config[..]].concat());
    server.call(&["CONFIG", "SET", "tls-port", &port.to_string()]);

    let with = |config: rustls::ClientConfig| Endpoints {
        tls: Some(Arc::new(config)),
        ..endpoints(vec![("127.0.0.1".to_owned(), port)], Topology::Standalone)
    };
    let pod = Pod::start(with(trusting));
    println!("10,000 channels over TLS confirmed in {:?}", pod.join(&channels(10_000)));
    let large = "x".repeat(1 << 20);
    server.call(&["SPUBLISH", "room:{1}", &large]);
    wait_until("a large message", || pod.heard.has("room:{1}", &large));

    let pod = Pod::start(with(client_config(None).unwrap().0));
    wait_until("a fault", || matches!(fault(&pod.health()), Some(NodeError::Tls(_))));
    assert_eq!(pod.health().state, State::NeverConnected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_a_password() {
    let cluster = Cluster::start_with(1, 1, Options::default().password("right"));
    let password = Some(Password::new("right"));
    let pod = Pod::start(Endpoints {
        password,
        ..endpoints(vec![nobody(), cluster.addresses()[1].clone()], Topology::Cluster)
    });
    pod.join(&channels(100));
    let server = discover(&endpoints(cluster.addresses(), Topology::Cluster)).await;
    assert!(matches!(server, Err(NodeError::Login(_))), "{server:?}");
}

/// A cluster names its nodes as they prefer to be found: by a host name, by what the client used itself, by an address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_found_as_they_prefer() {
    let named = "cluster-announce-hostname localhost";
    for (kind, also, found) in [
        ("hostname", Some(named), "localhost"),
        // A name is preferred and there is none.
        ("hostname", None, "127.0.0.1"),
        // The pod asks at `localhost` and goes on there.
        ("unknown-endpoint", None, "localhost"),
        ("ip", Some(named), "127.0.0.1"),
    ] {
        let prefers = Options::default().line(format!("cluster-preferred-endpoint-type {kind}"));
        let options = also.into_iter().fold(prefers, Options::line);
        let cluster = Cluster::start_with(2, 0, options);
        let seeds = cluster.addresses().into_iter().map(|(_, port)| ("localhost".to_owned(), port)).collect();
        let pod = Pod::start(endpoints(seeds, Topology::Cluster));
        wait_until("all nodes found", || {
            let nodes = pod.health().nodes;
            nodes.len() == 2 && nodes.iter().all(|node| node.is_well() && *node.address.host == *found)
        });
        pod.join(&channels(100));
    }
}
