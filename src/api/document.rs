//! The description of the API, OpenAPI 3.1: compared with the table of calls by a test, and with the answers by
//! another, which lets a tool of others make requests of it.

/// `GET /api/openapi.json`.
pub(super) const OPENAPI: &[u8] = include_bytes!("openapi.json");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;
    use crate::api::{
        answer::ApiCode,
        router::{Operation, ROUTES, Route, Takes, is_guarded},
    };

    /// The same for people.
    const GUIDE: &str = include_str!("../../docs/API.md");

    fn names<'a>(operation: &'a Value, place: &str) -> BTreeSet<&'a str> {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.filter(|p| p["in"] == place).map(|p| p["name"].as_str().unwrap()).collect()
    }

    fn statuses(route: &Route) -> BTreeSet<u16> {
        let asks_state = matches!(route.operation, Operation::Accepting | Operation::Ready);
        let own: &[u16] = if asks_state { &[200, 503] } else { &[200] };
        route.errors().map(|code| code.status().as_u16()).chain(own.iter().copied()).collect()
    }

    #[test]
    fn the_document_describes_the_table() {
        let document: Value = serde_json::from_slice(OPENAPI).unwrap();
        let mut described = BTreeMap::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                described.insert((method.to_uppercase(), path.as_str()), operation);
            }
        }
        let table: BTreeSet<_> = ROUTES.iter().map(|r| (r.method.to_string(), r.path)).collect();
        assert_eq!(table, described.keys().cloned().collect());
        for route in &ROUTES {
            let operation = described[&(route.method.to_string(), route.path)];
            let place = route.path;
            assert_eq!(names(operation, "query"), route.query.iter().copied().collect(), "{place}");
            let braced = route.path.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
            assert_eq!(names(operation, "path"), braced.into_iter().collect(), "{place}");
            let takes = match operation["requestBody"]["required"].as_bool() {
                None => Takes::Nothing,
                Some(false) => Takes::OptionalBody,
                Some(true) => Takes::Body,
            };
            assert_eq!(takes, route.takes, "{place}");
            assert_eq!(operation["security"].is_null(), is_guarded(route.path), "{place}");
            let answers = operation["responses"].as_object().unwrap().keys().map(|key| key.parse().unwrap());
            assert_eq!(answers.collect::<BTreeSet<u16>>(), statuses(route), "{place}");
        }
    }

    #[test]
    fn the_document_names_every_code() {
        let document: Value = serde_json::from_slice(OPENAPI).unwrap();
        let codes = document["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
        let codes: Vec<_> = codes.iter().map(|code| code.as_str().unwrap()).collect();
        assert_eq!(codes, ApiCode::ALL.map(ApiCode::as_str));
        for code in ApiCode::ALL {
            let answered = ROUTES.iter().any(|route| route.errors().any(|known| known == code));
            assert!(answered || code == ApiCode::MethodNotAllowed, "no call answers {code:?}");
        }
    }

    #[test]
    fn the_guide_has_a_heading_for_every_call_and_a_row_for_every_code() {
        let headings: BTreeSet<_> =
            GUIDE.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        let calls: Vec<_> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(headings, calls.iter().map(String::as_str).collect());
        let rows = GUIDE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let rows: Vec<_> = rows.filter_map(|(code, rest)| Some((code, rest.get(..3)?.parse::<u16>().ok()?))).collect();
        assert_eq!(rows, ApiCode::ALL.map(|code| (code.as_str(), code.status().as_u16())));
    }
}
