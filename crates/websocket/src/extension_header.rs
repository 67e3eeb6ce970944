//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
//!
//! Owns the split of a header line into extensions and their parameters. Never knows an extension's name. Always holds:
//! each name is a token, and each value is a token once its quotes are removed.

/// One element of the header: a name and its parameters.
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: Vec<(&'a str, Option<String>)>,
}

/// Reads one line of the header; `None` if it breaks the grammar.
pub(crate) fn parse(line: &str) -> Option<Vec<Extension<'_>>> {
    let mut cursor = Cursor { rest: line };
    let mut extensions = Vec::new();
    loop {
        cursor.skip_space();
        // HTTP's lists may have empty elements (RFC 9110 section 5.6.1.2).
        if cursor.take(',') {
            continue;
        }
        if cursor.rest.is_empty() {
            return Some(extensions);
        }
        let mut extension = Extension { name: cursor.token()?, parameters: Vec::new() };
        cursor.skip_space();
        while cursor.take(';') {
            cursor.skip_space();
            let name = cursor.token()?;
            cursor.skip_space();
            let value = if cursor.take('=') {
                cursor.skip_space();
                Some(cursor.value()?)
            } else {
                None
            };
            cursor.skip_space();
            extension.parameters.push((name, value));
        }
        extensions.push(extension);
        if !cursor.rest.is_empty() && !cursor.take(',') {
            return None;
        }
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.strip_prefix(wanted).inspect(|rest| self.rest = rest).is_some()
    }

    /// A token (RFC 9110 section 5.6.2).
    fn token(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, or a quoted string that is one once unquoted (RFC 6455 section 9.1).
    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(characters.next()?),
                c => value.push(c),
            }
        }
        self.rest = characters.as_str();
        (!value.is_empty() && value.chars().all(is_token)).then_some(value)
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
