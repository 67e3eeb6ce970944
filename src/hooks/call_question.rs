//! What a client asks of the backend itself, as the body of a call.
//!
//! Always holds: a call that its client did not name (`idempotency_key`) is sent once, because the backend could not know it again.

use serde::Serialize;

use super::question::{HookQuestion, asker};
use crate::{
    auth::Grant,
    model::{DataFields, IdempotencyKey, MethodCall},
};

/// What a client asks for.
pub struct CallQuestion<'a> {
    /// Its connection, where it has a name.
    pub connection: Option<&'a str>,
    /// What its token says, or said the backend.
    pub grant: &'a Grant,
    /// What carries it.
    pub transport: &'static str,
    /// What it speaks.
    pub dialect: &'a str,
    /// What it asks for.
    pub call: &'a MethodCall,
}

impl From<CallQuestion<'_>> for HookQuestion {
    fn from(question: CallQuestion<'_>) -> Self {
        #[derive(Serialize)]
        struct Ask<'a> {
            method: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            idempotency_key: Option<&'a str>,
            #[serde(flatten)]
            data: DataFields<'a>,
        }

        let CallQuestion { connection, grant, transport, dialect, call } = question;
        let idempotency_key = call.idempotency_key.as_ref().map(IdempotencyKey::text);
        let ask = Ask { method: &call.method, idempotency_key, data: call.data.as_ref().into() };
        let asker = asker("rpc", connection, grant, None, transport, dialect);
        Self { repeats: idempotency_key.is_some(), ..Self::new(&ask, &asker) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json, value::RawValue};

    use super::*;
    use crate::model::Payload;

    fn asked(call: &MethodCall) -> (Value, bool, String) {
        let (connection, transport, dialect) = (Some("c1"), "websocket", "native");
        let question =
            HookQuestion::from(CallQuestion { connection, grant: &Grant::default(), transport, dialect, call });
        let text = String::from_utf8(question.body.to_vec()).unwrap();
        (serde_json::from_str(&text).unwrap(), question.repeats, text)
    }

    #[test]
    fn a_call_is_told_as_its_client_wrote_it() {
        let data = Payload::Json(RawValue::from_string(r#"{ "n": 1.0 }"#.to_owned()).unwrap());
        let key = Some(IdempotencyKey::of_client("once".into()));
        let mut call = MethodCall { method: "poll.close".into(), data: Some(data), idempotency_key: key };
        let (body, repeats, text) = asked(&call);
        let expected = json!({"hook": "rpc", "connection": "c1", "transport": "websocket", "dialect": "native",
            "method": "poll.close", "idempotency_key": "once", "data": {"n": 1.0}});
        assert_eq!((body, repeats), (expected, true));
        assert!(text.contains(r#""data":{ "n": 1.0 }"#), "{text}");
        call = MethodCall { data: Some(Payload::Binary(vec![1, 2].into())), idempotency_key: None, ..call };
        let (body, repeats, _) = asked(&call);
        assert_eq!((&body["data64"], body.get("data"), repeats), (&json!("AQI="), None, false));
        call.data = None;
        assert!(asked(&call).0.get("data").is_none(), "nothing is not null");
    }
}
