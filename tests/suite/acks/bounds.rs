//! What questions and notices cost, and what a notice never says.

use super::*;

#[tokio::test]
async fn a_question_about_many_rooms_costs_more_than_one_about_few() {
    let pod = start(|settings| (settings.limits.commands_per_second, settings.limits.command_burst) = (1, 100));
    let mut ann = device(&pod, "ann").await;
    let rooms: Vec<_> = (0..1_024).map(|n| format!("chat:{n}")).collect();
    let question = |rooms: &[String]| json!({"type": "unread", "id": 1, "rooms": rooms});
    assert_eq!(answer(&mut ann, question(&rooms)).await["rooms"].as_array().map(Vec::len), Some(1_024));
    // It cost 68 of the 100.
    assert_eq!(answer(&mut ann, question(&rooms)).await["code"], "rate_limited");
    assert_eq!(answer(&mut ann, question(&rooms[..1])).await["type"], "unread");
    pod.stop();
}

#[tokio::test]
async fn what_a_client_sends_behind_a_question_waits_for_its_answer() {
    let pod = start(|_| {});
    let mut ann = device(&pod, "ann").await;
    let rooms: Vec<_> = (0..1_024).map(|n| format!("chat:{n}")).collect();
    let question = json!({"type": "unread", "id": "u", "rooms": rooms});
    ann.send_at_once(&[question, json!({"type": "ping", "id": "p"})]).await;
    assert_eq!((ann.json().await["id"].clone(), ann.json().await["id"].clone()), (json!("u"), json!("p")));
    pod.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_not_told_less_than_was_read_before_a_failover() {
    let server = block_in_place(Standalone::start);
    let pod = start(|settings| over(&server, settings));
    ready(&pod).await;
    let (mut phone, mut laptop) = (device(&pod, "ann").await, device(&pod, "ann").await);
    let epoch = fill(&pod, "chat:1", 8).await;
    assert_eq!(ack(&mut phone, "chat:1", 1).await["type"], DONE);
    assert_eq!(told(&mut laptop).await, ["chat:1 1/8 7"]);
    // As after a failover: the log was another server's up to event 6, and there the user had read 5.
    let key = |kind: &str| {
        let keys = block_in_place(|| server.call(&["KEYS", &format!("*:{kind}")]));
        keys.list().first().expect("the key").text().to_owned()
    };
    let before = format!("{}.0123456789ab", epoch.split_once('.').unwrap().0);
    block_in_place(|| {
        server.call(&["HSET", &key("room:chat:1"), "chain", "0123456789ab:6"]);
        server.call(&["HSET", &key("acks:ann"), "chat:1", &format!("4102444800000 {before} 5")]);
    });
    assert_eq!(unread(&mut laptop, &[]).await, ["chat:1 5/8 3"]);
    for (offset, kept) in [(2, 2), (4, 3)] {
        assert_eq!(ack(&mut phone, "chat:1", offset).await["type"], DONE);
        let line = format!("roomcast_acks_total{{outcome=\"kept\"}} {kept}\n");
        while !get(&pod, "/metrics").await.1.contains(&line) {}
    }
    assert_eq!(unread(&mut phone, &[]).await, ["chat:1 5/8 3"]);
    assert_eq!(ack(&mut phone, "chat:1", 7).await["type"], DONE);
    assert_eq!(told(&mut laptop).await, ["chat:1 7/8 1"], "what is nearer than 5 was not told");
    pod.stop();
}

#[tokio::test]
async fn a_notice_names_no_room_in_which_nothing_was_read_and_not_too_many() {
    let pod = start(|settings| settings.acks.every = Duration::from_millis(300));
    let (mut phone, mut laptop) = (device(&pod, "ann").await, device(&pod, "ann").await);
    for n in 0..150 {
        fill(&pod, &format!("chat:{n}"), 1).await;
    }
    for n in 0..150 {
        phone.send(&json!({"type": "ack", "room": format!("chat:made-up:{n}"), "offset": 0}).to_string()).await;
    }
    for n in 0..150 {
        phone.send(&json!({"type": "ack", "room": format!("chat:{n}"), "offset": 1}).to_string()).await;
    }
    let mut rooms = 0;
    while rooms < 100 {
        let some = told(&mut laptop).await;
        assert!(some.len() <= 100 && some.iter().all(|room| room.ends_with(" 1/1 0")), "{some:?}");
        rooms += some.len();
    }
    pod.stop();
}
