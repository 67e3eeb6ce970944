//! `PUT /api/v1/presence`: changes a user's status. `GET /api/v1/presence`: what users are shown as.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    answer::{Answer, ApiCode, ApiError, ok},
    body::object,
    target::Query,
};
use crate::{
    hub::{Services, StatusError, UserPresence},
    model::{StatusChange, UserState, UserStatus, UserStatusError},
};

/// The most users of one answer.
const MAX_USERS: usize = 100;

/// A user in an answer.
#[derive(Serialize)]
struct Shown<'a> {
    user: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<u64>,
    chosen: &'static str,
    hidden: bool,
}

impl<'a> Shown<'a> {
    fn new(user: &'a str, state: &UserState) -> Self {
        let UserState { status, last_seen, chosen, hidden } = *state;
        Self { user, status: status.as_str(), last_seen, chosen: chosen.as_str(), hidden }
    }
}

/// The presence of users, if it is switched on.
fn switched_on(services: &Services) -> Result<&UserPresence, ApiError> {
    services.user_presence.as_deref().ok_or_else(|| {
        ApiError::new(ApiCode::NotAvailable, "users have no presence here: set `user_presence.room` to switch it on")
    })
}

/// `PUT /api/v1/presence`.
pub(super) async fn change(services: &Services, body: &[u8]) -> Result<Answer, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        user: Cow<'a, str>,
        #[serde(borrow)]
        status: Option<Cow<'a, str>>,
        hidden: Option<bool>,
    }
    let Body { user, status, hidden } = object(body, "the body")?;
    let state = put(services, &user, status.as_deref(), hidden).await?;
    Ok(ok(&Shown::new(&user, &state)))
}

/// Changes a user's status.
pub(super) async fn put(
    services: &Services,
    user: &str,
    status: Option<&str>,
    hidden: Option<bool>,
) -> Result<UserState, ApiError> {
    let presence = switched_on(services)?;
    let chosen = status.map(str::parse::<UserStatus>).transpose();
    let chosen =
        chosen.map_err(|error: UserStatusError| ApiError::bad_request(error.to_string()).within("`status`"))?;
    let change = StatusChange { chosen, hidden };
    if change == StatusChange::default() {
        return Err(ApiError::bad_request("there is nothing to change: give `status`, `hidden` or both"));
    }
    presence.change(user, change).await.map_err(|error| match error {
        StatusError::Name => unnamed(user),
        StatusError::Broker(error) => error.into(),
        // A backend has no rate.
        StatusError::TooOften => ApiError::new(ApiCode::Unavailable, error.to_string()),
    })
}

/// `GET /api/v1/presence`.
pub(super) async fn list(services: &Services, query: &Query) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        users: Vec<Shown<'a>>,
    }
    let users: Vec<String> = query.all("users").map(str::to_owned).collect();
    let states = states(services, &users).await?;
    Ok(ok(&Body { users: users.iter().zip(&states).map(|(user, state)| Shown::new(user, state)).collect() }))
}

/// What users are shown as, in their order here.
pub(super) async fn states(services: &Services, users: &[String]) -> Result<Vec<UserState>, ApiError> {
    let presence = switched_on(services)?;
    if users.is_empty() || users.len() > MAX_USERS {
        let message = format!("`users` must be given for each user, at least once and at most {MAX_USERS} times");
        return Err(ApiError::bad_request(message));
    }
    let states = presence.states(users).await?;
    states.into_iter().zip(users).map(|(state, user)| state.ok_or_else(|| unnamed(user))).collect()
}

fn unnamed(user: &str) -> ApiError {
    let user: String = user.chars().take(64).collect();
    ApiError::bad_request(format!("no room can have the name of the user {user:?}, so that it has no presence"))
}
