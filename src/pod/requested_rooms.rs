//! The rooms that a poll or an event stream asks for, and where its client stands in each.
//!
//! Reads the query and one header, no more. Always holds: the next request, which names the rooms again beside a cursor, fits into a
//! request's head.

use http::{HeaderMap, StatusCode};

use super::refusal::{Refused, refused};
use crate::{
    auth::Grant,
    model::{Cursor, Room, Since, SubscribeTo},
    protocol::PollParameters,
};

/// What a browser's EventSource brings along when it comes back (HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

/// What the next request's head holds besides its rooms and where the client stands in them: its other headers.
const OTHER_HEADERS: usize = 2 * 1024;

/// The longest epochs: of the embedded broker, and of Redis, whose epochs hold the server's replication id.
pub(super) const EPOCH: usize = 24;
pub(super) const REDIS_EPOCH: usize = 64;

/// What a request asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RequestedRooms {
    rooms: Vec<SubscribeTo>,
    cursor: Cursor,
    /// The bytes of the parameter's name that names a room.
    name_bytes: usize,
}

impl RequestedRooms {
    /// Reads the query, with these names of its parameters. `since` is of the `room` before it; `cursor`, or the header that a browser's
    /// EventSource sends when it comes back, is newer than what stands in the query.
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap, names: &PollParameters) -> Result<Self, Refused> {
        let mut asked = Self { name_bytes: names.room.len(), ..Self::default() };
        let mut cursor = None;
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                name if *name == *names.cursor => {
                    if cursor.is_some() {
                        return Err(bad(format!("`{name}` is given twice")));
                    }
                    cursor = Some(value.into_owned());
                }
                name if *name == *names.room => {
                    let room = Room::parse(&value).map_err(|error| bad(error.to_string()))?;
                    if asked.rooms.iter().any(|other| other.room == room) {
                        return Err(bad(format!("the room {room} is asked for twice")));
                    }
                    asked.rooms.push(SubscribeTo { room, since: None, spelling: 0 });
                }
                "since" if names.no_others => {
                    let since = Since::parse(&value).map_err(|error| bad(error.to_string()))?;
                    match asked.rooms.last_mut() {
                        Some(SubscribeTo { since: none @ None, .. }) => *none = Some(since),
                        _ => return Err(bad("each `since` belongs behind its `room`: ?room=a&since=…&room=b".into())),
                    }
                }
                // `authorize` judges it.
                "token" => {}
                // The dialect knows what it means.
                _ if !names.no_others => {}
                _ => {
                    let shown: String = name.chars().take(80).collect();
                    let takes = "this takes `room`, `since`, `cursor` and `token`";
                    return Err(bad(format!("there is no parameter {shown:?}; {takes}")));
                }
            }
        }
        match headers.get(LAST_EVENT_ID).map(|value| value.to_str()) {
            None | Some(Ok("")) => {}
            Some(Ok(text)) => cursor = Some(text.to_owned()),
            Some(Err(_)) => return Err(bad("Last-Event-ID is none of this server's: it is not ASCII".to_owned())),
        }
        asked.cursor = Cursor::parse(&cursor.unwrap_or_default()).map_err(|error| bad(format!("cursor: {error}")))?;
        Ok(asked)
    }

    /// Checks that there are not too many rooms for a connection, and none too many for the next request: it names them again,
    /// with a cursor, in one head.
    pub(super) fn bounded(self, max_rooms: usize, max_head: usize, epoch: usize) -> Result<Self, Refused> {
        if self.rooms.len() > max_rooms {
            return Err(too_much(format!("at most {max_rooms} rooms in one request")));
        }
        let name = self.name_bytes;
        let next: usize = self.rooms.iter().map(|asked| next_bytes(name, &asked.room, epoch)).sum();
        if next + OTHER_HEADERS > max_head {
            let message = "so many rooms, or rooms of such long names, are too much for one request: use a WebSocket";
            return Err(too_much(message.to_owned()));
        }
        Ok(self)
    }

    /// The rooms to enter: those asked for, the user's own and those that its dialect names, each from where the client stands.
    pub(super) fn rooms_of(mut self, grant: &Grant, of_dialect: Vec<SubscribeTo>) -> Result<Vec<SubscribeTo>, Refused> {
        let own = grant.claims().and_then(|claims| claims.personal_room.clone());
        let own = own.map(|room| SubscribeTo { room, since: None, spelling: 0 });
        for unasked in of_dialect.into_iter().chain(own) {
            if self.rooms.iter().all(|asked| asked.room != unasked.room) {
                self.rooms.push(unasked);
            }
        }
        if self.rooms.is_empty() {
            return Err(bad("no room is asked for: ?room=trip:123".to_owned()));
        }
        for asked in &mut self.rooms {
            if let Some(position) = self.cursor.of(&asked.room) {
                asked.since = Some(Since { epoch: position.epoch.clone(), offset: position.offset });
            }
        }
        Ok(self.rooms)
    }
}

/// The most bytes that a room takes in the next request: `room=NAME&`, and its position in the cursor, which is a form in a form.
fn next_bytes(parameter: usize, room: &Room, epoch: usize) -> usize {
    let name: usize = form_urlencoded::byte_serialize(room.as_str().as_bytes()).map(str::len).sum();
    let escapes =
        form_urlencoded::byte_serialize(room.as_str().as_bytes()).filter(|part| part.starts_with('%')).count();
    // `=`, `:` and `&` are three bytes each in there, as is each `%` of the name. An offset has 16 digits at most.
    parameter + "=&".len() + 2 * name + 2 * escapes + 3 * 3 + epoch + 16
}

fn bad(message: String) -> Refused {
    refused(StatusCode::BAD_REQUEST, &message)
}

fn too_much(message: String) -> Refused {
    refused(StatusCode::PAYLOAD_TOO_LARGE, &message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(query: &str, last: Option<&str>) -> Result<RequestedRooms, String> {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_bytes(last.as_bytes()).unwrap());
        }
        let query = (!query.is_empty()).then_some(query);
        let asked = RequestedRooms::read(query, &headers, &PollParameters::default())
            .and_then(|asked| asked.bounded(128, 16 * 1024, EPOCH));
        asked.map_err(|refusal| refusal.into_body())
    }

    fn rooms(query: &str, last: Option<&str>) -> Vec<(String, Option<u64>)> {
        let rooms = read(query, last).unwrap().rooms_of(&Grant::default(), Vec::new()).unwrap();
        rooms.into_iter().map(|asked| (asked.room.to_string(), asked.since.map(|since| since.offset))).collect()
    }

    #[test]
    fn rooms_and_positions_are_read() {
        assert_eq!(
            rooms("room=a&since=e:4&room=b%3A1&token=x&room=c&since=f:0", None),
            [("a".into(), Some(4)), ("b:1".into(), None), ("c".into(), Some(0))]
        );
        assert_eq!(rooms("room=a&since=e:4&cursor=a%3De:7%26z%3De:1", None), [("a".into(), Some(7))]);
        assert_eq!(rooms("room=a&cursor=a%3De:7", Some("a=e:9")), [("a".into(), Some(9))], "a browser keeps its URL");
        assert_eq!(rooms("room=a&since=e:4", Some("")), [("a".into(), Some(4))]);
        assert!(read("", None).unwrap().rooms_of(&Grant::default(), Vec::new()).is_err());
    }

    #[test]
    fn as_many_rooms_as_a_connection_may_have_fit_into_a_poll() {
        for query in [
            (0..128).map(|n| format!("&room=r:{n:03}")).collect::<String>(),
            (0..128).map(|n| format!("&room=trip:{n:011}")).collect(),
        ] {
            let asked = read(&query, None).unwrap();
            let mut cursor = Cursor::default();
            for SubscribeTo { room, .. } in &asked.rooms {
                cursor.set(
                    room,
                    crate::model::Position::new(crate::model::Epoch::new(&"e".repeat(EPOCH)), crate::model::MAX_OFFSET),
                );
            }
            let next: String = form_urlencoded::byte_serialize(cursor.to_string().as_bytes()).collect();
            let most: usize = asked.rooms.iter().map(|asked| next_bytes(4, &asked.room, EPOCH)).sum();
            let names: usize = asked.rooms.iter().map(|asked| "room=%3A&".len() + asked.room.as_str().len() - 1).sum();
            assert!(next.len() + names <= most, "{} bytes, {most} were reckoned with", next.len() + names);
        }
    }

    #[test]
    fn a_dialect_has_names_of_its_own_and_rooms() {
        let names = PollParameters { cursor: "last".into(), room: "channel".into(), no_others: false };
        let read = |query| RequestedRooms::read(Some(query), &HeaderMap::new(), &names);
        let asked = read("channel=a&channel=b&since=x&last=a%3De:7%26c%3De:2&other=1").unwrap();
        let own = ["a", "c"].map(|name| SubscribeTo { room: Room::parse(name).unwrap(), since: None, spelling: 1 });
        let rooms = asked.rooms_of(&Grant::default(), own.into()).unwrap();
        let rooms: Vec<_> =
            rooms.iter().map(|to| (to.room.as_str(), to.since.as_ref().map(|s| s.offset), to.spelling)).collect();
        assert_eq!(rooms, [("a", Some(7), 0), ("b", None, 0), ("c", Some(2), 1)]);
        assert!(read("last=&last=").unwrap_err().into_body().contains("`last` is given twice"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let many: String = (0..129).map(|n| format!("&room=r{n}")).collect();
        let long: String = (0..30).map(|n| format!("&room={}{n}", "x".repeat(250))).collect();
        for (query, last, complaint) in [
            ("room=", None, "a room name must not be empty"),
            ("room=a%20b", None, "must not contain ' '"),
            ("room=a&room=a", None, "the room a is asked for twice"),
            ("since=e:1", None, "belongs behind its `room`"),
            ("room=a&since=e:1&since=e:2", None, "belongs behind its `room`"),
            ("room=a&since=4", None, "\"4\" is not a position"),
            ("room=a&cursor=x", None, "cursor: \"\" is not a position"),
            ("room=a&cursor=&cursor=", None, "`cursor` is given twice"),
            ("rooms=a", None, "there is no parameter \"rooms\""),
            ("room=a", Some("17"), "cursor: \"\" is not a position"),
            ("room=a", Some("é"), "not ASCII"),
            (&many, None, "at most 128 rooms"),
            (&long, None, "use a WebSocket"),
        ] {
            let error = read(query, last).unwrap_err();
            assert!(error.contains(complaint), "{query}: {error}");
        }
    }
}
