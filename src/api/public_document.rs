//! `GET /openapi.json`: what a pod answers over HTTP on its public listeners, OpenAPI 3.1.
//!
//! `public_openapi.json` has what every pod has; what its dialects are mounted on is added. Names no room, user or key: of the configuration
//! it says no more than its clients know. Always holds: what the pod does not have does not stand there; a thread writes it once for each
//! configuration, so that it costs no more to ask for it than for any small file.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Answer, with_type};
use crate::{
    config::Config,
    dialect::{Description, Envelope, RequestRule},
};

/// What every pod has.
const NATIVE: &str = include_str!("public_openapi.json");

/// The path of the archive, where there is one.
const ARCHIVE: &str = "/messages";

/// The statuses of refusals: of every request, and of one that has commands besides.
const OF_ALL: [u16; 6] = [400, 401, 403, 413, 429, 503];
const OF_COMMANDS: [u16; 4] = [409, 415, 502, 504];
const OF_QUESTIONS: [u16; 2] = [409, 504];

/// What was written for a configuration.
type Written = (Weak<Config>, Bytes);

/// `/openapi.json`, as a pod with this configuration has it.
#[must_use]
pub fn public_document(config: &Arc<Config>) -> Answer {
    thread_local! {
        static NEWEST: RefCell<Option<Written>> = const { RefCell::new(None) };
    }
    let text = NEWEST.with_borrow_mut(|newest| match newest {
        // A configuration that is only remembered keeps its address, so that no other one has it.
        Some((of, text)) if Weak::as_ptr(of) == Arc::as_ptr(config) => text.clone(),
        _ => {
            let text = Bytes::from(document(&config.dialects, config.archive.url.is_some()).to_string());
            *newest = Some((Arc::downgrade(config), text.clone()));
            text
        }
    });
    with_type(StatusCode::OK, "application/json", text)
}

fn document(dialects: &[Description], has_archive: bool) -> Value {
    let mut document: Value = serde_json::from_str(NATIVE).unwrap_or_default();
    let dialects = || dialects.iter().filter(|it| it.envelope == Envelope::Json);
    if let Some(tags) = document.get_mut("tags").and_then(Value::as_array_mut) {
        tags.extend(dialects().map(|it| json!({ "name": it.name, "description": "Messages of its own." })));
    }
    if let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) {
        if !has_archive {
            paths.remove(ARCHIVE);
        }
        dialects().for_each(|dialect| mount(dialect, paths));
    }
    document
}

/// Adds what a dialect is mounted on.
fn mount(dialect: &Description, paths: &mut Map<String, Value>) {
    let name = dialect.name.as_str();
    let mut socket = paths.get("/ws").and_then(|path| path.get("get")).cloned().unwrap_or_default();
    socket["tags"] = json!([name]);
    socket["parameters"] = dialect.parameters(true).into_iter().map(parameter).collect();
    for path in &dialect.paths {
        paths.insert(path.clone(), json!({ "get": socket }));
    }
    for path in &dialect.poll_paths {
        paths.insert(path.clone(), json!({ "get": poll(dialect) }));
    }
    let summary = "Messages of a client that has no WebSocket: one, or an array of at most 64";
    let mut send = operation(name, summary, Vec::new(), &OF_COMMANDS);
    send["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": {} } } });
    for path in &dialect.send_paths {
        paths.insert(path.clone(), json!({ "post": send, "put": send }));
    }
    for request in &dialect.requests {
        let (path, parameters) = address_of(request);
        let ask = operation(name, "One message of the server", parameters, &OF_QUESTIONS);
        paths.insert(path, json!({ "get": ask }));
    }
}

fn poll(dialect: &Description) -> Value {
    let (room, cursor) = (dialect.poll_room.as_str(), dialect.poll_cursor.as_str());
    let rooms = json!({
        "name": room,
        "in": "query",
        "description": "A room. May stand there several times; the user's personal room is there unasked.",
        "schema": { "type": "array", "items": { "$ref": "#/components/schemas/Room" } },
        "style": "form",
        "explode": true,
    });
    let others = dialect.parameters(false).into_iter().filter(|(name, _)| ![room, cursor].contains(name));
    let parameters = [rooms, parameter((cursor, false))].into_iter().chain(others.map(parameter));
    operation(&dialect.name, "Waits for what is new", parameters.collect(), &[])
}

/// A parameter of a query, and whether it must be there.
fn parameter((name, is_needed): (&str, bool)) -> Value {
    json!({ "name": name, "in": "query", "required": is_needed, "schema": { "type": "string" } })
}

/// The path of a request as OpenAPI spells it, and its parameters.
fn address_of(request: &RequestRule) -> (String, Vec<Value>) {
    let mut parameters = Vec::new();
    let segment = |segment: &str| {
        if segment != "*" {
            return segment.to_owned();
        }
        let name = format!("path{}", parameters.len() + 1);
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        format!("{{{name}}}")
    };
    let path: Vec<String> = request.path.split('/').map(segment).collect();
    parameters.extend(request.parameters().iter().map(|name| parameter((name, false))));
    (path.join("/"), parameters)
}

/// What is asked of a dialect, and the statuses of its answers.
fn operation(dialect: &str, summary: &str, parameters: Vec<Value>, more: &[u16]) -> Value {
    let refusals = OF_ALL.iter().chain(more);
    let refusals = refusals.map(|status| (status.to_string(), json!({ "$ref": "#/components/responses/OfDialect" })));
    let mut responses: Map<String, Value> = refusals.collect();
    let answered =
        json!({ "description": "In the words of the dialect.", "content": { "application/json": { "schema": {} } } });
    responses.insert("200".to_owned(), answered);
    json!({ "tags": [dialect], "summary": summary, "parameters": parameters, "responses": responses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_without_an_archive_does_not_offer_its_pages() {
        let has_pages = |has_archive| document(&[], has_archive).pointer("/paths/~1messages").is_some();
        assert!(has_pages(true) && !has_pages(false));
        assert!(document(&[], true).pointer("/paths/~1poll/get").is_some(), "what every pod has is read");
    }
}
