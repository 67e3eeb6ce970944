//! Who may fetch which rooms, and what is refused.

use super::*;

fn token(user: &str, rooms: Value) -> String {
    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let claims = json!({"sub": user, "exp": exp, "rooms": rooms});
    SigningKey::secret(&HmacSecret::new(SECRET).unwrap()).token(&claims, None).unwrap()
}

#[tokio::test]
async fn tokens_rooms_and_the_personal_room() {
    let pod = pod(|s| {
        s.tokens.hmac_secrets = vec![HmacSecret::new(SECRET).unwrap()];
        s.tokens.personal_room = Some(PersonalRoom::parse("user:{user}").unwrap());
        s.general.anonymous = Some(false);
        s.policies = vec![rule("user:*", |p| p.join = Access::Owner), rule("chat:*", |p| p.join = Access::Claim)];
    });
    let ann = token("ann", json!(["chat:1"]));
    let bearer = format!("Bearer {ann}");
    let code = async |target: &str, headers: &[(&str, &str)]| {
        let (status, answer) = ask(&pod, target, headers).await;
        (status, answer["error"]["code"].as_str().unwrap_or("").to_owned())
    };
    for path in ["/poll", "/events"] {
        for (query, bearer, expected) in [
            ("?room=chat:1", None, (401, "unauthorized")),
            ("?room=chat:1&token=x", None, (401, "unauthorized")),
            ("?room=chat:1", Some("Bearer x"), (401, "unauthorized")),
            ("?room=chat:1", Some("Basic x"), (401, "unauthorized")),
            ("?room=chat:1", Some("Bearer"), (400, "bad_request")),
            ("?room=chat:1&room=chat:2", Some(bearer.as_str()), (403, "forbidden")),
            ("?room=user:bob", Some(bearer.as_str()), (403, "forbidden")),
        ] {
            let headers: Vec<_> = bearer.map(|bearer| ("Authorization", bearer)).into_iter().collect();
            let got = code(&format!("{path}{query}"), &headers).await;
            assert_eq!((got.0, got.1.as_str()), expected, "{path}{query}");
        }
    }
    // The personal room needs no asking, and goes on by the cursor without an answer for its own sake.
    let first = poll(&pod, &format!("/poll?room=chat:1&token={ann}")).await;
    assert_eq!(kinds(&first), ["subscribed", "subscribed"], "{first}");
    let target = format!("/poll?room=chat:1&token={ann}&cursor={}", encoded(&first["cursor"]));
    let began = Instant::now();
    let (answer, _) = tokio::join!(poll(&pod, &target), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        publish(&pod, "user:ann", "t", "1").await
    });
    assert!(began.elapsed() >= Duration::from_millis(300), "{answer}");
    assert_eq!(offsets(&answer), [1], "{answer}");
    let alone = poll(&pod, &format!("/poll?token={ann}")).await;
    assert_eq!(alone["messages"][0]["room"], "user:ann");
    pod.stop();
}

#[tokio::test]
async fn bad_requests_and_foreign_pages_are_refused() {
    let pod = pod(|s| s.general.origins = vec![OriginPattern::parse("https://app.example.com").unwrap()]);
    let address = pod.addresses().plain[0];
    for path in ["/poll", "/events"] {
        for (query, expected) in [
            ("", (400, "bad_request")),
            ("?room=", (400, "bad_request")),
            ("?room=a%7Bb", (400, "bad_request")),
            ("?room=a&since=5", (400, "bad_request")),
            ("?room=a&cursor=5", (400, "bad_request")),
            ("?rooms=a", (400, "bad_request")),
            (&format!("?{}", "&room=".to_owned() + &"x".repeat(256)), (400, "bad_request")),
            (
                &format!("?x=1{}", (0..40).map(|n| format!("&room={n}{}", "r".repeat(250))).collect::<String>()),
                (400, "bad_request"),
            ),
        ] {
            let (status, answer) = ask(&pod, &format!("{path}{query}"), &[]).await;
            assert_eq!((status, answer["error"]["code"].as_str().unwrap()), expected, "{path}{query}: {answer}");
            assert!(answer["error"]["message"].as_str().unwrap().len() > 10);
        }
        let response = send(address, Method::POST, &format!("{path}?room=a"), &[]).await;
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "GET, OPTIONS"));
        for origin in ["https://evil.example", "null"] {
            let response = send(address, Method::GET, &format!("{path}?room=a"), &[("Origin", origin)]).await;
            assert_eq!(response.status(), 403);
            assert!(!response.headers().contains_key("access-control-allow-origin"));
        }
        let origin = ("Origin", "https://app.example.com");
        let wants = ("Access-Control-Request-Method", "GET");
        let preflight = send(address, Method::OPTIONS, &format!("{path}?room=a"), &[origin, wants]).await;
        let headers = preflight.headers();
        assert_eq!(
            (preflight.status().as_u16(), headers["access-control-allow-origin"].to_str().unwrap()),
            (204, origin.1)
        );
        assert!(headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
        assert!(headers["vary"].to_str().unwrap().contains("origin"));
        // What watches a page's requests adds headers of its own; a list without end is not repeated.
        let watched = "traceparent,sentry-trace,baggage,x-requested-with";
        for (asked, expected) in
            [(watched, watched), (&"x".repeat(2_000), "authorization, content-type, last-event-id, cache-control")]
        {
            let asks = [origin, wants, ("Access-Control-Request-Headers", asked)];
            let preflight = send(address, Method::OPTIONS, &format!("{path}?room=a"), &asks).await;
            assert_eq!(preflight.headers()["access-control-allow-headers"], expected);
            let vary = preflight.headers().get_all("vary").iter().map(|vary| vary.to_str().unwrap());
            assert!(vary.collect::<Vec<_>>().contains(&"access-control-request-headers"));
        }
        let refused = send(address, Method::GET, path, &[origin]).await;
        assert_eq!(refused.headers()["access-control-allow-origin"], origin.1, "its page may read why");
    }
    assert_eq!(ask_internal(&pod, "/metrics").await.0, 200);
    pod.stop();
}
