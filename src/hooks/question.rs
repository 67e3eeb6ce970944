//! What a backend is asked, as JSON. Pure.
//!
//! Always holds: a token is in a question only where the configuration says so; two questions are the same if everything
//! in them is but the connection and its address.

use std::{fmt, net::IpAddr, sync::Arc};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::value::RawValue;

use super::cache::Key;
use crate::{
    auth::Grant,
    config::HookSettings,
    model::{DataFields, IdempotencyKey, Publication, Room, Token},
};

/// What holds a token in every query; `token_lookup.query` may name another, which its value gives away.
const TOKEN: &str = "token";

/// Something to be asked.
pub struct HookQuestion {
    pub(super) key: Key,
    /// The user that it is asked about, if one is known.
    pub(super) user: Option<Arc<str>>,
    pub(super) body: Bytes,
    /// Whether it may be asked again after it may have come to the backend.
    pub(super) repeats: bool,
}

impl HookQuestion {
    /// `ask`, with the principal that it is about.
    pub(super) fn new<T: Serialize>(ask: &T, asker: &Principal<'_>) -> Self {
        #[derive(Serialize)]
        struct Whole<'a, T> {
            #[serde(flatten)]
            asker: &'a Principal<'a>,
            #[serde(flatten)]
            ask: &'a T,
        }

        // What is serialized has text for names and nothing that could fail.
        let json = |asker: &Principal<'_>| serde_json::to_vec(&Whole { asker, ask }).unwrap_or_default();
        let body = json(asker);
        let same = json(&Principal { connection: None, address: None, ..*asker });
        let mut key = Key::default();
        key.copy_from_slice(digest::digest(&digest::SHA256, &same).as_ref());
        Self { key, user: asker.user.map(Into::into), body: body.into(), repeats: true }
    }
}

/// The connection that a question is about.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Principal<'a> {
    hook: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a RawValue>,
    transport: &'static str,
    dialect: &'a str,
}

/// What is told of a client's request: kept for as long as its connection may be asked about again.
pub struct ClientRequest {
    path: Box<str>,
    query: Vec<(Box<str>, Box<str>)>,
    headers: Vec<(Box<str>, Box<str>)>,
    address: Option<IpAddr>,
    transport: &'static str,
    dialect: Box<str>,
    token: Option<Token>,
}

/// Hides headers and query, in which secrets may stand.
impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest").field("path", &self.path).finish_non_exhaustive()
    }
}

impl ClientRequest {
    /// What `settings` let the backend know of a request. `token`: the one that it presented, if it is told.
    #[must_use]
    pub fn new(
        settings: &HookSettings,
        target: &Uri,
        headers: &HeaderMap,
        address: Option<IpAddr>,
        transport: &'static str,
        dialect: &str,
        token: Option<&Token>,
    ) -> Self {
        let mut query: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(target.query().unwrap_or_default().as_bytes()) {
            let is_token = name == TOKEN || token.is_some_and(|token| *token.reveal() == *value);
            if !is_token && query.iter().all(|(known, _)| **known != *name) {
                query.push((name.into(), value.into()));
            }
        }
        let headers = settings.headers.iter().filter_map(|name| {
            let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
            // RFC 9110 section 5.3; cookies are put together otherwise (RFC 9113 section 8.2.3).
            let between = if name == http::header::COOKIE { "; " } else { ", " };
            (!values.is_empty()).then(|| (name.as_str().into(), values.join(between).into()))
        });
        Self {
            path: target.path().into(),
            query,
            headers: headers.collect(),
            address,
            transport,
            dialect: dialect.into(),
            token: token.filter(|_| settings.token).cloned(),
        }
    }
}

/// May this client connect?
pub struct ConnectQuestion<'a> {
    /// Its connection, where it has a name already.
    pub connection: Option<&'a str>,
    /// What its token says, if it is verified.
    pub grant: &'a Grant,
    /// Its request.
    pub client_request: &'a ClientRequest,
    /// The token that came later than the request, where it may be told.
    pub token: Option<&'a Token>,
    /// The namespace that a Socket.IO client connects to, and what it says of itself there: a JSON object.
    pub namespace: Option<(&'a str, &'a str)>,
    /// It is here already, and presents another token.
    pub refresh: bool,
}

impl From<ConnectQuestion<'_>> for HookQuestion {
    fn from(question: ConnectQuestion<'_>) -> Self {
        #[derive(Serialize)]
        struct Ask<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            token: Option<&'a str>,
            path: &'a str,
            #[serde(serialize_with = "map")]
            query: &'a [(Box<str>, Box<str>)],
            #[serde(serialize_with = "map")]
            headers: &'a [(Box<str>, Box<str>)],
            #[serde(skip_serializing_if = "Option::is_none")]
            namespace: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            auth: Option<serde_json::Value>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            refresh: bool,
        }

        let ConnectQuestion { connection, grant, client_request, token, namespace, refresh } = question;
        let asker = asker(
            "connect",
            connection,
            grant,
            client_request.address,
            client_request.transport,
            &client_request.dialect,
        );
        let auth = namespace.and_then(|(_, auth)| {
            let mut auth: serde_json::Value = serde_json::from_str(auth).ok()?;
            // A token is told as one or not at all; the others are the pod's own, and new each time.
            ["token", "pid", "offset"].iter().for_each(|own| {
                auth.as_object_mut().and_then(|fields| fields.remove(*own));
            });
            Some(auth)
        });
        let ask = Ask {
            token: token.or(client_request.token.as_ref()).map(Token::reveal),
            path: &client_request.path,
            query: &client_request.query,
            headers: &client_request.headers,
            namespace: namespace.map(|(name, _)| name),
            auth,
            refresh,
        };
        Self::new(&ask, &asker)
    }
}

/// May this connection join a room, or publish this there?
pub struct RoomQuestion<'a> {
    /// The connection, where it has a name.
    pub connection: Option<&'a str>,
    /// What its token says, or said the backend.
    pub grant: &'a Grant,
    /// What carries it.
    pub transport: &'static str,
    /// What it speaks.
    pub dialect: &'a str,
    /// The room.
    pub room: &'a Room,
    /// The event that it would publish; `None`: it would join.
    pub publication: Option<&'a Publication>,
}

impl From<RoomQuestion<'_>> for HookQuestion {
    fn from(question: RoomQuestion<'_>) -> Self {
        #[derive(Serialize)]
        struct Ask<'a> {
            room: &'a str,
            #[serde(flatten)]
            event: Option<AskedEvent<'a>>,
        }

        #[derive(Serialize)]
        struct AskedEvent<'a> {
            topic: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            key: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            idempotency_key: Option<&'a str>,
            #[serde(flatten)]
            data: DataFields<'a>,
        }

        let RoomQuestion { connection, grant, transport, dialect, room, publication } = question;
        let event = publication.map(|publication| AskedEvent {
            topic: &publication.topic,
            key: publication.key.as_deref(),
            id: publication.id.as_deref(),
            idempotency_key: publication.idempotency_key.as_ref().map(IdempotencyKey::text),
            data: (&publication.payload).into(),
        });
        let hook = if event.is_some() { "publish" } else { "subscribe" };
        let asker = asker(hook, connection, grant, None, transport, dialect);
        Self::new(&Ask { room: room.as_str(), event }, &asker)
    }
}

/// The connection that a question is about.
pub(super) fn asker<'a>(
    hook: &'static str,
    connection: Option<&'a str>,
    grant: &'a Grant,
    address: Option<IpAddr>,
    transport: &'static str,
    dialect: &'a str,
) -> Principal<'a> {
    let claims = grant.claims().and_then(|claims| serde_json::from_str(claims.content.as_deref()?).ok());
    Principal { hook, connection, address, user: grant.user().map(|user| &**user), claims, transport, dialect }
}

fn map<S: serde::Serializer>(pairs: &&[(Box<str>, Box<str>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{auth::Claims, model::Payload};

    fn body(question: &HookQuestion) -> Value {
        serde_json::from_slice(&question.body).unwrap()
    }

    fn request(settings: &HookSettings, target: &str, address: [u8; 4]) -> ClientRequest {
        let mut headers = HeaderMap::new();
        for (name, value) in [("cookie", "a=1"), ("cookie", "b=2"), ("authorization", "Bearer s3cret"), ("x-own", "7")]
        {
            headers.append(name, value.parse().unwrap());
        }
        let (target, token) = (target.parse().unwrap(), Token::new("s3cret"));
        ClientRequest::new(settings, &target, &headers, Some(address.into()), "websocket", "native", Some(&token))
    }

    fn connect(client_request: &ClientRequest) -> HookQuestion {
        let (grant, namespace) = (Grant::default(), None);
        ConnectQuestion { connection: None, grant: &grant, client_request, token: None, namespace, refresh: false }
            .into()
    }

    #[test]
    fn a_token_is_told_only_where_the_configuration_says_so() {
        let mut settings = HookSettings { headers: vec![http::header::COOKIE], ..HookSettings::default() };
        let quiet = connect(&request(&settings, "/ws?room=1&room=2&token=s3cret&channel_token=s3cret", [10, 0, 0, 1]));
        let expected = json!({"hook": "connect", "address": "10.0.0.1", "transport": "websocket", "dialect": "native",
            "path": "/ws", "query": {"room": "1"}, "headers": {"cookie": "a=1; b=2"}});
        assert_eq!(body(&quiet), expected);
        settings.token = true;
        let client_request = request(&settings, "/ws", [10, 0, 0, 1]);
        assert_eq!(body(&connect(&client_request))["token"], "s3cret");
        assert!(!format!("{client_request:?}").contains("s3cret") && !format!("{client_request:?}").contains("a=1"));
    }

    #[test]
    fn questions_are_the_same_whoever_asks_from_wherever() {
        let settings = HookSettings::default();
        let ask = |target, last| connect(&request(&settings, target, [10, 0, 0, last])).key;
        assert_eq!(ask("/ws", 1), ask("/ws", 2));
        assert_ne!(ask("/ws", 1), ask("/other", 1));
        let claims = |user: &str, content: &str| {
            let user = Some(user.into());
            let (rooms, given) = (Vec::new(), Vec::new());
            Grant::verified(Claims {
                user,
                expires_at: None,
                rooms,
                personal_room: None,
                given,
                methods: Vec::new(),
                receipts: true,
                content: Some(content.into()),
            })
        };
        let room = Room::parse("chat:1").unwrap();
        let subscribe = |connection, grant: &Grant| {
            let (transport, dialect, room) = ("websocket", "native", &room);
            let (connection, publication) = (Some(connection), None);
            HookQuestion::from(RoomQuestion { connection, grant, transport, dialect, room, publication })
        };
        let ann = claims("ann", r#"{"sub":"ann","role":"host"}"#);
        let first = subscribe("c1", &ann);
        assert_eq!(body(&first)["claims"]["role"], "host");
        assert_eq!((body(&first)["connection"].clone(), body(&first)["user"].clone()), (json!("c1"), json!("ann")));
        assert_eq!(first.key, subscribe("c2", &ann).key);
        assert_ne!(first.key, subscribe("c1", &claims("bob", "{}")).key);
        assert_ne!(first.key, subscribe("c1", &claims("ann", "{}")).key);
        assert_ne!(first.key, subscribe("c1", &Grant::default()).key);
    }

    #[test]
    fn what_is_published_is_asked_as_it_is() {
        let data = RawValue::from_string(r#"{ "n": 1.0 }"#.to_owned()).unwrap();
        let mut publication = Publication {
            topic: "t".into(),
            key: Some("k".into()),
            payload: Payload::Json(data),
            user: None,
            id: Some("i".into()),
            idempotency_key: Some(IdempotencyKey::of_client("once".into())),
        };
        let (room, grant) = (Room::parse("chat:1").unwrap(), Grant::default());
        let ask = |publication: &Publication| {
            let (connection, transport, dialect, publication) = (None, "websocket", "native", Some(publication));
            HookQuestion::from(RoomQuestion { connection, grant: &grant, transport, dialect, room: &room, publication })
        };
        assert!(std::str::from_utf8(&ask(&publication).body).unwrap().contains(r#""data":{ "n": 1.0 }"#));
        let asked = body(&ask(&publication));
        assert_eq!((asked["id"].as_str(), asked["idempotency_key"].as_str()), (Some("i"), Some("once")));
        publication.payload = Payload::Binary(vec![1, 2].into());
        assert_eq!(body(&ask(&publication))["data64"], "AQI=");
    }

    #[test]
    fn a_socketio_clients_own_words_are_told_without_its_token() {
        let (client_request, grant) =
            (request(&HookSettings::default(), "/socket.io/", [1, 1, 1, 1]), Grant::default());
        let namespace = Some(("/chat", r#"{"token":"s3cret","pid":"p","offset":"o","name":"Ann"}"#));
        let (connection, token) = (Some("c"), None);
        let question = ConnectQuestion {
            connection,
            grant: &grant,
            client_request: &client_request,
            token,
            namespace,
            refresh: false,
        }
        .into();
        let body = body(&question);
        assert_eq!((&body["namespace"], &body["auth"]), (&json!("/chat"), &json!({"name": "Ann"})));
    }
}
