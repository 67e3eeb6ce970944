//! What is measured side by side: its names in reports, and what Redis is.

use clap::ValueEnum;
use serde::Serialize;

/// This build.
pub(super) const THIS: &str = "roomcast";
/// Another.
pub(super) const REFERENCE: &str = "reference";
/// This build with the embedded broker.
pub(super) const EMBEDDED: &str = "embedded";
pub(super) const CENTRIFUGO: &str = "centrifugo";

/// What Redis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Over {
    /// One server alone.
    One,
    /// Three masters with a replica each.
    Cluster,
}
