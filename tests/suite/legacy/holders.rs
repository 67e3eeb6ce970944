//! Pods that take plain messages in, one after another: the lease goes, and no message does.

use super::*;

/// The pod that has a lease on plain messages; empty: none has.
fn holder_of(server: &Node) -> String {
    block_in_place(|| {
        let keys = server.call(&["KEYS", &format!("roomcast:{{{}}}:legacy:*", Partition::FIRST.tag())]);
        let first = keys.list().first().map(|key| key.text().to_owned());
        first
            .and_then(|key| server.try_call(&["GET", &key]).ok())
            .map(|holder| holder.text().to_owned())
            .unwrap_or_default()
    })
}

/// A pod that can be killed.
fn process(server: &Node, dir: &Path) -> Process {
    let (host, port) = server.address();
    let file = dir.join("rc.toml");
    std::fs::write(&file, format!("[redis]\nurls = ['redis://{host}:{port}']\nlease = '2s'\n{LEGACY}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["serve", "--dev", "--config"]).arg(file).env_clear();
    for listener in ["LISTEN", "PLAIN_LISTEN", "INTERNAL_LISTEN"] {
        command.env(format!("ROOMCAST_{listener}"), "127.0.0.1:0");
    }
    Process::start(command)
}

/// Publishes numbers until the client has one that was published since; how long that took. From the first that came, each
/// comes once, in order.
async fn until_heard(client: &mut Client, server: &Node, n: &mut u64, last: &mut Option<u64>) -> Duration {
    let (began, first) = (Instant::now(), *n);
    loop {
        let message = json!({"topic": "t", "data": {"n": *n}}).to_string();
        block_in_place(|| server.call(&["PUBLISH", "trip:7", &message]));
        *n += 1;
        read_on(client, last).await;
        if last.is_some_and(|last| last >= first) {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(15), "no pod takes messages in");
    }
}

/// Reads the numbers that have come, until none comes for a moment.
async fn read_on(client: &mut Client, last: &mut Option<u64>) {
    while let Ok(events) = tokio::time::timeout(Duration::from_millis(20), batch(client)).await {
        for event in events {
            let heard = event["data"]["n"].as_u64();
            assert!(last.is_none_or(|last| heard == Some(last + 1)), "{heard:?} after {last:?}");
            *last = heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_holder_dies_another_pod_takes_over() {
    let server = block_in_place(Standalone::start);
    let dir = tempfile::tempdir().unwrap();
    let mut holder = block_in_place(|| process(&server, dir.path()));
    let lease = || holder_of(&server);
    let began = Instant::now();
    while lease().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(15), "no lease");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let first = lease();
    let b = member(url(&[server.address()], "redis"));
    let mut client = loop {
        // Ready once Redis is reached.
        if get(&b, "/ready").await.0 == 200 {
            break Client::connect(b.addresses().plain[0]).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    client.subscribe("trip:7").await;
    let (mut n, mut last) = (0, None);
    until_heard(&mut client, &server, &mut n, &mut last).await;
    assert_eq!((lease(), counted(&b, "published").await), (first.clone(), 0), "the first pod has taken it in");

    block_in_place(|| holder.kill());
    let took = until_heard(&mut client, &server, &mut n, &mut last).await;
    println!("another pod has taken over after {took:?}");
    let second = lease();
    assert_ne!(second, first);

    // What the next one heard meanwhile is published one after another.
    let began = Instant::now();
    while last != Some(n - 1) {
        assert!(began.elapsed() < Duration::from_secs(15), "of {n} messages the last that came is {last:?}");
        read_on(&mut client, &mut last).await;
    }

    // A pod that ends by itself gives the lease back: nobody waits for it to run out.
    let c = member(url(&[server.address()], "redis"));
    let mut other = loop {
        if get(&c, "/ready").await.0 == 200 {
            break Client::connect(c.addresses().plain[0]).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    other.subscribe("trip:7").await;
    assert!(counted(&b, "published").await > 0 && lease() == second);
    b.stop();
    assert_ne!(lease(), second);
    until_heard(&mut other, &server, &mut n, &mut last).await;
    c.stop();
}

/// A pod of the fleet that is ready, and a client of it in a room.
async fn ready(server: &Node, toml: &str, room: &str) -> (Pod, Client) {
    let pod = member_with(url(&[server.address()], "redis"), toml);
    while get(&pod, "/ready").await.0 != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    client.subscribe(room).await;
    (pod, client)
}

/// Publishes numbers, equal ones in pairs, from a thread of its own; how many.
fn publisher(server: &Node, stop: &std::sync::Arc<std::sync::atomic::AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (port, stop) = (server.port(), std::sync::Arc::clone(stop));
    std::thread::spawn(move || {
        let mut link = testkit::redis::Link::open(port, None).unwrap();
        let mut n = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let message = json!({"topic": "t", "data": {"n": n / 2}}).to_string();
            link.call(&["PUBLISH", "trip:7", &message]).unwrap().ok();
            n += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        n
    })
}

/// Holders die, freeze and end one after another while messages come: a pod that lives on has heard them all, so that its clients get
/// each once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_holders_go_is_lost_with_none_of_them() {
    let server = block_in_place(Standalone::start);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let start = |n: usize| block_in_place(|| process(&server, folders[n].path()));
    let until_holder = async |is: &dyn Fn(&str) -> bool| {
        let began = Instant::now();
        loop {
            let holder = holder_of(&server);
            if is(&holder) {
                return holder;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the lease is with {holder:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut first = start(0);
    let killed = until_holder(&|holder| !holder.is_empty()).await;
    let second = start(1);
    let (third, _) = ready(&server, LEGACY, "trip:other").await;
    let (last, mut client) = ready(&server, LEGACY, "trip:7").await;
    assert_eq!(until_holder(&|holder| !holder.is_empty()).await, killed);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let publishing = publisher(&server, &stop);
    let mut heard = Vec::new();
    // Until so many more came, each pod has heard a mark, and whoever holds the lease publishes.
    let mut hear = async |more: usize| {
        let all = heard.len() + more;
        while heard.len() < all {
            heard.extend(batch(&mut client).await.iter().map(|event| event["data"]["n"].as_u64().unwrap()));
        }
        heard.len() as u64
    };
    hear(200).await;
    block_in_place(|| first.kill());
    until_holder(&|holder| !holder.is_empty() && holder != killed).await;
    hear(200).await;
    // One that stands still for longer than its lease, and wakes up.
    second.signal(rustix::process::Signal::STOP);
    hear(400).await;
    second.signal(rustix::process::Signal::CONT);
    hear(200).await;
    block_in_place(|| third.stop());
    hear(200).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let published = block_in_place(|| publishing.join().unwrap());
    let so_far = hear(0).await;
    hear(usize::try_from(published - so_far).unwrap()).await;
    assert_eq!(heard, (0..published).map(|n| n / 2).collect::<Vec<_>>());
    assert!(client.is_quiet().await, "nothing comes twice");
    last.stop();
    drop(second);
}

/// How many scripts the server has run.
fn scripts(server: &Node) -> u64 {
    let info = block_in_place(|| server.call(&["INFO", "commandstats"]));
    let calls =
        info.text().lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap_or("0,").to_owned();
    calls.split(',').next().unwrap().parse().unwrap()
}

/// Messages of one room that come faster than Redis answers do not wait for each other: many go in one call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_goes_out_in_few_calls_and_in_order() {
    let server = block_in_place(Standalone::start);
    let (pod, mut client) = ready(&server, LEGACY, "trip:7").await;
    let (mut n, mut last) = (0, None);
    until_heard(&mut client, &server, &mut n, &mut last).await;
    let (before, burst) = (scripts(&server), 2_000);
    let publish = "for n = 0, ARGV[2] - 1 do
        redis.call('PUBLISH', 'trip:7', cjson.encode({topic = 't', data = {n = ARGV[1] + n}})) end";
    block_in_place(|| server.call(&["EVAL", publish, "0", &n.to_string(), &burst.to_string()]));
    n += burst;
    let began = Instant::now();
    while last != Some(n - 1) {
        assert!(began.elapsed() < Duration::from_secs(30), "of {n} messages the last that came is {last:?}");
        read_on(&mut client, &mut last).await;
    }
    let calls = scripts(&server) - before;
    assert!(calls < burst / 4, "{calls} calls for {burst} messages");
    pod.stop();
}

/// Pods that take in other channels share a Redis: each set of channels has a lease of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_with_other_channels_do_not_wait_for_each_others_lease() {
    let server = block_in_place(Standalone::start);
    let records = "[[legacy]]\nchannels = ['/records']\nroom = '{/room}'\ntopic = 'records'\ndata = '/data'\n";
    let trips = "[[legacy]]\nchannels = ['trip:*']\nroom = '{channel}'\ntopic = 't'\ndata = '/data'\n";
    let (a, mut of_records) = ready(&server, records, "group-1").await;
    let (b, mut of_trips) = ready(&server, trips, "trip:7").await;
    for (pod, channel, message) in
        [(&a, "/records", json!({"room": "group-1", "data": {"n": 1}})), (&b, "trip:7", json!({"data": {"n": 2}}))]
    {
        let began = Instant::now();
        while counted(pod, "published").await == 0 {
            assert!(began.elapsed() < Duration::from_secs(15), "{channel} is not taken in");
            block_in_place(|| server.call(&["PUBLISH", channel, &message.to_string()]));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(batch(&mut of_records).await[0]["data"]["n"], 1);
    assert_eq!(batch(&mut of_trips).await[0]["data"]["n"], 2);
    a.stop();
    b.stop();
}

/// While a pod of an older build has its lease on all plain messages, no other takes them in; then one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_an_older_build_is_waited_for() {
    let server = block_in_place(Standalone::start);
    let old = format!("roomcast:{{{}}}:legacy", Partition::FIRST.tag());
    block_in_place(|| server.call(&["SET", &old, "an older pod"]));
    let (pod, mut client) = ready(&server, LEGACY, "trip:7").await;
    let publish = || block_in_place(|| server.call(&["PUBLISH", "trip:7", r#"{"topic":"t","data":{"n":1}}"#]));
    while counted(&pod, "ignored").await < 3 {
        publish();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((counted(&pod, "published").await, holder_of(&server)), (0, String::new()));
    block_in_place(|| server.call(&["DEL", &old]));
    let began = Instant::now();
    while counted(&pod, "published").await == 0 {
        assert!(began.elapsed() < Duration::from_secs(15), "no pod takes messages in");
        publish();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(batch(&mut client).await[0]["data"]["n"], 1);
    pod.stop();
}

/// What a pod of an older build has taken in is not taken in again when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pod_of_an_older_build_took_in_is_not_repeated() {
    let server = block_in_place(Standalone::start);
    let old = format!("roomcast:{{{}}}:legacy", Partition::FIRST.tag());
    let (pod, mut client) = ready(&server, LEGACY, "trip:7").await;
    let (mut n, mut last) = (1, None);
    until_heard(&mut client, &server, &mut n, &mut last).await;
    block_in_place(|| server.call(&["SET", &old, "an older pod"]));
    let began = Instant::now();
    while !get(&pod, "/metrics").await.1.contains("\nroomcast_legacy_lease 0\n") {
        assert!(began.elapsed() < Duration::from_secs(15), "the lease of the older pod is not respected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ignored = counted(&pod, "ignored").await;
    while counted(&pod, "ignored").await == ignored {
        block_in_place(|| server.call(&["PUBLISH", "trip:7", r#"{"topic":"t","data":{"n":0}}"#]));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What came before the older pod is told first.
    let began = Instant::now();
    while last != Some(n - 1) {
        assert!(began.elapsed() < Duration::from_secs(15), "{last:?} is not {}", n - 1);
        read_on(&mut client, &mut last).await;
    }
    block_in_place(|| server.call(&["DEL", &old]));
    // What follows a 0 would be no 1.
    let mut last = None;
    until_heard(&mut client, &server, &mut n, &mut last).await;
    until_heard(&mut client, &server, &mut n, &mut last).await;
    pod.stop();
}

/// A pod that is alone leaves a free lease to others for a moment. What comes meanwhile is not lost, and comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_a_lone_pod_leaves_the_lease_to_others_is_not_lost() {
    for _ in 0..5 {
        let server = block_in_place(Standalone::start);
        let (pod, mut client) = ready(&server, LEGACY, "trip:7").await;
        let mut n = 0;
        let mut publish = || {
            n += 1;
            let message = json!({"topic": "t", "data": {"n": n}}).to_string();
            block_in_place(|| server.call(&["PUBLISH", "trip:7", &message]));
            n
        };
        let mut early = None;
        while holder_of(&server).is_empty() {
            let published = publish();
            if holder_of(&server).is_empty() {
                early = Some(published);
            }
        }
        let (mut heard, began) = (Vec::new(), Instant::now());
        loop {
            let newest = publish();
            while let Ok(events) = tokio::time::timeout(Duration::from_millis(50), batch(&mut client)).await {
                heard.extend(events.iter().map(|event| event["data"]["n"].as_u64().unwrap()));
            }
            if heard.last() == Some(&newest) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(15), "no pod takes messages in");
        }
        assert_eq!(heard, (heard[0]..=*heard.last().unwrap()).collect::<Vec<_>>(), "each once and in order");
        pod.stop();
        // The lease may have been taken before the first of them, or the answer to a ping have come late.
        if early.is_some_and(|early| heard.contains(&early)) {
            return;
        }
    }
    panic!("what came while the lease was free was lost each time");
}
