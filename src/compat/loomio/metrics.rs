//! Metrics of what is sent on for chatbots, and of what is asked about documents.

use metrics::{Counter, Gauge, counter, gauge};

use crate::metrics::describe;

/// What each says, besides the pod's own.
pub const CHATBOT_DESCRIPTIONS: &[(&str, &str)] = &[
    (
        "roomcast_chatbot_messages_total",
        "Messages for chatbots that this pod took, by result: sent, refused (by `chatbots.servers`), unfit, failed, full (the \
         queue was).",
    ),
    ("roomcast_chatbot_retries_total", "Calls for chatbots that were made again."),
    ("roomcast_document_answers_total", "Questions of Hocuspocus servers, by the status of the answer."),
    (
        "roomcast_chatbot_waiting_bytes",
        "Bytes of messages for chatbots that wait to be sent, at most `chatbots.queue`.",
    ),
];

/// The handles.
#[derive(Debug, Clone)]
pub struct ChatbotMetrics {
    /// The server took it.
    pub sent: Counter,
    /// It names a server that may not be called.
    pub refused: Counter,
    /// It is none, or has no place to go to.
    pub unfit: Counter,
    /// The server did not take it, after every attempt.
    pub failed: Counter,
    /// It was dropped because the queue was full.
    pub full: Counter,
    /// Calls that were made again.
    pub retries: Counter,
    /// Bytes that wait.
    pub waiting: Gauge,
}

impl Default for ChatbotMetrics {
    fn default() -> Self {
        describe(CHATBOT_DESCRIPTIONS);
        let messages = |result: &'static str| counter!("roomcast_chatbot_messages_total", "result" => result);
        Self {
            sent: messages("sent"),
            refused: messages("refused"),
            unfit: messages("unfit"),
            failed: messages("failed"),
            full: messages("full"),
            retries: counter!("roomcast_chatbot_retries_total"),
            waiting: gauge!("roomcast_chatbot_waiting_bytes"),
        }
    }
}

/// What Hocuspocus servers were answered.
#[derive(Debug, Clone)]
pub struct DocumentAnswers {
    /// 200
    pub allowed: Counter,
    /// 400
    pub malformed: Counter,
    /// 401
    pub unauthorized: Counter,
    /// 403
    pub forbidden: Counter,
    /// 503
    pub unavailable: Counter,
}

impl Default for DocumentAnswers {
    fn default() -> Self {
        let answers = |status: &'static str| counter!("roomcast_document_answers_total", "status" => status);
        Self {
            allowed: answers("200"),
            malformed: answers("400"),
            unauthorized: answers("401"),
            forbidden: answers("403"),
            unavailable: answers("503"),
        }
    }
}
