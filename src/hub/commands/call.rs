//! What clients ask of the backend itself (`rpc`).
//!
//! Never holds up what its connection sends behind it: answers come in the order in which the backend gives them, each with the id of its
//! command. Always holds: a connection has a bounded number of calls under way, and all are given up when it begins to close.

use std::sync::Arc;

use crate::{
    hooks::{CallQuestion, HookError, Verdict},
    hub::{access::permit::Principal, connection::key::ConnectionKey, core::Core, worker::services::Services},
    model::{CommandId, ErrorCode, MethodCall, Reply},
};

/// Asks the backend for a connection, which is answered when the backend has answered.
pub(crate) fn call(core: &mut Core, key: ConnectionKey, id: Option<CommandId>, call: MethodCall) {
    let (services, doorway) = (Arc::clone(core.services()), core.doorway.clone());
    let most = core.clients.settings.config.hooks.rpc_per_connection;
    let Some(connection) = core.clients.connections.get_mut(key) else { return };
    let (name, principal) = (connection.session.id, connection.principal(&services));
    let open_calls = connection.cold.get_or_insert_default().open_calls.get_or_insert_default();
    if open_calls.len() >= most {
        if let Some(hook) = services.hooks.as_ref().and_then(|hooks| hooks.rpc.as_ref()) {
            hook.refused();
        }
        let message = format!("{most} calls of this connection have no answer yet: wait for one");
        let error = Reply::Error { code: ErrorCode::LimitExceeded, message, room: None };
        return core.clients.reply(key, &error, id.as_ref());
    }
    let serial = open_calls.next();
    let task = tokio::task::spawn_local(async move {
        let reply = BackendCalls(&services).make(&principal, &call).await;
        doorway.enter(|core| {
            if !core.clients.connections.is(key, name) {
                return;
            }
            let connection = core.clients.connections.get_mut(key);
            if let Some(calls) = connection.and_then(|it| it.cold.as_mut()?.open_calls.as_mut()) {
                calls.ended(serial);
            }
            core.clients.reply(key, &reply, id.as_ref());
        });
    });
    open_calls.began(serial, task.abort_handle());
}

/// What calls the backend for clients.
pub(crate) struct BackendCalls<'a>(pub(crate) &'a Services);

impl BackendCalls<'_> {
    /// What the backend answers to a client's call. Dropped before its end, the call is given up.
    pub(crate) async fn make(&self, principal: &Principal, call: &MethodCall) -> Reply {
        let refuse = |code, message: &str| Reply::Error { code, message: message.to_owned(), room: None };
        let Some(hook) = self.0.hooks.as_ref().and_then(|hooks| hooks.rpc.as_ref()) else {
            return refuse(ErrorCode::NotAvailable, "no backend takes calls here: it is switched off");
        };
        let (name, Principal { grant, transport, dialect, .. }) = (principal.name(), principal);
        let question = CallQuestion { connection: name.as_deref(), grant, transport, dialect, call };
        let unanswered = match hook.ask(question).await.as_deref() {
            Ok(Verdict::Allow(answer)) => return Reply::Result { data: answer.data.clone() },
            Ok(Verdict::Deny(denial)) => return refuse(denial.code, &denial.message),
            Err(error) => error.clone(),
        };
        match unanswered {
            HookError::Full => refuse(
                ErrorCode::Unavailable,
                "too many clients wait for the backend: the call was not made, try again later",
            ),
            HookError::Ended => refuse(ErrorCode::Unavailable, "this pod stops: connect again, and call again"),
            HookError::Timeout(_) => refuse(
                ErrorCode::Deadline,
                "the backend did not answer in time: the call may or may not have been carried out",
            ),
            HookError::Failed(_) | HookError::Status(_) | HookError::TooLarge(_) | HookError::BadAnswer(_) => {
                refuse(ErrorCode::Failed, "the backend failed: the call may or may not have been carried out")
            }
        }
    }
}
