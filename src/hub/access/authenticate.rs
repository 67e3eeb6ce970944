//! Whether a client is let in, and with which identity: the token first, then the backend. One judge for requests, for tokens
//! that come later and for Socket.IO's connects.
//!
//! Never looks into a token or an answer. Always holds: without a hook nothing here waits but for a key; a client that the
//! backend could not decide about is not let in, and is told that it may try again.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use crate::{
    auth::{Claims, Grant, RoomRight, TokenError},
    hooks::{ClientRequest, ConnectAnswer, ConnectQuestion, Denial, HookError, Verdict},
    hub::worker::services::Services,
    metrics::RareWarning,
    model::{ErrorCode, Token},
    session::ConnectionId,
};

/// A client may bring such answers about, as often as it likes.
static OTHER_USER: RareWarning = RareWarning::new();

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AdmissionError {
    /// Its token is not good, or cannot be judged now.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The backend says no.
    #[error("{}", .0.message)]
    Denied(Denial),
    /// The backend does not say.
    #[error("{}", .0.message_to_client())]
    Undecided(HookError),
}

impl AdmissionError {
    /// The code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Token(error) if error.is_outage() => ErrorCode::Unavailable,
            Self::Token(_) => ErrorCode::Unauthorized,
            Self::Denied(denial) => denial.code,
            Self::Undecided(_) => ErrorCode::Unavailable,
        }
    }

    /// Whether the same client may be let in later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        self.code() == ErrorCode::Unavailable
    }
}

/// A client that wants in, or presents another token.
pub struct Applicant {
    /// Its request; `None`: the backend is not asked about it.
    pub client_request: Option<Arc<ClientRequest>>,
    /// Its connection, where it has a name already.
    pub connection: Option<ConnectionId>,
    /// What it shows.
    pub shows: Shows,
    /// The namespace that a Socket.IO client connects to, and what it says of itself there.
    pub namespace: Option<(Box<str>, Box<str>)>,
    /// It is in already.
    pub refresh: bool,
}

/// What an applicant shows of itself.
pub enum Shows {
    /// A token, not verified.
    Token(Token),
    /// What its token, or the lack of one, allows is known.
    Grant(Grant),
}

impl Services {
    /// Whether tokens are judged: by the pod itself, or the backend that is told them.
    #[must_use]
    pub fn judges_tokens(&self) -> bool {
        self.authority.is_enabled() || self.hands_tokens_on()
    }

    /// Whether the backend alone judges tokens.
    fn hands_tokens_on(&self) -> bool {
        !self.authority.is_enabled() && self.tells_tokens()
    }

    /// Whether the backend is told tokens.
    #[must_use]
    fn tells_tokens(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.connect.is_some() && hooks.settings().token)
    }

    /// Whether the backend is asked about clients that connect.
    #[must_use]
    pub fn asks_about_clients(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.connect.is_some())
    }

    /// Lets an applicant in, or not. Ready at once, unless a key must be fetched or the backend is asked.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub async fn admit(&self, applicant: Applicant) -> Result<Grant, AdmissionError> {
        let Applicant { client_request, connection, shows, namespace, refresh } = applicant;
        let (grant, token) = match shows {
            Shows::Token(token) if self.hands_tokens_on() => (self.authority.without_token(), Some(token)),
            Shows::Token(token) => {
                let grant = self.authority.verify(&token, SystemTime::now()).await?;
                (grant, Some(token).filter(|_| self.tells_tokens()))
            }
            Shows::Grant(grant) => (grant, None),
        };
        let Some(client_request) = client_request else { return Ok(grant) };
        let Some(hook) = self.hooks.as_ref().and_then(|hooks| hooks.connect.as_ref()) else { return Ok(grant) };
        let connection = connection.map(|connection| connection.to_string());
        let asked = hook.ask(ConnectQuestion {
            connection: connection.as_deref(),
            grant: &grant,
            client_request: &client_request,
            token: token.as_ref(),
            namespace: namespace.as_ref().map(|(name, auth)| (&**name, &**auth)),
            refresh,
        });
        match &*asked.await.map_err(AdmissionError::Undecided)? {
            Verdict::Allow(answer) => self.as_answered(grant, answer).map_err(AdmissionError::Undecided),
            Verdict::Deny(denial) => Err(AdmissionError::Denied(denial.clone())),
        }
    }

    /// A grant with what the backend adds to it.
    fn as_answered(&self, grant: Grant, answer: &ConnectAnswer) -> Result<Grant, HookError> {
        if *answer == ConnectAnswer::default() {
            return Ok(grant);
        }
        let mut claims = grant.claims().cloned().unwrap_or(Claims {
            user: None,
            expires_at: None,
            rooms: Vec::new(),
            personal_room: None,
            given: Vec::new(),
            methods: Vec::new(),
            receipts: true,
            content: None,
        });
        match (&claims.user, &answer.user) {
            (Some(verified), Some(named)) if verified != named => {
                let why = "`user` is another one than the verified token names";
                if let Some(count) = OTHER_USER.due(Instant::now()) {
                    tracing::warn!(hook = "connect", count, "the backend's answer is none: {why}");
                }
                return Err(HookError::BadAnswer(why.into()));
            }
            (None, Some(named)) => {
                let template = self.config.load().tokens.personal_room.clone();
                claims.personal_room = template.and_then(|template| template.of(named));
                claims.user = Some(Arc::clone(named));
            }
            _ => {}
        }
        claims.rooms.extend(answer.rights.iter().cloned());
        // A client that is put into a room may do there what its members may. A star would be a pattern for other rooms.
        let plain = answer.rooms.iter().filter(|room| !room.as_str().contains('*'));
        claims.rooms.extend(plain.map(|room| RoomRight { pattern: room.as_str().into(), join: true, publish: false }));
        claims.methods.extend(answer.methods.iter().cloned());
        claims.given.extend(answer.rooms.iter().cloned());
        claims.expires_at = claims.expires_at.into_iter().chain(answer.expires_at).min();
        if answer.claims.is_some() {
            claims.content.clone_from(&answer.claims);
        }
        Ok(Grant::verified(claims))
    }
}
