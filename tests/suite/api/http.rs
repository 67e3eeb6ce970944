//! HTTP on the internal listener, whatever is called.

use super::*;

#[tokio::test]
async fn http_is_spoken_properly() {
    let pod = newsroom(|_| {});
    let mut caller = Caller::new(&pod).await;
    // HEAD has GET's head and no body.
    let get = caller.get("/api/openapi.json").await;
    let head = caller.call("HEAD", "/api/openapi.json", b"").await;
    let length =
        |answer: &Answer| answer.head.lines().find(|line| line.starts_with("content-length")).unwrap().to_owned();
    assert_eq!((head.status, length(&head)), (200, length(&get)));
    assert_eq!(get.body["openapi"], "3.1.0");
    assert_eq!(caller.call("HEAD", "/api/publish", b"").await.status, 405);
    // Chunked bodies, and any content type.
    let body = event("news:1").to_string();
    let chunked = format!(
        "POST /api/publish HTTP/1.1\r\nHost: pod\r\nAuthorization: bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    caller.write(chunked.as_bytes()).await;
    assert_eq!(caller.answer(true).await.status, 200);
    // Whoever sends too much, or has no key, gets to read why; and the connection goes on if the rest came.
    let large = vec![b' '; 4 * 1024 * 1024];
    assert_eq!(caller.call("POST", "/api/publish", &large).await.status, 413);
    assert_eq!(caller.request("POST", "/api/publish", "", &large).await.status, 401);
    assert_eq!(caller.get("/api/stats").await.status, 200);
    // No HTTP at all.
    caller.write(b"\x16\x03\x01 not http\r\n\r\n").await;
    assert_eq!(caller.answer(true).await.status, 400);
    pod.stop();
}

#[tokio::test]
async fn connections_beyond_the_most_are_refused_and_counted() {
    let pod = newsroom(|_| {});
    let mut callers = Vec::new();
    for _ in 0..1_024 {
        callers.push(Caller::new(&pod).await);
    }
    // What is left is for probes, and for one answer each.
    let mut probes = Vec::new();
    for _ in 0..16 {
        probes.push(Caller::new(&pod).await);
    }
    let mut excess = Caller::new(&pod).await;
    let answer = excess.answer(true).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!excess.more().await, "it ends");
    let body = event("news:1").to_string();
    for (method, path, body, status) in [
        ("GET", "/health", "", 200),
        ("GET", "/ready", "", 200),
        ("GET", "/api/stats", "", 503),
        ("POST", "/api/publish", &body, 503),
    ] {
        let mut probe = probes.pop().unwrap();
        let answer = probe.call(method, path, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!probe.more().await, "{path}");
    }
    let mut caller = callers.pop().unwrap();
    let metrics = caller.get("/metrics").await;
    assert!(metrics.body.as_str().unwrap().contains("roomcast_internal_refused_total 3"), "{metrics:?}");
    // Whoever goes makes place.
    drop(callers.pop());
    let deadline = Instant::now() + SOON;
    loop {
        let mut next = Caller::new(&pod).await;
        next.write(format!("GET /api/stats HTTP/1.1\r\nHost: pod\r\nAuthorization: Bearer {KEY}\r\n\r\n").as_bytes())
            .await;
        if next.answer(true).await.status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "the place that was left is not given");
    }
    pod.stop();
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_and_an_idle_connection_is_not() {
    let pod = newsroom(|_| {});
    let (mut slow, mut idle) = (Caller::new(&pod).await, Caller::new(&pod).await);
    assert_eq!(idle.get("/health").await.status, 200);
    slow.write(b"GET /health HTTP/1.1\r\nX: ").await;
    let began = Instant::now();
    let mut chunk = [0; 64];
    loop {
        match timeout(Duration::from_secs(1), slow.stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => panic!("an answer to half a request"),
            // A byte now and then does not help.
            Err(_) => drop(slow.stream.write_all(b"x").await),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "still open");
    }
    assert!(began.elapsed() > Duration::from_secs(9), "cut off after {:?}", began.elapsed());
    assert_eq!(idle.get("/health").await.status, 200, "kept");
    pod.stop();
}
