//! Pages of messages: cursors, who may read, what is refused, what is missing.

use serde_json::{Value, json};

use crate::{
    archive::{
        database::{Database, archived},
        messages, offsets, publish,
    },
    harness::{Client, pod, rule},
    users::{call, known, ready},
};
use roomcast::testing::{
    model::{Access, ArchiveMode},
    pod::Pod,
};

async fn fill(pod: &Pod, count: usize) {
    for n in 0..count {
        let (status, said) = publish(pod, &json!({"room": "chat:1", "topic": "said", "data": n})).await;
        assert_eq!(status, 200, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_each_other_in_both_directions() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
    });
    ready(&pod).await;
    assert_eq!(
        messages(&pod, "ann", "room=chat:1").await,
        (200, json!({"room": "chat:1", "messages": [], "missing": []}))
    );
    fill(&pod, 12).await;
    let (_, newest) = messages(&pod, "ann", "room=chat:1&limit=5").await;
    assert_eq!(offsets(&newest), [8, 9, 10, 11, 12]);
    let text = |page: &Value, name: &str| page[name].as_str().map(str::to_owned);
    let before = text(&newest, "before").unwrap();
    let (_, middle) = messages(&pod, "ann", &format!("room=chat:1&limit=5&before={before}")).await;
    assert_eq!(offsets(&middle), [3, 4, 5, 6, 7]);
    let before = text(&middle, "before").unwrap();
    let (_, oldest) = messages(&pod, "ann", &format!("room=chat:1&limit=5&before={before}")).await;
    assert_eq!((offsets(&oldest), text(&oldest, "before")), (vec![1, 2], None));
    // Forwards from there, and on to what is new.
    let after = text(&oldest, "after").unwrap();
    let (_, next) = messages(&pod, "ann", &format!("room=chat:1&limit=5&after={after}")).await;
    assert_eq!(offsets(&next), [3, 4, 5, 6, 7]);
    assert!(text(&next, "before").is_some());
    let life = after.split('-').next().unwrap();
    let (_, first) = messages(&pod, "ann", &format!("room=chat:1&limit=5&after={life}-0")).await;
    assert_eq!((offsets(&first), text(&first, "before")), (vec![1, 2, 3, 4, 5], None), "nothing is older");
    let after = text(&newest, "after").unwrap();
    let (_, none) = messages(&pod, "ann", &format!("room=chat:1&after={after}")).await;
    assert_eq!((offsets(&none), text(&none, "after")), (vec![], Some(after.clone())));
    fill(&pod, 1).await;
    let (_, new) = messages(&pod, "ann", &format!("room=chat:1&after={after}")).await;
    assert_eq!(offsets(&new), [13]);
    // What never was there is named, on the page where it would be.
    database.sql(r#"DELETE FROM roomcast_messages WHERE "offset" IN (9, 7)"#);
    let epoch = &newest["messages"][0]["epoch"];
    let (_, page) = messages(&pod, "ann", "room=chat:1&limit=5").await;
    assert_eq!(
        (offsets(&page), &page["missing"]),
        (
            vec![8, 10, 11, 12, 13],
            &json!([
                {"epoch": epoch, "from": 7, "to": 7},
                {"epoch": epoch, "from": 9, "to": 9},
            ])
        )
    );
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_clients_that_may_join_a_room_read_its_messages() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        let owned = rule("own:*", |policy| {
            policy.archive = ArchiveMode::Postgres;
            policy.join = Access::Nobody;
        });
        settings.policies.push(owned);
        settings.limits.command_burst = 40;
        settings.limits.commands_per_second = 1;
        settings.general.anonymous = Some(false);
    });
    ready(&pod).await;
    let public = pod.addresses().plain[0];
    for (query, status, code) in [
        ("room=own:1", 403, "forbidden"),
        ("room=news:1", 400, "bad_request"),
        ("room=chat:1&before=x", 400, "bad_request"),
        ("room=chat:1&limit=1000", 400, "bad_request"),
        ("", 400, "bad_request"),
    ] {
        let (said, body) = messages(&pod, "ann", query).await;
        assert_eq!((said, &body["error"]["code"]), (status, &json!(code)), "{query}: {body}");
    }
    for (head, status) in [
        ("GET /messages?room=chat:1 HTTP/1.1", 401),
        ("GET /messages?room=chat:1 HTTP/1.1\r\nAuthorization: Bearer x.y.z", 401),
        ("GET /messages?room=chat:1 HTTP/1.1\r\nOrigin: https://evil.example", 403),
        ("POST /messages?room=chat:1 HTTP/1.1", 405),
        ("OPTIONS /messages?room=chat:1 HTTP/1.1\r\nOrigin: http://localhost:1", 204),
    ] {
        assert_eq!(call(public, head, "").await.0, status, "{head}");
    }
    // A page is the work of several commands.
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(messages(&pod, "bob", "room=chat:1").await.0);
    }
    assert!(answers[..8].iter().all(|status| *status == 200) && answers[11] == 429, "{answers:?}");
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_goes_on_in_the_archive_where_the_log_ends() {
    let database = Database::made().await;
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        settings.policies[0].policy.history_size = 2;
        settings.policies.push(rule("short:*", |policy| policy.history_size = 2));
    });
    ready(&pod).await;
    fill(&pod, 6).await;
    let mut client = Client::connect(pod.addresses().plain[0]).await;
    let mut read = async |room: &str, since: Value| {
        let ask = json!({"type": "history", "id": 1, "room": room, "since": since, "limit": 3});
        client.send(&ask.to_string()).await;
        let said = client.json().await;
        let offsets: Vec<u64> =
            said["events"].as_array().unwrap().iter().map(|event| event["offset"].as_u64().unwrap()).collect();
        (said["after"].as_u64().unwrap(), offsets, said["complete"].as_bool().unwrap(), said["epoch"].clone())
    };
    let (_, newest, complete, epoch) = read("chat:1", Value::Null).await;
    assert!(!complete);
    assert_eq!(newest, [4, 5, 6], "what the log has no more comes before what it has");
    let since = |offset: u64| json!({"epoch": epoch, "offset": offset});
    assert_eq!(read("chat:1", since(0)).await, (0, vec![1, 2, 3], false, epoch.clone()));
    assert_eq!(read("chat:1", since(3)).await, (3, vec![4, 5, 6], false, epoch.clone()));
    assert_eq!(read("chat:1", since(4)).await, (4, vec![5, 6], true, epoch.clone()));
    // A room without an archive is as it was.
    for n in 0..4 {
        publish(&pod, &json!({"room": "short:1", "topic": "said", "data": n})).await;
    }
    let (after, offsets, complete, _) = read("short:1", json!({"epoch": "other", "offset": 0})).await;
    assert_eq!((after, offsets, complete), (2, vec![3, 4], false));
    tokio::task::block_in_place(|| pod.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_does_not_hide_the_archive_behind_a_log_that_began_anew() {
    let database = Database::made().await;
    let start = || {
        pod(|settings| {
            known(settings);
            archived(&database, settings);
        })
    };
    let first = start();
    ready(&first).await;
    fill(&first, 5).await;
    let (_, page) = messages(&first, "ann", "room=chat:1").await;
    let old = page["messages"][0]["epoch"].clone();
    tokio::task::block_in_place(|| first.stop());
    // This one's log begins at 1 again.
    let second = start();
    ready(&second).await;
    let mut client = Client::connect(second.addresses().plain[0]).await;
    let mut read = async |since: Value| {
        let ask = json!({"type": "history", "id": 1, "room": "chat:1", "since": since, "limit": 50});
        client.send(&ask.to_string()).await;
        let said = client.json().await;
        let events = said["events"].as_array().unwrap().iter();
        let offsets: Vec<u64> = events.map(|event| event["offset"].as_u64().unwrap()).collect();
        (offsets, said["epoch"] == old, said["complete"].as_bool().unwrap())
    };
    let since = |offset: u64| json!({"epoch": old, "offset": offset});
    assert_eq!(read(Value::Null).await, (vec![1, 2, 3, 4, 5], true, false), "nothing new");
    fill(&second, 1).await;
    assert_eq!(read(Value::Null).await, (vec![1], false, false), "there is more than this");
    assert_eq!(read(since(0)).await, (vec![1, 2, 3, 4, 5], true, false));
    assert_eq!(read(since(1)).await, (vec![2, 3, 4, 5], true, false));
    assert_eq!(read(since(5)).await, (vec![1], false, false));
    // A room that has always had this log has all of it there.
    let (_, said) = publish(&second, &json!({"room": "chat:2", "topic": "said", "data": 1})).await;
    assert!(said["offset"] == 1, "{said}");
    client.send(r#"{"type":"history","id":2,"room":"chat:2","limit":50}"#).await;
    assert_eq!(client.json().await["complete"], true);
    drop(client);
    tokio::task::block_in_place(|| second.stop());
}
