//! `GET /messages`: what a room's archive has, page by page, for clients that may join the room.
//!
//! The same judge as for polls decides about origin, token and room. Always holds: without an archive there is no such path; a page is as
//! its [`MessagePage`] says: no silent hole, and nothing before which something may still come.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::{
    authorize::{Admitted, Asks, authorize},
    cross_origin::{Methods, headers_for},
    fetching::Origin,
    refusal::{Refused, by_code, come_back, refuse, refused},
};
use crate::{
    archive::{Archive, ArchiveError, ArchivedMessage, MessageCursor, MessagePage, MessageStatus, PageQuery},
    hub::{Principal, Seat, Sender, Worker, millis},
    model::{ArchiveMode, DataFields, ErrorCode, Room},
    protocol::DialectId,
};

/// Where pages are.
pub(super) const PATH: &str = "/messages";

/// The messages of a page: as many as are asked for, this many at most, and this many where it is not said.
const MOST: usize = 200;
const USUAL: usize = 50;

/// What carries them, as the backend and the metrics know it.
const TRANSPORT: &str = "messages";

/// Answers a request; `None`: there is no archive, and so no such path.
pub(super) async fn answer<T>(
    worker: &Rc<RefCell<Worker>>,
    request: &Request<T>,
    from: Origin,
) -> Option<Response<Full<Bytes>>> {
    let services = Arc::clone(&worker.borrow().services);
    let archive = services.archive.as_ref()?;
    let mut headers = match headers_for(worker, request, DialectId::NATIVE, &Methods::READS, archive.pages()) {
        Ok(headers) => headers,
        Err(answer) => return Some(*answer),
    };
    // The next request comes over another connection, which a balancer sends to another pod.
    if services.gate.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(match read(worker, archive, request, from).await {
        Ok(body) => {
            let mut response = Response::new(Full::from(body));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => refuse(&services, DialectId::NATIVE, *refusal, headers),
    })
}

async fn read<T>(
    worker: &Rc<RefCell<Worker>>,
    archive: &Archive,
    request: &Request<T>,
    from: Origin,
) -> Result<Vec<u8>, Refused> {
    let (services, limits) = {
        let this = worker.borrow();
        (Arc::clone(&this.services), this.session_limits())
    };
    let counted = archive.pages();
    let asked = Asked::read(request.uri().query()).inspect_err(|_| counted.malformed.increment(1))?;
    let dialect = services.dialects.name(DialectId::NATIVE);
    let asks = Asks { from: from.address, transport: TRANSPORT, dialect, takes_tokens: false, later: false };
    let Admitted { grant, .. } = authorize(worker, request, asks, counted).await?;
    let grant = grant.ok_or_else(|| {
        counted.token.increment(1);
        refused(StatusCode::UNAUTHORIZED, "a token is required here, and the request has none")
    })?;
    let policy = services.policy(&asked.room);
    if !grant.may_join(&asked.room, policy.join) {
        counted.token.increment(1);
        return Err(refused(StatusCode::FORBIDDEN, &format!("this connection may not join {}", asked.room)));
    }
    let address = from.address.map(|from| from.ip());
    let _seat = Seat::take(&services, address, counted)
        .map_err(|full| come_back(refused(StatusCode::SERVICE_UNAVAILABLE, &full.to_string())))?;
    let principal = Principal { connection: None, grant, transport: TRANSPORT, dialect: Arc::clone(dialect) };
    let sender = Sender::of(principal.grant.user(), address);
    if !services.senders.may_read(sender, &limits, millis(services.began.elapsed())) {
        return Err(by_code(ErrorCode::RateLimited, "too many requests: wait a moment"));
    }
    if policy.archive == ArchiveMode::Off {
        counted.malformed.increment(1);
        return Err(refused(StatusCode::BAD_REQUEST, &format!("{} is not archived", asked.room)));
    }
    if policy.subscribe_hook {
        services.may_join(&principal, &asked.room).await.map_err(|(code, message)| {
            counted.hook.increment(1);
            by_code(code, &message)
        })?;
    }
    let user = principal.grant.user().map(|user| &**user);
    let query = PageQuery { before: asked.before, after: asked.after, limit: asked.limit, user };
    let page = archive
        .page(&asked.room, &query)
        .await
        .map_err(|_| come_back(refused(StatusCode::SERVICE_UNAVAILABLE, ArchiveError::TOLD)))?;
    counted.accepted.increment(1);
    Ok(body(&asked.room, &page))
}

/// What a request asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    room: Room,
    before: Option<MessageCursor>,
    after: Option<MessageCursor>,
    limit: usize,
}

impl Asked {
    fn read(query: Option<&str>) -> Result<Self, Refused> {
        let (mut room, mut before, mut after, mut limit) = (None, None, None, None);
        let once =
            |is_new: bool, name: &str| if is_new { Ok(()) } else { Err(bad(&format!("`{name}` is given twice"))) };
        let cursor = |text: &str, name: &str| {
            MessageCursor::parse(text).ok_or_else(|| bad(&format!("`{name}` is not a cursor of an answer from here")))
        };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "room" => {
                    let named = Room::parse(&value).map_err(|error| bad(&error.to_string()))?;
                    once(room.replace(named).is_none(), "room")?;
                }
                "before" => once(before.replace(cursor(&value, "before")?).is_none(), "before")?,
                "after" => once(after.replace(cursor(&value, "after")?).is_none(), "after")?,
                "limit" => {
                    let number = value.parse::<usize>().ok().filter(|number| (1..=MOST).contains(number));
                    let number = number.ok_or_else(|| bad(&format!("`limit` is a number from 1 to {MOST}")))?;
                    once(limit.replace(number).is_none(), "limit")?;
                }
                // `authorize` judges it.
                "token" => {}
                _ => {
                    let shown: String = name.chars().take(80).collect();
                    let takes = "this takes `room`, `before` or `after`, `limit` and `token`";
                    return Err(bad(&format!("there is no parameter {shown:?}; {takes}")));
                }
            }
        }
        if before.is_some() && after.is_some() {
            return Err(bad("`before` and `after` are two pages: ask for one of them"));
        }
        let room = room.ok_or_else(|| bad("no room is asked for: ?room=chat:1"))?;
        Ok(Self { room, before, after, limit: limit.unwrap_or(USUAL) })
    }
}

fn bad(message: &str) -> Refused {
    refused(StatusCode::BAD_REQUEST, message)
}

/// A message of the answer: as an event of the native protocol, and what the archive knows beside.
#[derive(Serialize)]
struct Told<'a> {
    epoch: &'a str,
    offset: u64,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(flatten)]
    data: DataFields<'a>,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<MessageStatus>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    erased: bool,
}

impl<'a> From<&'a ArchivedMessage> for Told<'a> {
    fn from(message: &'a ArchivedMessage) -> Self {
        Self {
            epoch: message.position.epoch.as_str(),
            offset: message.position.offset,
            topic: &message.topic,
            key: message.key.as_deref(),
            data: message.payload.as_ref().into(),
            time: message.time,
            user: message.user.as_deref(),
            id: message.id.as_deref(),
            status: message.status,
            erased: message.payload.is_none(),
        }
    }
}

fn body(room: &Room, page: &MessagePage) -> Vec<u8> {
    #[derive(Serialize)]
    struct Missing<'a> {
        epoch: &'a str,
        from: u64,
        to: u64,
    }
    #[derive(Serialize)]
    struct Body<'a> {
        room: &'a Room,
        messages: Vec<Told<'a>>,
        missing: Vec<Missing<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    }
    let missing = page.missing.iter().map(|gap| Missing { epoch: gap.epoch.as_str(), from: gap.from, to: gap.to });
    let body = Body {
        room,
        messages: page.messages.iter().map(Told::from).collect(),
        missing: missing.collect(),
        before: page.before.map(|cursor| cursor.to_string()),
        after: page.after.map(|cursor| cursor.to_string()),
    };
    // Texts, numbers and JSON that was read as such: nothing in it can fail.
    serde_json::to_vec(&body).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_a_room_and_one_page() {
        let read = |query: &str| Asked::read(Some(query)).map_err(|refusal| refusal.into_body());
        let asked = read("room=chat%3A1&before=2-17&limit=5&token=x").unwrap();
        assert_eq!((asked.room.as_str(), asked.before, asked.limit), ("chat:1", MessageCursor::parse("2-17"), 5));
        assert_eq!(read("room=a").unwrap().limit, USUAL);
        for (query, complaint) in [
            ("", "no room is asked for"),
            ("room=a&room=b", "`room` is given twice"),
            ("room=a%20b", "must not contain"),
            ("room=a&limit=0", "`limit` is a number from 1 to 200"),
            ("room=a&limit=201", "`limit` is a number from 1 to 200"),
            ("room=a&before=7", "`before` is not a cursor"),
            ("room=a&before=1-7&after=1-9", "two pages"),
            ("room=a&since=e:1", "there is no parameter \"since\""),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.contains(complaint), "{query}: {error}");
        }
    }
}
