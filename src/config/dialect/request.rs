//! `[[dialect.request]]`: a `GET` that stands for a message.
//!
//! Pure. Owns its keys and the rules between them.

use crate::{
    config::{
        error::Problem,
        item::Item,
        section::section,
        url_path::MountPath,
        value::{Maybe, Text},
    },
    dialect::{Field, MessageTemplate, RequestRule},
};

/// The fields that the message can name.
const FIELDS: &[&str] = &["now", "path", "query"];

/// The most segments of a path that a pattern leaves open.
const MOST_STARS: usize = 8;

section! {
    /// A `GET` over HTTP that stands for a message of the client that asks: `history` or `presence`. Its answer is the body.
    pub struct RequestTable in "dialect.request" {
        /// The path, in which a segment `*` stands for any one.
        path: Option<String> = None, Maybe(MountPath), restart, unset("must be set", "\"/rooms/*/messages\"");
        /// The message: JSON with placeholders in its strings. `{path:1}` is what the first `*` stands for.
        message: Option<String> = None, Maybe(Text), restart,
            unset("must be set", "'{\"do\": \"history\", \"room\": \"{path:1}\", \"since\": \"{query:since?}\"}'");
    }
}

/// Reads one `[[dialect.request]]`.
pub(super) fn request(item: &Item) -> Result<RequestRule, Vec<Problem>> {
    let mut table = RequestTable::default();
    let problems = item.fill(&mut table, &[]);
    let (Some(path), Some(message), true) = (table.path, table.message, problems.is_empty()) else {
        return Err(problems);
    };
    let problem = |name: &str, why: String| vec![item.problem(name, why)];
    let stars = path.split('/').filter(|segment| *segment == "*").count();
    if stars > MOST_STARS || path.split('/').any(|segment| segment.len() > 1 && segment.contains('*')) {
        let why = format!("a `*` stands for a whole segment, and there are at most {MOST_STARS}");
        return Err(problem("path", why));
    }
    let message = MessageTemplate::parse(&message, FIELDS).map_err(|why| problem("message", why))?;
    if (stars + 1..=MOST_STARS + 1).any(|star| message.names(&Field::Path(star))) {
        return Err(problem("message", format!("it names more than the {stars} `*` of `path`")));
    }
    Ok(RequestRule { path, message })
}
