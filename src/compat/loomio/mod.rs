//! Loomio (preset `loomio`): messages for its chatbots, and its collaboration server's question whether a user may edit a document.
//!
//! Always holds: without `chatbots.channels` nothing is called, and without `hocuspocus.path` nothing is answered.

mod chatbots;
mod hocuspocus;
mod metrics;
pub mod settings;

pub use self::metrics::CHATBOT_DESCRIPTIONS;

use std::sync::Arc;

use self::{
    chatbots::Chatbots,
    hocuspocus::Documents,
    metrics::{ChatbotMetrics, DocumentAnswers},
};
use super::{ExtensionError, Extensions};
use crate::{broker::redis::Elsewhere, config::Config, metrics::Exposition};

/// Adds what the settings ask for.
pub(super) fn extend(
    config: &Config,
    exposition: &Exposition,
    extensions: &mut Extensions,
) -> Result<(), ExtensionError> {
    let settings = &config.settings.customers.loomio;
    let (counts, answers) = exposition.register(|| (ChatbotMetrics::default(), DocumentAnswers::default()));
    if !settings.chatbots.channels.is_empty() {
        let made = Chatbots::new(&settings.chatbots, counts);
        let (chatbots, queues) = made.map_err(|error| ExtensionError::Fetch { called: "chatbots", error })?;
        let channels = settings.chatbots.channels.as_slice().into();
        extensions.take_plain_messages(Elsewhere { channels, sink: Arc::clone(&chatbots) as _ })?;
        extensions.tasks.push(Box::new(move || chatbots.run(queues)));
    }
    let documents = Documents::of(&settings.hocuspocus, answers);
    let documents = documents.map_err(|error| ExtensionError::Fetch { called: "hocuspocus.hook", error })?;
    if let Some(documents) = documents {
        extensions.routes.push(Arc::new(documents));
    }
    Ok(())
}
