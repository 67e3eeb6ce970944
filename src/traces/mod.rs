//! Traces of publishes, for an OpenTelemetry collector.
//!
//! Owns which publishes are traced, their spans until these are sent, and the sending. Never knows a receiver, and never holds a token, a
//! payload or a user's name. Always holds: without `traces.otlp_endpoint` nothing of this exists; whatever the trace collector does, a publish
//! takes as long as without it.
//!
//! Events carry nothing of it: a pod of a fleet tells the others beside them which were traced.

mod awaited_fan_outs;
mod exporter;
mod otlp;
mod sampler;
mod span;
mod span_queue;
mod teller;
mod told_events;
mod trace_context;
mod tracer;

pub use exporter::{ExporterError, TraceExporter};
pub use span::Publisher;
pub use teller::TraceTeller;
pub use trace_context::RemoteParent;
pub use tracer::Tracer;
