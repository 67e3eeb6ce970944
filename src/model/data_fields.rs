//! Owns how an event's data is spelled as a part of a JSON object: `data`, or `data64` for bytes. API, hooks and pages of messages
//! flatten it into theirs; frames of the native protocol are written elsewhere, once for all receivers. It never rebuilds JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Payload;

/// `data` as its publisher wrote it, `data64` (base64, RFC 4648 section 4), or neither.
#[derive(Debug, Serialize)]
pub struct DataFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data64: Option<String>,
}

impl<'a> From<Option<&'a Payload>> for DataFields<'a> {
    fn from(payload: Option<&'a Payload>) -> Self {
        match payload {
            Some(Payload::Json(data)) => Self { data: Some(data), data64: None },
            Some(Payload::Binary(bytes)) => Self { data: None, data64: Some(STANDARD.encode(bytes)) },
            None => Self { data: None, data64: None },
        }
    }
}

impl<'a> From<&'a Payload> for DataFields<'a> {
    fn from(payload: &'a Payload) -> Self {
        Self::from(Some(payload))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Told<'a> {
        topic: &'a str,
        #[serde(flatten)]
        data: DataFields<'a>,
        time: u64,
    }

    #[test]
    fn data_stays_as_it_was_written_and_where_it_stood() {
        let told = |payload: Option<&Payload>| {
            serde_json::to_string(&Told { topic: "a", data: payload.into(), time: 1 }).unwrap()
        };
        let json = Payload::Json(RawValue::from_string(r#"{ "n": 1.0 }"#.to_owned()).unwrap());
        assert_eq!(told(Some(&json)), r#"{"topic":"a","data":{ "n": 1.0 },"time":1}"#);
        assert_eq!(told(Some(&Payload::Binary(vec![1, 2].into()))), r#"{"topic":"a","data64":"AQI=","time":1}"#);
        assert_eq!(told(None), r#"{"topic":"a","time":1}"#);
    }
}
