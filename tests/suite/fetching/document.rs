//! `/openapi.json`: what the public listeners answer over HTTP, as the pod that is asked has it.

use super::{
    in_a_dialect::{example, start},
    *,
};

/// The names of an operation's parameters.
fn parameters(operation: &Value) -> Vec<&str> {
    operation["parameters"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_names_what_is_there_and_how_it_answers() {
    let pod = start(example());
    let address = pod.addresses().plain[0];
    let response = send(address, Method::GET, "/openapi.json", &[]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let document: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let (status, internal) = ask_internal(&pod, "/openapi.json").await;
    assert_eq!((status, serde_json::from_str::<Value>(&internal).unwrap()), (200, document.clone()));
    let paths = document["paths"].as_object().unwrap();
    let mut names: Vec<_> = paths.keys().map(String::as_str).collect();
    names.sort_unstable();
    let native = ["/certificate-hashes", "/edges", "/events", "/openapi.json", "/poll", "/send", "/ws"];
    let described = ["/api/poll", "/api/rooms/{path1}/past", "/api/send"];
    assert_eq!(names, described.into_iter().chain(native).collect::<Vec<_>>());
    assert_eq!(parameters(&paths["/api/poll"]["get"]), ["channel", "last"]);
    assert_eq!(parameters(&paths["/api/rooms/{path1}/past"]["get"]), ["path1", "after", "most"]);
    // What comes without anything is answered, and by a status that stands there.
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let status = send(address, method.clone(), &path.replace("{path1}", "1"), &[]).await.status().as_u16();
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key(&status.to_string()), "{method} {path}: {status} of {:?}", answers.keys());
        }
    }
    pod.stop();
}
