//! Stores a session's record in the key-value store.
//!
//! Always holds: a record that another connection has taken over is not written again, nor one of a user that was erased meanwhile.

use crate::{
    broker::KeyValue,
    hub::users::user_writes::UserWrite,
    session::{RecordValue, RecordWrite, WriteOutcome},
};

/// Stores a record, unless another connection has the session: one that was cut off does not know yet.
pub(super) async fn store(values: &dyn KeyValue, write: &RecordWrite, under_way: &UserWrite) -> WriteOutcome {
    let Some(key) = RecordValue::key(&write.pid) else { return WriteOutcome::Failed };
    if !write.claims {
        let stored = values.get(&key).await.ok().flatten();
        let owner = stored.and_then(|stored| RecordValue::parse(&stored)).map(|value| value.owner);
        if owner.is_some_and(|owner| owner != write.value.owner) {
            return WriteOutcome::TakenOver;
        }
    }
    let Ok(json) = serde_json::to_vec(&write.value) else { return WriteOutcome::Failed };
    // Looked at last: what goes to the broker from here on is waited for.
    if under_way.is_void() {
        return WriteOutcome::Failed;
    }
    match values.set(&key, json.into(), write.ttl).await {
        Ok(()) => WriteOutcome::Stored,
        Err(_) => WriteOutcome::Failed,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use bytes::Bytes;
    use tokio::sync::Notify;

    use super::*;
    use crate::{broker::Answer, hub::users::user_writes::UserWrites};

    /// A store that answers a read when it is told to.
    #[derive(Default)]
    struct SlowStore {
        asked: Notify,
        go_on: Notify,
        written: Mutex<Vec<String>>,
    }

    impl KeyValue for SlowStore {
        fn set<'a>(&'a self, name: &'a str, _: Bytes, _: Duration) -> Answer<'a, ()> {
            self.written.lock().unwrap().push(name.to_owned());
            Box::pin(async { Ok(()) })
        }

        fn get<'a>(&'a self, _: &'a str) -> Answer<'a, Option<Bytes>> {
            Box::pin(async {
                self.asked.notify_one();
                self.go_on.notified().await;
                Ok(None)
            })
        }

        fn take<'a>(&'a self, _: &'a str) -> Answer<'a, Option<Bytes>> {
            Box::pin(async { Ok(None) })
        }

        fn claim<'a>(&'a self, _: &'a str, _: Bytes, _: Duration) -> Answer<'a, Option<Bytes>> {
            Box::pin(async { Ok(None) })
        }
    }

    #[tokio::test]
    async fn a_closing_connection_writes_no_record_of_a_user_that_was_erased_meanwhile() {
        for is_erased in [false, true] {
            let (values, writes) = (SlowStore::default(), Arc::new(UserWrites::default()));
            let value = RecordValue {
                sid: "s".into(),
                namespace: "/".into(),
                user: Some("ann".into()),
                owner: "pod:1".into(),
                rooms: Vec::new(),
                entering: false,
                left: Vec::new(),
                last: None,
            };
            let (ttl, patience) = (Duration::from_secs(60), Duration::from_secs(60));
            let pid = "0123456789abcdefghij".into();
            let write = RecordWrite { pid, value, ttl, claims: false, patience };
            let under_way = writes.begin(write.value.user.as_deref());
            let erase = async {
                values.asked.notified().await;
                if is_erased {
                    assert!(writes.make_void("ann"), "it is waited for");
                }
                values.go_on.notify_one();
            };
            let (outcome, ()) = tokio::join!(store(&values, &write, &under_way), erase);
            let expected = if is_erased { WriteOutcome::Failed } else { WriteOutcome::Stored };
            assert_eq!(outcome, expected);
            assert_eq!(values.written.lock().unwrap().len(), usize::from(!is_erased));
        }
    }
}
