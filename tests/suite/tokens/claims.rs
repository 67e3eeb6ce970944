//! What a good token says: its user, its rooms, its end.

use roomcast::testing::{
    auth::{RoomRight, TokenError},
    config::{Flags, PersonalRoom, Preset, TokenSettings, Variables, merge_over},
    model::{Access, Room},
};
use serde_json::{Value, json};

use super::support::{NOW, SECRET, good, secret, verdict, with_secret};

fn token(claims: &Value) -> String {
    secret(SECRET).token(claims, None).unwrap()
}

fn with(name: &str, value: Value) -> String {
    let mut claims = good();
    claims[name] = value;
    token(&claims)
}

fn wrong(claim: &str, why: &'static str) -> TokenError {
    TokenError::Claim { claim: claim.into(), why }
}

#[test]
fn the_user() {
    let user =
        |token: &str, settings: &TokenSettings| verdict(settings, token).map(|grant| grant.user().unwrap().to_string());
    let settings = with_secret();
    for (value, expected) in [
        (json!("ann"), "ann"),
        (json!(7), "7"),
        (json!(-7), "-7"),
        (json!(7.0), "7"),
        (json!(-7.0), "-7"),
        (json!(-0.0), "0"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!("Ann Lee {7}"), "Ann Lee {7}"),
        (json!("é".repeat(127)), &"é".repeat(127)),
    ] {
        assert_eq!(user(&with("sub", value.clone()), &settings).as_deref(), Ok(expected), "{value}");
    }
    for (value, why) in [
        (json!(null), "is missing: it is to name the user"),
        (json!(""), "is missing: it is to name the user"),
        (json!(1.5), "is neither a string nor a whole number"),
        (json!(1e30), "is neither a string nor a whole number"),
        (json!(true), "is neither a string nor a whole number"),
        (json!(["ann"]), "is neither a string nor a whole number"),
        (json!({}), "is neither a string nor a whole number"),
        (json!("a\nb"), "has a control character in it"),
        (json!("a\u{0}"), "has a control character in it"),
        (json!("a\u{85}"), "has a control character in it"),
        (json!("é".repeat(128)), "is longer than 255 bytes"),
    ] {
        assert_eq!(user(&with("sub", value.clone()), &settings), Err(wrong("sub", why)), "{value}");
    }
    let settings = TokenSettings { user_claims: vec!["uid".to_owned(), "sub".to_owned()], ..settings };
    assert_eq!(user(&with("uid", json!(12)), &settings).as_deref(), Ok("12"));
    assert_eq!(user(&token(&good()), &settings).as_deref(), Ok("ann"), "the first that is there");
    // An empty text is no user. A claim that is there otherwise is not passed over for the next.
    assert_eq!(user(&with("uid", json!("")), &settings).as_deref(), Ok("ann"));
    assert!(user(&with("uid", json!({})), &settings).is_err());
    let nobody = token(&json!({"exp": NOW + 1}));
    assert_eq!(user(&nobody, &settings), Err(wrong("uid", "is missing: it is to name the user")));
}

#[test]
fn the_rooms() {
    let right = |pattern: &str, join, publish| RoomRight { pattern: pattern.into(), join, publish };
    let rooms = |value: Value| {
        verdict(&with_secret(), &with("rooms", value)).map(|grant| grant.claims().unwrap().rooms.clone())
    };
    assert_eq!(rooms(json!(null)), Ok(vec![]));
    assert_eq!(rooms(json!([])), Ok(vec![]));
    let entries = json!([
        "news", "chat:*",
        {"room": "trip:7", "rights": ["join", "publish"]},
        {"room": "trip:*", "rights": ["publish"]},
        {"rights": [], "room": "x"},
    ]);
    let expected = vec![
        right("news", true, false),
        right("chat:*", true, false),
        right("trip:7", true, true),
        right("trip:*", false, true),
        right("x", false, false),
    ];
    assert_eq!(rooms(entries), Ok(expected));
    assert_eq!(rooms(json!(vec!["r"; 64])).map(|rooms| rooms.len()), Ok(64));

    let entry = "has an entry that is neither a room nor {\"room\": …, \"rights\": [\"join\", \"publish\"]}";
    let name = "has an entry that no room's name can fit";
    for (value, why) in [
        (json!("news"), "is not a list"),
        (json!({"news": true}), "is not a list"),
        (json!(vec!["r"; 65]), "has more than 64 entries: patterns with `*` cover many rooms"),
        (json!([1]), entry),
        (json!([null]), entry),
        (json!([["news"]]), entry),
        (json!([{"room": "news"}]), entry),
        (json!([{"rights": ["join"]}]), entry),
        (json!([{"room": "news", "rights": "join"}]), entry),
        (json!([{"room": "news", "rights": ["admin"]}]), entry),
        (json!([{"room": "news", "rights": ["Join"]}]), entry),
        (json!([{"room": "news", "rights": ["join"], "right": ["publish"]}]), entry),
        (json!([{"room": 7, "rights": ["join"]}]), entry),
        (json!([""]), name),
        (json!(["a b"]), name),
        (json!(["{a,b}"]), name),
        (json!(["a\u{0}"]), name),
        (json!(["x".repeat(256)]), name),
    ] {
        assert_eq!(rooms(value.clone()), Err(wrong("rooms", why)), "{value}");
    }
    let twice = r#"{"sub":"ann","exp":1795136400,"rooms":[{"room":"a","room":"b","rights":[]}]}"#;
    let twice = secret(SECRET).sign(format!(
        "{}.{}",
        super::support::encode(r#"{"alg":"HS256"}"#),
        super::support::encode(twice)
    ));
    assert_eq!(verdict(&with_secret(), &twice.unwrap()), Err(wrong("rooms", entry)));

    let settings = TokenSettings { rooms_claim: Some("https://example.com/rooms".to_owned()), ..with_secret() };
    let grant = verdict(&settings, &with("https://example.com/rooms", json!(["a"]))).unwrap();
    assert!(grant.may_join(&Room::parse("a").unwrap(), Access::Claim));
    assert!(verdict(&settings, &with("rooms", json!("not looked at"))).is_ok());
}

#[test]
fn where_no_claim_of_ours_is_named_the_applications_own_may_have_any_shape() {
    let own = [
        ("rooms", json!(2)),
        ("rooms", json!([{"id": 1}])),
        ("rooms", json!(vec!["r"; 65])),
        ("methods", json!("GET")),
        ("receipts", json!("all")),
    ];
    for (preset, taken) in [("ticketing", true), ("live-polls", true), ("social", false)] {
        let merged = merge_over(Preset::named(preset), &Flags::new(), &Variables::new(), None).unwrap();
        let TokenSettings { rooms_claim, methods_claim, receipts_claim, .. } = merged.settings.tokens;
        let settings = TokenSettings { rooms_claim, methods_claim, receipts_claim, ..with_secret() };
        for (claim, value) in &own {
            let verdict = verdict(&settings, &with(claim, value.clone()));
            assert_eq!(verdict.is_ok(), taken, "{preset} {claim} {value} {verdict:?}");
        }
    }
    let settings = TokenSettings { rooms_claim: None, methods_claim: None, receipts_claim: None, ..with_secret() };
    let grant = verdict(&settings, &with("rooms", json!(["a"]))).unwrap();
    assert!(grant.claims().unwrap().rooms.is_empty());
    let grant = verdict(&settings, &with("receipts", json!(false))).unwrap();
    assert!(grant.claims().unwrap().receipts);
}

#[test]
fn rooms_are_made_of_claims() {
    // As a preset writes them.
    let merged = merge_over(Preset::named("live-polls"), &Flags::new(), &Variables::new(), None).unwrap();
    let TokenSettings { claim_rooms, claim_publish, .. } = merged.settings.tokens;
    let settings = TokenSettings { claim_rooms, claim_publish, ..with_secret() };
    let may = |claims: Value, room: &str| {
        let mut all = good();
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let grant = verdict(&settings, &token(&all)).unwrap();
        let room = Room::parse(room).unwrap();
        (grant.may_join(&room, Access::Claim), grant.may_publish(&room, Access::Claim))
    };
    for (claims, room, expected) in [
        (json!({"sessionId": "a"}), "session:a", (true, false)),
        (json!({"sessionId": "a", "role": "participant"}), "session:a", (true, false)),
        (json!({"sessionId": "a", "role": "presenter"}), "session:a", (true, true)),
        (json!({"sessionId": "a", "role": "presenter"}), "session:b", (false, false)),
        (json!({"sessions": ["a", null, 7, {}, "c d", "e"], "role": "presenter"}), "session:e", (true, true)),
        (json!({"sessions": ["a", 7]}), "session:7", (true, false)),
        (json!({"sessions": [], "sessionId": 8}), "session:8", (true, false)),
        // What a claim says is a name and no pattern.
        (json!({"sessions": ["*"], "sessionId": "*"}), "session:a", (false, false)),
        (json!({"sessions": {"a": 1}, "sessionId": ""}), "session:a", (false, false)),
        (
            json!({"sessionId": "a", "rooms": [{"room": "session:b", "rights": ["publish"]}]}),
            "session:b",
            (false, true),
        ),
        (json!({}), "session:a", (false, false)),
    ] {
        assert_eq!(may(claims.clone(), room), expected, "{claims} {room}");
    }
    // Rights are not handed out where nothing was asked of the claims.
    let settings = TokenSettings { claim_publish: Vec::new(), ..settings };
    let grant = verdict(&settings, &with("sessionId", json!("a"))).unwrap();
    assert!(!grant.may_publish(&Room::parse("session:a").unwrap(), Access::Claim));
}

#[test]
fn the_end() {
    let end = |settings: &TokenSettings, claims: &Value| {
        verdict(settings, &token(claims)).map(|g| g.claims().unwrap().expires_at)
    };
    // A connection is not closed earlier than the same token would be refused.
    assert_eq!(end(&with_secret(), &json!({"sub": "ann", "exp": NOW + 60})), Ok(Some((NOW + 90) * 1000)));
    assert_eq!(end(&with_secret(), &json!({"sub": "ann", "exp": NOW as f64 + 0.25})), Ok(Some(NOW * 1000 + 30_250)));
    let strict = TokenSettings { leeway: std::time::Duration::ZERO, ..with_secret() };
    assert_eq!(end(&strict, &json!({"sub": "ann", "exp": NOW + 1})), Ok(Some((NOW + 1) * 1000)));
    assert_eq!(end(&strict, &json!({"sub": "ann", "exp": NOW})), Err(TokenError::Expired));
    let endless = TokenSettings { require_exp: false, ..with_secret() };
    assert_eq!(end(&endless, &json!({"sub": "ann"})), Ok(None));
    assert_eq!(end(&endless, &json!({"sub": "ann", "exp": NOW - 31})), Err(TokenError::Expired));
}

#[test]
fn the_personal_room() {
    let personal = |user: Value| {
        let settings =
            TokenSettings { personal_room: Some(PersonalRoom::parse("user:{user}").unwrap()), ..with_secret() };
        let grant = verdict(&settings, &with("sub", user)).unwrap();
        grant.claims().unwrap().personal_room.as_ref().map(|room| room.as_str().to_owned())
    };
    assert_eq!(personal(json!("ann")).as_deref(), Some("user:ann"));
    assert_eq!(personal(json!(7)).as_deref(), Some("user:7"));
    // A star in a name is a star, not every room.
    assert_eq!(personal(json!("*")).as_deref(), Some("user:*"));
    assert_eq!(personal(json!("Ann Lee")), None);
    assert_eq!(personal(json!("{ann}")), None);
    assert_eq!(personal(json!("x".repeat(255))), None);
    let star = TokenSettings { personal_room: Some(PersonalRoom::parse("user:{user}").unwrap()), ..with_secret() };
    let grant = verdict(&star, &with("sub", json!("*"))).unwrap();
    assert!(!grant.may_join(&Room::parse("user:ann").unwrap(), Access::Owner));
    assert!(verdict(&with_secret(), &token(&good())).unwrap().claims().unwrap().personal_room.is_none());
}
