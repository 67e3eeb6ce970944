//! Texts with placeholders in braces: `trip:{/trip_id|channel:1}`. A placeholder names the source of its text. It may name
//! several, with `|` between them: the first that has a text counts.
//!
//! Pure. A template is compiled for a caller that offers certain sources ([`Offers`]). Always holds: it names no other
//! sources, though a message may lack a value.

use super::pointer::{Pointer, check_size};

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(Box<str>),
    /// The first of these sources that has a text.
    Placeholder(Vec<Source>),
}

/// Where the text of a placeholder comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The channel's name.
    Channel,
    /// The text that a `*` of the pattern matched, counted from 0.
    Matched(usize),
    /// A value of the message.
    Value(Pointer),
    /// A parameter of the query of a connection's request.
    Query(Box<str>),
    /// The connection's user.
    User,
    /// A value of the claims of the connection's token.
    Claim(Pointer),
}

/// The sources that a template may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// A message on a channel: `{channel}`, `{channel:1}`, `{/json/pointer}`.
    Channel,
    /// A client's message: `{/json/pointer}`.
    Message,
    /// A connection's request: `{query:name}`, `{user}`, `{claim:name}`.
    Request,
}

impl Template {
    /// Reads a template such as `trip:{channel:1}`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(text: &str, offers: Offers) -> Result<Self, String> {
        check_size(text)?;
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let inside = brace.strip_prefix('{').ok_or("it has a `}` without a `{`")?;
            let (names, after) = inside.split_once('}').ok_or("it has a `{` without a `}`")?;
            parts.push(Part::Placeholder(names.split('|').map(|name| source(name, offers)).collect::<Result<_, _>>()?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if parts.is_empty() { Err("it is empty".to_owned()) } else { Ok(Self { text: text.into(), parts }) }
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Every source that it names.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.parts.iter().flat_map(|part| match part {
            Part::Placeholder(sources) => sources.as_slice(),
            Part::Text(_) => &[],
        })
    }

    /// The text with its placeholders filled in by `find`, which says whether a source is there; an empty one is not. `None`: a placeholder has
    /// no text.
    ///
    /// # Errors
    /// The error of `find`.
    pub fn fill<E>(&self, mut find: impl FnMut(&Source, &mut String) -> Result<bool, E>) -> Result<Option<String>, E> {
        let mut out = String::new();
        'parts: for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Placeholder(sources) => {
                    let start = out.len();
                    for source in sources {
                        if find(source, &mut out)? && out.len() > start {
                            continue 'parts;
                        }
                        out.truncate(start);
                    }
                    return Ok(None);
                }
            }
        }
        Ok(Some(out))
    }

    /// The text with an `x` for every placeholder.
    #[must_use]
    pub fn example(&self) -> String {
        let part = |part: &Part| if let Part::Text(text) = part { text.to_string() } else { "x".to_owned() };
        self.parts.iter().map(part).collect()
    }
}

fn source(name: &str, offers: Offers) -> Result<Source, String> {
    let matched = || name.strip_prefix("channel:")?.parse::<usize>().ok()?.checked_sub(1);
    Ok(match (offers, name.split_once(':')) {
        (Offers::Channel, None) if name == "channel" => Source::Channel,
        (Offers::Channel, Some(("channel", _))) if matched().is_some() => Source::Matched(matched().unwrap_or(0)),
        (Offers::Channel | Offers::Message, _) if name.starts_with('/') => Source::Value(Pointer::parse(name)?),
        (Offers::Request, None) if name == "user" => Source::User,
        (Offers::Request, Some(("query", "token"))) => {
            return Err("a token must not become part of anything else".to_owned());
        }
        (Offers::Request, Some(("query", name))) if !name.is_empty() => Source::Query(name.into()),
        (Offers::Request, Some(("claim", name))) => Source::Claim(claim(name)?),
        _ => return Err(format!("it must not contain `{{{name}}}`")),
    })
}

/// The pointer to a claim, from a JSON pointer or the name of a claim.
pub(super) fn claim(name: &str) -> Result<Pointer, String> {
    if name.starts_with('/') {
        return Pointer::parse(name);
    }
    match name {
        "" => Err("`{claim:…}` needs the name of a claim".to_owned()),
        name => Pointer::parse(&format!("/{}", name.replace('~', "~0").replace('/', "~1"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_placeholders() {
        let parts = Template::parse("a{channel}{channel:2|channel}b{/x/y}c", Offers::Channel).unwrap().parts;
        let text = |text: &str| Part::Text(text.into());
        let value = Part::Placeholder(vec![Source::Value(Pointer::parse("/x/y").unwrap())]);
        let channel = Part::Placeholder(vec![Source::Channel]);
        let either = Part::Placeholder(vec![Source::Matched(1), Source::Channel]);
        assert_eq!(parts, [text("a"), channel, either, text("b"), value, text("c")]);
        for bad in
            ["", "{", "}", "a}b{", "{}", "{channel:0}", "{channel:x}", "{chanel}", "{/~}", "{{channel}}", "{|/a}"]
        {
            assert!(Template::parse(bad, Offers::Channel).is_err(), "{bad}");
        }
        for (bad, offers) in [
            ("{channel}", Offers::Message),
            ("{query:a}", Offers::Message),
            ("{/a}", Offers::Request),
            ("{query:token}", Offers::Request),
            ("{query:}", Offers::Request),
            ("{claim:}", Offers::Request),
            ("{claim:/~}", Offers::Request),
            ("{claim:a}", Offers::Message),
        ] {
            assert!(Template::parse(bad, offers).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_source_of_a_placeholder_that_has_a_text_counts() {
        let template = Template::parse("{/a|/b}-{/c}", Offers::Message).unwrap();
        let fill = |has: &[&str]| {
            template.fill(|source, out| {
                let Source::Value(pointer) = source else { return Err(()) };
                out.push_str(&has.iter().filter(|h| **h == pointer.to_string()).copied().collect::<String>());
                Ok(has.contains(&&*pointer.to_string()))
            })
        };
        assert_eq!(fill(&["/b", "/c"]), Ok(Some("/b-/c".to_owned())));
        assert_eq!(fill(&["/a", "/b", "/c"]), Ok(Some("/a-/c".to_owned())));
        assert_eq!(fill(&["/a", "/b"]), Ok(None));
        // An empty one is passed by, and what one wrote that is none leaves nothing.
        let texts = [("/a", true, ""), ("/b", true, "b"), ("/c", false, "x")];
        let from = |source: &Source, out: &mut String| {
            let Source::Value(pointer) = source else { return Err(()) };
            let (_, is_there, text) = texts.into_iter().find(|(name, ..)| *name == pointer.to_string()).ok_or(())?;
            out.push_str(text);
            Ok(is_there)
        };
        let parsed = |text: &str| Template::parse(text, Offers::Message).unwrap();
        assert_eq!(parsed("{/a|/c|/b}!").fill(from), Ok(Some("b!".to_owned())));
        assert_eq!(parsed("p:{/a}").fill(from), Ok(None));
    }
}
