//! What a message for a chatbot asks for: where it goes, and what is said. Pure.
//!
//! Never shows a token: what it asks for hides it in every `Debug`, and a reason holds nothing of the message.

use std::fmt;

use http::{Uri, uri::Authority};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{config::Origins, model::with_whole_pairs};

/// The longest channel, as Matrix has it for aliases and room IDs.
const MAX_CHANNEL: usize = 255;

/// Why a message is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitMessageError {
    /// It is not what is expected.
    #[error("it is not JSON with a `server`, or with a `config` and a `payload`")]
    Message,
    /// The server is none.
    #[error("its `server` is not a URL of https or http without user and fragment, and for a `channel` without query")]
    Server,
    /// The channel is no room.
    #[error("its `channel` is neither a Matrix alias (`#room:server`) nor a room ID (`!id:server`)")]
    Channel,
    /// There is nothing to say.
    #[error("it says nothing: `payload.html` or `message` is missing or no text")]
    Nothing,
    /// A Matrix room can be written to with a token only.
    #[error("its `access_token` is missing, or could not stand in a header")]
    Token,
    /// The server may not be called.
    #[error("`chatbots.servers` does not name its server")]
    NotAllowed,
}

/// A call's bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Box<str>);

impl AccessToken {
    /// The token itself, to be sent and never shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    /// Into a Matrix room.
    Matrix {
        /// What stands before `/_matrix`.
        base: String,
        /// By what the server knows the bot.
        token: AccessToken,
        /// An alias, or a room's ID.
        room: String,
        /// The content of `m.room.message`, JSON.
        content: String,
    },
    /// To a webhook.
    Webhook {
        /// Its URL.
        url: String,
        /// By what it knows the sender, if it wants to.
        token: Option<AccessToken>,
        /// JSON.
        body: String,
    },
}

#[derive(Deserialize)]
struct Config {
    server: String,
    access_token: Option<String>,
    channel: Option<String>,
}

/// What is said.
enum Said<'a> {
    Test(&'a str),
    Payload(&'a RawValue),
}

impl Send {
    /// Reads a message: `{server, access_token, channel, message}`, or `{config: {server, access_token, channel}, payload}`. With a
    /// channel it goes into that Matrix room, without one to the webhook that `server` is.
    ///
    /// # Errors
    /// [`UnfitMessageError`].
    pub fn parse(message: &[u8], servers: &Origins) -> Result<Self, UnfitMessageError> {
        #[derive(Deserialize)]
        struct Either<'a> {
            #[serde(borrow)]
            config: Option<&'a RawValue>,
            #[serde(borrow)]
            payload: Option<&'a RawValue>,
            message: Option<String>,
        }
        // What no text can say is U+FFFD, as in events.
        let message = String::from_utf8_lossy(message);
        let message = &*with_whole_pairs(&message);
        let either: Either<'_> = serde_json::from_str(message).map_err(|_| UnfitMessageError::Message)?;
        let config = either.config.map_or(message, RawValue::get);
        let Config { server, access_token, channel } =
            serde_json::from_str(config).map_err(|_| UnfitMessageError::Message)?;
        let said = match (&either.config, &either.payload, &either.message) {
            (Some(_), Some(payload), _) => Said::Payload(payload),
            (None, _, Some(message)) if !message.is_empty() => Said::Test(message),
            _ => return Err(UnfitMessageError::Nothing),
        };
        let (origin, url) = address(&server)?;
        if !servers.allow(origin.as_bytes()) {
            return Err(UnfitMessageError::NotAllowed);
        }
        let token = access_token.filter(|token| !token.is_empty());
        let fits =
            token.as_ref().is_none_or(|token| token.len() <= 4_096 && token.bytes().all(|b| b.is_ascii_graphic()));
        if !fits {
            return Err(UnfitMessageError::Token);
        }
        let token = token.map(|token| AccessToken(token.into()));
        match channel.filter(|channel| !channel.is_empty()) {
            Some(room) => {
                let known = room.starts_with(['#', '!']) && room.contains(':') && room.len() <= MAX_CHANNEL;
                if !known || room.chars().any(char::is_control) {
                    return Err(UnfitMessageError::Channel);
                }
                if url.contains('?') {
                    return Err(UnfitMessageError::Server);
                }
                let (token, base) = (token.ok_or(UnfitMessageError::Token)?, url.trim_end_matches('/').to_owned());
                Ok(Self::Matrix { base, token, room, content: content(&said)? })
            }
            None => {
                let body = match said {
                    Said::Test(message) => serde_json::json!({ "text": message }).to_string(),
                    Said::Payload(payload) => payload.get().to_owned(),
                };
                Ok(Self::Webhook { url, token, body })
            }
        }
    }

    /// Between which two the order is kept: what goes to one room of one server.
    pub fn place(&self) -> (&str, &str) {
        match self {
            Self::Matrix { base, room, .. } => (base, room),
            Self::Webhook { url, .. } => (url, ""),
        }
    }
}

/// A server's origin, and its URL. Of a webhook the query may be what opens it.
fn address(server: &str) -> Result<(String, String), UnfitMessageError> {
    let uri: Uri = server.parse().map_err(|_| UnfitMessageError::Server)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(UnfitMessageError::Server);
    };
    let authority = Authority::as_str(authority);
    if authority.contains('@') || server.contains('#') {
        return Err(UnfitMessageError::Server);
    }
    let origin = format!("{scheme}://{authority}");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{origin}{}{query}", uri.path());
    Ok((origin, url))
}

/// The content of a Matrix message (`m.room.message`, client-server API r0.6.1, section 13.2.1).
fn content(said: &Said<'_>) -> Result<String, UnfitMessageError> {
    let content = match said {
        Said::Test(message) => serde_json::json!({"msgtype": "m.text", "body": message}),
        Said::Payload(payload) => {
            #[derive(Deserialize)]
            struct Html {
                html: String,
            }
            let Html { html } = serde_json::from_str(payload.get()).map_err(|_| UnfitMessageError::Nothing)?;
            if html.is_empty() {
                return Err(UnfitMessageError::Nothing);
            }
            serde_json::json!({
                "msgtype": "m.text", "body": plain(&html), "format": "org.matrix.custom.html", "formatted_body": html,
            })
        }
    };
    Ok(content.to_string())
}

/// What clients without HTML show: the text between the tags, on lines of its own where blocks end.
fn plain(html: &str) -> String {
    let (mut text, mut rest) = (String::new(), html);
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        // A `<` without an end is text.
        let Some((tag, behind)) = after.split_once('>') else {
            text.push('<');
            rest = after;
            break;
        };
        let name = tag.trim_start_matches('/').split([' ', '/', '\n', '\t']).next().unwrap_or_default();
        let block = matches!(name, "p" | "div" | "br" | "li" | "tr" | "ul" | "ol" | "blockquote" | "pre")
            || (name.len() == 2 && name.starts_with('h'));
        if block && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        rest = behind;
    }
    text.push_str(rest);
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    pairs.iter().fold(text, |text, (entity, plain)| text.replace(entity, plain)).trim().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::OriginPattern;

    fn parse(message: &Value) -> Result<Send, UnfitMessageError> {
        let servers = ["https://matrix.example.com", "https://*.hooks.example.com", "http://127.0.0.1:8008"];
        let servers = Origins::new(servers.iter().map(|text| OriginPattern::parse(text).unwrap()).collect());
        Send::parse(message.to_string().as_bytes(), &servers)
    }

    #[test]
    fn a_message_goes_into_a_room_or_to_a_webhook() {
        let test =
            json!({"server": "https://matrix.example.com/", "access_token": "t", "channel": "#a:b", "message": "hi"});
        let Send::Matrix { base, room, content, token } = parse(&test).unwrap() else { panic!("a room") };
        assert_eq!((base.as_str(), room.as_str(), token.reveal()), ("https://matrix.example.com", "#a:b", "t"));
        assert_eq!(serde_json::from_str::<Value>(&content).unwrap(), json!({"msgtype": "m.text", "body": "hi"}));
        assert!(!format!("{:?}", parse(&test)).contains("\"t\""), "tokens are never shown");
        let html = "<h1>New</h1><p>A &lt;b&gt; &amp; <a href=\"x\">c</a><br/>1 < 2</p>";
        let config = json!({"server": "https://matrix.example.com", "access_token": "t", "channel": "!a:b"});
        let publish = json!({"config": config, "payload": {"html": html}});
        let Send::Matrix { content, .. } = parse(&publish).unwrap() else { panic!("a room") };
        let content: Value = serde_json::from_str(&content).unwrap();
        assert_eq!((&content["formatted_body"], &content["format"]), (&json!(html), &json!("org.matrix.custom.html")));
        assert_eq!(content["body"], json!("New\nA <b> & c\n1"));
        let hook = json!({"config": {"server": "https://a.hooks.example.com/x/y"}, "payload": {"blocks": [1, 2.50]}});
        let Send::Webhook { url, token, body } = parse(&hook).unwrap() else { panic!("a webhook") };
        assert_eq!(
            (url.as_str(), token, body.as_str()),
            ("https://a.hooks.example.com/x/y", None, r#"{"blocks":[1,2.5]}"#)
        );
        let hook = json!({"server": "https://a.hooks.example.com/hook?key=a&sig=b", "message": "hi"});
        let Send::Webhook { url, .. } = parse(&hook).unwrap() else { panic!("a webhook") };
        assert_eq!(url, "https://a.hooks.example.com/hook?key=a&sig=b");
    }

    #[test]
    fn a_text_that_was_cut_is_sent() {
        let servers = Origins::new(vec![OriginPattern::parse("https://matrix.example.com").unwrap()]);
        let head = r##"{"server":"https://matrix.example.com","access_token":"t","channel":"#a:b","message":"hi "##;
        for cut in [&br"\ud83d"[..], b"\xf0\x9f"] {
            let Ok(Send::Matrix { content, .. }) = Send::parse(&[head.as_bytes(), cut, b"\"}"].concat(), &servers)
            else {
                panic!("{cut:?} is unfit")
            };
            assert_eq!(serde_json::from_str::<Value>(&content).unwrap()["body"], json!("hi \u{fffd}"));
        }
    }

    #[test]
    fn only_servers_that_are_named_are_called() {
        for server in [
            "https://matrix.example.com.evil.org",
            "https://evil.org/matrix.example.com",
            "http://matrix.example.com",
            "https://matrix.example.com:8448",
            "https://hooks.example.com",
            "http://127.0.0.1:6379",
            "http://169.254.169.254/latest",
            "http://localhost:8008",
            "https://0x7f000001",
        ] {
            let message = json!({"server": server, "access_token": "t", "channel": "#a:b", "message": "hi"});
            assert_eq!(parse(&message), Err(UnfitMessageError::NotAllowed), "{server}");
        }
        for server in [
            "",
            "matrix.example.com",
            "file:///etc/passwd",
            "https://matrix.example.com@evil.org",
            "https://user:pw@matrix.example.com",
            "https://matrix.example.com?x=",
            "https://matrix.example.com#x",
            "https://matrix.example.com\r\nHost: evil",
        ] {
            let message = json!({"server": server, "access_token": "t", "channel": "#a:b", "message": "hi"});
            assert_eq!(parse(&message), Err(UnfitMessageError::Server), "{server}");
        }
    }

    #[test]
    fn what_has_no_place_or_says_nothing_is_unfit() {
        let server = "https://matrix.example.com";
        for (message, why) in [
            (json!(7), UnfitMessageError::Message),
            (json!({"message": "hi"}), UnfitMessageError::Message),
            (json!({"config": {"server": 7}, "payload": {"html": "a"}}), UnfitMessageError::Message),
            (json!({"server": server, "access_token": "t", "channel": "#a:b"}), UnfitMessageError::Nothing),
            (json!({"config": {"server": server, "access_token": "t", "channel": "#a:b"}}), UnfitMessageError::Nothing),
            (
                json!({"config": {"server": server, "access_token": "t", "channel": "#a:b"}, "payload": {}}),
                UnfitMessageError::Nothing,
            ),
            (
                json!({"server": server, "access_token": "t", "channel": "general", "message": "hi"}),
                UnfitMessageError::Channel,
            ),
            (
                json!({"server": server, "access_token": "t", "channel": "#a\u{7}:b", "message": "hi"}),
                UnfitMessageError::Channel,
            ),
            (json!({"server": server, "channel": "#a:b", "message": "hi"}), UnfitMessageError::Token),
            (
                json!({"server": server, "access_token": "a b", "channel": "#a:b", "message": "hi"}),
                UnfitMessageError::Token,
            ),
        ] {
            assert_eq!(parse(&message), Err(why), "{message}");
        }
    }
}
