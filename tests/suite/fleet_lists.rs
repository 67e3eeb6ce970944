//! Connections and rooms of a whole fleet, as its backend lists them.

use serde_json::{Value, json};
use testkit::redis::Standalone;
use tokio::task::block_in_place;

use crate::{
    harness::{Client, pod},
    users::{call, known, over, ready, token},
};
use roomcast::testing::pod::Pod;

/// A connection of a user that says what its client is.
async fn device(pod: &Pod, user: &str, agent: &str) -> Client {
    let bearer = format!("Bearer {}", token(user));
    let headers = [("Authorization", bearer.as_str()), ("User-Agent", agent)];
    let mut client = Client::open(pod.addresses().plain[0], "/ws", &["roomcast.v1"], &headers, None).await.unwrap();
    assert_eq!(client.json().await["type"], "welcome");
    client
}

/// What the API answers to a GET.
async fn get(pod: &Pod, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer test-key");
    call(pod.addresses().internal[0], &head, "").await
}

async fn asked(pod: &Pod, path: &str) -> Value {
    let (status, body) = get(pod, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// What calls themselves what, on which pod.
fn devices(page: &Value) -> Vec<(String, String)> {
    let connections = page["connections"].as_array().unwrap_or_else(|| panic!("{page}"));
    let text = |connection: &Value, name: &str| connection[name].as_str().unwrap_or_default().to_owned();
    let mut devices: Vec<_> = connections.iter().map(|one| (text(one, "user_agent"), text(one, "pod"))).collect();
    devices.sort();
    devices
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_rooms_are_those_of_all_pods() {
    let server = block_in_place(Standalone::start);
    let [a, b] = [(); 2].map(|()| {
        pod(|settings| {
            known(settings);
            over(&server, settings);
        })
    });
    ready(&a).await;
    ready(&b).await;
    let names = [&a, &b].map(|pod| pod.services().control.pod().to_owned());
    let (mut phone, mut laptop) = (device(&a, "ann", "phone/1").await, device(&b, "ann", "laptop/2").await);
    let mut other = device(&b, "bob", "x").await;
    for client in [&mut phone, &mut laptop, &mut other] {
        client.subscribe("chat:1").await;
    }
    other.subscribe("chat:2").await;

    let here = asked(&a, "/api/users/ann").await;
    assert_eq!((devices(&here), here.get("scope")), (vec![("phone/1".to_owned(), String::new())], None), "{here}");
    let all = [("laptop/2", &names[1]), ("phone/1", &names[0])].map(|(agent, pod)| (agent.to_owned(), pod.clone()));
    for pod in [&a, &b] {
        let ann = asked(pod, "/api/users/ann?scope=fleet").await;
        assert_eq!((devices(&ann), &ann["total"]), (all.to_vec(), &json!(2)), "{ann}");
        assert_eq!((&ann["scope"], &ann["pods"], &ann["silent"]), (&json!("fleet"), &json!(2), &json!([])), "{ann}");
    }
    // Page after page, each connection once.
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = asked(&a, &format!("/api/connections?scope=fleet&room=chat:1&limit=1{after}")).await;
        assert_eq!(page["total"], 3, "{page}");
        let page_ids = page["connections"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        ids.extend(page_ids);
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    // One connection, on whichever pod it is.
    for id in &ids {
        let found = asked(&a, &format!("/api/connections/{id}?scope=fleet")).await;
        assert_eq!(found["id"], json!(id), "{found}");
        assert!(found["last_seen"].as_u64() > Some(1_600_000_000_000), "{found}");
    }
    let on_a = asked(&a, "/api/connections?limit=1").await["connections"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(get(&b, &format!("/api/connections/{on_a}")).await.0, 404, "it is not of that pod");
    assert_eq!(get(&b, "/api/connections/00000000000000ff?scope=fleet").await.0, 404);

    let rooms = |page: Value| page["rooms"].clone();
    assert_eq!(rooms(asked(&a, "/api/rooms").await), json!([{"room": "chat:1", "members": 1}]));
    let both = json!([{"room": "chat:1", "members": 3}, {"room": "chat:2", "members": 1}]);
    assert_eq!(rooms(asked(&a, "/api/rooms?scope=fleet").await), both);
    let first = asked(&b, "/api/rooms?scope=fleet&limit=1").await;
    assert_eq!((&first["rooms"], &first["next"]), (&json!([{"room": "chat:1", "members": 3}]), &json!("chat:1")));
    assert_eq!(asked(&a, "/api/rooms/chat:1").await["members"], 1);
    let room = asked(&a, "/api/rooms/chat:1?scope=fleet").await;
    assert_eq!((&room["members"], &room["pods"]), (&json!(3), &json!(2)), "{room}");
    assert_eq!(get(&a, "/api/rooms?scope=all").await.0, 400);
    block_in_place(|| {
        a.stop();
        b.stop();
    });
}
