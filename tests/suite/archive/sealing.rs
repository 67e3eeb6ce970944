//! Payloads that are sealed at rest, and keys that are replaced.

use std::fs;

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    archive::{
        TOLD,
        database::{Database, archived},
        messages, publish,
    },
    harness::pod,
    users::{known, ready},
};

const OLD: &str = "2026-01 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const NEW: &str = "2026-02 HxAeDx0OHA0bDBoLGQoYCRcIFgcVBhQFEwQSAxECEAE=\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_payloads_are_read_with_the_keys_of_before() {
    let database = Database::made().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut read = Vec::new();
    for (at, keys) in [OLD.to_owned(), format!("{NEW}{OLD}"), NEW.to_owned()].into_iter().enumerate() {
        fs::write(file.path(), keys).unwrap();
        let pod = pod(|settings| {
            known(settings);
            archived(&database, settings);
            settings.archive.key_file = Some(file.path().to_owned());
        });
        ready(&pod).await;
        let (status, _) =
            publish(&pod, &json!({"room": "chat:1", "topic": "said", "data": format!("words {at}")})).await;
        assert_eq!(status, 200);
        let (status, page) = messages(&pod, "ann", "room=chat:1").await;
        read.push((status, page));
        block_in_place(|| pod.stop());
    }
    let words = |page: &Value| -> Vec<String> {
        page["messages"].as_array().unwrap().iter().map(|m| m["data"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words(&read[0].1), ["words 0"]);
    assert_eq!(words(&read[1].1), ["words 0", "words 1"]);
    // Without the key of before nothing is made up.
    let (status, refusal) = &read[2];
    assert_eq!((*status, &refusal["error"]["code"]), (503, &json!("unavailable")));
    assert_eq!(refusal["error"]["message"], TOLD, "and nothing of keys");
    assert_eq!(
        database.sql(
            "SELECT seal, bool_or(position('words'::bytea in data) > 0) FROM roomcast_messages GROUP BY seal ORDER BY 1"
        ),
        "2026-01|f\n2026-02|f"
    );
    // What was changed, or put into another row, does not open.
    database.sql(r#"DELETE FROM roomcast_messages WHERE seal = '2026-01'"#);
    database.sql("UPDATE roomcast_messages SET id = decode('00112233445566778899aabbccddeeff', 'hex')");
    let pod = pod(|settings| {
        known(settings);
        archived(&database, settings);
        settings.archive.key_file = Some(file.path().to_owned());
    });
    ready(&pod).await;
    let (status, refusal) = messages(&pod, "ann", "room=chat:1").await;
    assert_eq!(status, 503);
    assert_eq!(refusal["error"]["message"], TOLD);
    block_in_place(|| pod.stop());
}
