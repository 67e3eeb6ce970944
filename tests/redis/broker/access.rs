//! Passwords, users, TLS, and servers that can less.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_used_and_a_wrong_one_is_no_outage_for_others() {
    let server = tokio::task::block_in_place(|| Standalone::start_with(Options::default().password("s3cret")));
    let with = |password: &str| {
        let mut settings = alone(&server);
        settings.endpoints.password = Some(Password::new(password));
        settings
    };
    let pod = Pod::ready(with("s3cret")).await;
    assert_eq!(pod.publish(&room("a"), "t").await.unwrap().offset, 1);
    let stranger = Pod::new(with("wrong"), Policy::default());
    let refused = stranger.publish(&room("a"), "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
    assert_eq!(stranger.broker.condition(), Condition::Starting);
    assert!(!format!("{:?} {:?}", stranger.broker, pod.broker).contains("s3cret"));
}

/// A user with the rules of the guide can do all that a pod does, on a server alone and in a cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acl_of_the_guide_is_enough() {
    let guide = include_str!("../../../docs/OPERATIONS.md");
    let rules = guide.lines().find(|line| line.starts_with("~roomcast:")).unwrap();
    let mut user = vec!["ACL", "SETUSER", "pod", "reset", "on", ">s3cret"];
    user.extend(rules.split(' '));
    let server = tokio::task::block_in_place(Standalone::start);
    let cluster = tokio::task::block_in_place(|| Cluster::start(3, 1));
    tokio::task::block_in_place(|| {
        server.call(&user);
        cluster.nodes().iter().for_each(|node| drop(node.call(&user)));
    });
    for (settings, durability) in [(alone(&server), Durability::Log), (clustered(&cluster), Durability::Replica)] {
        let mut settings = settings;
        settings.endpoints.user = Some("pod".into());
        settings.endpoints.password = Some(Password::new("s3cret"));
        everything_works(settings, durability).await;
    }
}

/// Every kind of thing that a pod does with Redis, once.
async fn everything_works(settings: Settings, durability: Durability) {
    let mut settings = Settings { compare_every: Duration::from_secs(1), ..settings };
    settings.endpoints.prefix = "roomcast".into();
    let policy = Policy {
        presence: PresenceMode::Events,
        retain: Retain::Topic,
        retain_max: 2,
        retain_remove_topics: vec!["gone".into()],
        history_size: 4,
        history_bytes: 2_000,
        durability,
        ..Policy::default()
    };
    let (pod, other) = (Pod::new(settings.clone(), policy.clone()), Pod::new(settings, policy));
    pod.well().await;
    other.well().await;
    other.broker.answer_with(Arc::new(Everywhere));
    let room = room("a");
    pod.subscribed(&room).await;
    let mut last = other.insist(&room, "first").await;
    for n in 0..40 {
        last = other.publish(&room, ["x", "y", "z", "gone"][n % 4]).await.unwrap();
    }
    pod.reaches(&room, &last).await;
    let everything = HistoryQuery { since: None, until: None, max_events: 100, max_bytes: usize::MAX };
    assert_eq!(pod.broker.history(&room, everything).await.unwrap().events.len(), 4);
    assert_eq!(pod.since(&room, &last).await.end, last.offset);
    assert_eq!(pod.broker.retained(&room).await.unwrap().events.len(), 2);
    let ann = Member { connection: "c".into(), user: Some("ann".into()) };
    for total in [1, 0] {
        if total == 1 {
            pod.broker.join(&room, &ann)
        } else {
            pod.broker.leave(&room, &ann)
        }
        until("it is told", || pod.ear.of(&room).presence.len() == 2 - total).await;
        assert_eq!(other.broker.list(&room, 10).await.unwrap().total, total);
    }
    let values: &dyn KeyValue = &pod.broker;
    let (name, value, long) = ("v", bytes::Bytes::from_static(b"1"), Duration::from_secs(60));
    assert_eq!(values.claim(name, value.clone(), long).await, Ok(None));
    assert_eq!(other.broker.take(name).await, Ok(Some(value.clone())));
    values.set(name, value.clone(), long).await.unwrap();
    assert_eq!(other.broker.get(name).await, Ok(Some(value)));
    let answers = pod.broker.ask_others(&FleetQuestion::Stats, Duration::from_secs(5)).await.unwrap();
    assert_eq!(answers.said, [(other.broker.pod().to_owned(), FleetAnswer::Done(Some(7)))]);
    let erasure = &pod.broker.erasure;
    erasure.note_author(&room, "ann").await.unwrap();
    let deletion = Deletion { at: last, id: None, leaves: None };
    assert_eq!(erasure.delete_event(&room, &deletion).await, Ok(true));
    assert_eq!(erasure.forget_user("ann", &[]).await, Ok(vec![room.clone()]));
    erasure.forget_author(&room, "ann", Duration::ZERO).await.unwrap();
    assert_eq!(erasure.forget_room(&room).await, Ok(true));
}

/// A pod that answers whatever is asked with a number.
struct Everywhere;

impl Respond for Everywhere {
    fn respond(&self, _: FleetQuestion) -> std::pin::Pin<Box<dyn Future<Output = Option<FleetAnswer>> + Send>> {
        Box::pin(std::future::ready(Some(FleetAnswer::Done(Some(7)))))
    }
}

/// A server by whose version there should be sharded channels, and that has none: plain ones serve instead, in a cluster too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_sharded_channels_is_used_with_plain_ones() {
    let without = || Options::default().line("rename-command SSUBSCRIBE \"\"").line("rename-command SPUBLISH \"\"");
    let server = tokio::task::block_in_place(|| Standalone::start_with(without()));
    assert!(server.try_call(&["SSUBSCRIBE", "a"]).is_ok_and(|reply| matches!(reply, testkit::redis::Reply::Error(_))));
    everything_works(alone(&server), Durability::Log).await;
    let cluster = tokio::task::block_in_place(|| Cluster::start_with(3, 1, without()));
    everything_works(clustered(&cluster), Durability::Replica).await;
}

/// A certificate for this machine, as files. The nodes of a cluster use it as clients of each other, too.
fn certificate(dir: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    certificate_of(dir, rcgen::IsCa::NoCa)
}

fn certificate_of(dir: &std::path::Path, is_ca: rcgen::IsCa) -> (std::path::PathBuf, std::path::PathBuf) {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = is_ca;
    let pair = KeyPair::generate().unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    (cert, key)
}

/// Whether the servers under test speak TLS: the Valkey that is tried does not, which is said and not passed over.
fn speaks_tls() -> bool {
    let speaks = std::env::var("REDIS_SERVER").is_err();
    if !speaks {
        // Not `eprintln`, which a test that passes keeps to itself.
        let line = b"\nSKIPPED: the server that REDIS_SERVER names was built without TLS\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
    }
    speaks
}

/// With TLS, a user and a password, wherever Redis is: the servers that a cluster or a sentinel names are reached with TLS
/// too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_a_user_lead_to_a_cluster_and_through_sentinels() {
    if !speaks_tls() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let options = || Options::default().tls((&cert, &key));
    let trusting = Arc::new(client_config(Some(&cert)).unwrap().0);
    let guide = include_str!("../../../docs/OPERATIONS.md");
    let rules = guide.lines().find(|line| line.starts_with("~roomcast:")).unwrap();
    let user: Vec<&str> =
        ["ACL", "SETUSER", "pod", "reset", "on", ">s3cret"].into_iter().chain(rules.split(' ')).collect();
    let with = |settings: Settings| {
        let mut settings = settings;
        settings.endpoints.tls = Some(Arc::clone(&trusting));
        settings.endpoints.user = Some("pod".into());
        settings.endpoints.password = Some(Password::new("s3cret"));
        settings
    };
    let cluster = tokio::task::block_in_place(|| {
        let cluster = Cluster::start_with(3, 1, options());
        cluster.nodes().iter().for_each(|node| drop(node.call(&user)));
        cluster
    });
    let seeds = cluster.nodes().iter().map(Node::tls_address).take(2).collect();
    everything_works(with(Settings::new(endpoints(seeds, Topology::Cluster))), Durability::Replica).await;
    let watched = tokio::task::block_in_place(|| testkit::redis::Watched::start_with("pass", "other", options()));
    for node in [&watched.master, &watched.replica] {
        tokio::task::block_in_place(|| node.call(&user));
    }
    let topology = Topology::Sentinel {
        master: testkit::redis::NAME.to_owned(),
        user: None,
        password: Some(Password::new("other")),
    };
    let settings = with(Settings::new(endpoints(vec![watched.sentinel.tls_address()], topology)));
    everything_works(settings.clone(), Durability::Replica).await;
    tokio::task::block_in_place(|| {
        watched.master.wait_in_step(&watched.replica);
        watched.master.kill();
        watched.wait_promoted();
    });
    everything_works(settings, Durability::Log).await;
}

/// With TLS, the servers' names and certificates are checked; a stranger's is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_over_tls() {
    // As `openssl req -x509` makes it, the certificate of a server is one of an authority too.
    for is_ca in [rcgen::IsCa::NoCa, rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)] {
        commands_go_over_tls_with(is_ca).await;
    }
}

async fn commands_go_over_tls_with(is_ca: rcgen::IsCa) {
    if !speaks_tls() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate_of(dir.path(), is_ca);
    let server = tokio::task::block_in_place(|| Standalone::start_with(Options::default().tls((&cert, &key))));
    let trusting = client_config(Some(&cert)).unwrap().0;
    let with = |config| {
        let mut settings = alone(&server);
        settings.endpoints.nodes = vec![server.tls_address()];
        settings.endpoints.tls = Some(Arc::new(config));
        settings
    };
    let pod = Pod::ready(with(trusting)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let position = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &position).await;
    let stranger = Pod::new(with(client_config(None).unwrap().0), Policy::default());
    let refused = stranger.publish(&room, "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
}

/// A server that asks for a client's certificate is shown one, by subscriptions and by commands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_shown_to_servers_that_ask_for_one() {
    if !speaks_tls() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(dir.path());
    let options = Options::default().tls((&cert, &key)).line("tls-auth-clients yes");
    let server = tokio::task::block_in_place(|| Standalone::start_with(options));
    let with = |config| {
        let mut settings = alone(&server);
        settings.endpoints.nodes = vec![server.tls_address()];
        settings.endpoints.tls = Some(Arc::new(config));
        settings
    };
    let pod = Pod::ready(with(client_config_with_identity(Some(&cert), &cert, &key).unwrap().0)).await;
    let room = room("a");
    pod.subscribed(&room).await;
    let position = pod.publish(&room, "t").await.unwrap();
    pod.reaches(&room, &position).await;
    let stranger = Pod::new(with(client_config(Some(&cert)).unwrap().0), Policy::default());
    let refused = stranger.publish(&room, "t").await;
    assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
    for (cert, key) in [(&key, &key), (&cert, &cert), (&dir.path().join("none"), &key)] {
        let refused = client_config_with_identity(None, cert, key).unwrap_err().to_string();
        assert!(refused.contains("the client's certificate cannot be used"), "{refused}");
    }
}

/// A password that is changed while a pod is connected: what stands goes on, what is made anew is refused until it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_is_told_and_passes() {
    let server = tokio::task::block_in_place(|| Standalone::start_with(Options::default().password("one")));
    let mut settings = alone(&server);
    settings.endpoints.password = Some(Password::new("one"));
    let pod = Pod::ready(settings).await;
    let room = room("a");
    pod.subscribed(&room).await;
    assert_eq!(pod.publish(&room, "t").await.unwrap().offset, 1);
    let mut operator = tokio::task::block_in_place(|| server.link().unwrap());
    let mut call = |args: &[&str]| drop(tokio::task::block_in_place(|| operator.call(args).unwrap().ok()));
    call(&["CONFIG", "SET", "requirepass", "two"]);
    assert_eq!(pod.publish(&room, "t").await.unwrap().offset, 2);
    call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until("it shows", || pod.broker.condition() == Condition::Degraded).await;
    let began = Instant::now();
    let says_why = |error| matches!(error, Err(BrokerError::Unavailable(why)) if why.contains("WRONGPASS"));
    while !says_why(pod.publish(&room, "refused").await) {
        assert!(began.elapsed() < Duration::from_secs(20), "no publish is refused for that");
    }
    call(&["CONFIG", "SET", "requirepass", "one"]);
    pod.well().await;
    let after = pod.insist(&room, "after").await;
    pod.reaches(&room, &after).await;
}
