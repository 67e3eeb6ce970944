//! `[token_lookup]`: tokens that an application keeps in Redis.

use super::{
    raw::Raw,
    section::section,
    value::{Kind, List, Maybe, PointerKind, Switch, Text, quoted},
};
use crate::{dialect::Pointer, model::Room};

section! {
    /// Tokens that are keys in the Redis of `[redis]`, each with a JSON object. What has the form of a signed token is verified as one, if `[tokens]` has keys.
    pub struct TokenLookUp in "token_lookup" {
        /// The key of a token, whole, without `redis.prefix`. Unset: tokens are not looked up.
        key: Option<LookUpTemplate> = None, Maybe(LookUpTemplateKind(&["token"])), restart, unset("tokens are not looked up", "\"/current_users/{token}\"");
        /// The parameter of the query that holds such a token, beside `token`.
        query: Option<String> = None, Maybe(Text), restart, unset("only `token`", "\"channel_token\"");
        /// Where the object names the user: a string or a whole number.
        user: Pointer = Pointer::parse("/id").unwrap_or_default(), PointerKind, restart;
        /// Where the object lists the user's groups: strings or whole numbers.
        groups: Option<Pointer> = None, Maybe(PointerKind), restart, unset("there are none", "\"/group_ids\"");
        /// The rooms that each of the user's connections is put into, and may join; `{group}` stands for each group.
        rooms: Vec<LookUpTemplate> = Vec::new(), List(LookUpTemplateKind(&["user", "group"])), restart;
        /// Whether clients with an unknown token, or without a token, are accepted without a user.
        accept_unknown: bool = false, Switch, restart;
        /// The rooms that they are put into.
        unknown_rooms: Vec<LookUpTemplate> = Vec::new(), List(LookUpTemplateKind(&[])), restart;
    }
}

/// Text with places such as `{user}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUpTemplate(Box<str>);

impl LookUpTemplate {
    /// Reads a text that may have these places.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str, allowed: &[&str]) -> Result<Self, String> {
        let places = Self(text.into());
        let bare = places.fill(|name| allowed.contains(&name).then_some("x")).ok_or_else(|| match allowed {
            [] => "it must not have a brace".to_owned(),
            _ => format!(
                "in braces there may be {}",
                allowed.iter().map(|a| format!("`{{{a}}}`")).collect::<Vec<_>>().join(", ")
            ),
        })?;
        match Room::parse(&bare) {
            Ok(_) => Ok(places),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether it has a place of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&format!("{{{name}}}"))
    }

    /// The text with its places filled; `None`: something in braces has no value.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let (mut out, mut rest) = (String::new(), &*self.0);
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            out.push_str(before);
            out.push_str(value(name)?);
            rest = after;
        }
        if rest.contains('}') {
            return None;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// [`LookUpTemplate`] as a value of a key, with the places that it may have.
struct LookUpTemplateKind(&'static [&'static str]);

impl Kind for LookUpTemplateKind {
    type Value = LookUpTemplate;

    fn parse(&self, raw: &Raw) -> Result<LookUpTemplate, String> {
        match raw {
            Raw::Text(text) => LookUpTemplate::parse(text, self.0),
            _ => Err("it is not text".to_owned()),
        }
    }

    fn render(&self, value: &LookUpTemplate) -> Option<String> {
        Some(quoted(&value.0))
    }

    fn name(&self) -> String {
        "template".to_owned()
    }

    fn allowed(&self) -> String {
        let places: Vec<_> = self.0.iter().map(|place| format!("`{{{place}}}`")).collect();
        if places.is_empty() { "a room's name".to_owned() } else { format!("text with {}", places.join(" and ")) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let places = LookUpTemplate::parse("group-{group}:{user}", &["user", "group"]).unwrap();
        let value = |name: &str| Some(if name == "user" { "7" } else { "12" });
        assert_eq!(places.fill(value).as_deref(), Some("group-12:7"));
        assert!(places.has("group") && !places.has("token"));
        for bad in ["", "{", "}", "a{b}", "a b", "{user", "user}", "{token}"] {
            assert!(LookUpTemplate::parse(bad, &["user"]).is_err(), "{bad:?}");
        }
        assert!(LookUpTemplate::parse("notice", &[]).is_ok());
    }
}
