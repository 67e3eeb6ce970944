//! Spans as a trace collector takes them: OTLP, with the names of the OpenTelemetry conventions for messaging. Pure.
//!
//! The conventions speak of clients of a broker, and roomcast is the broker: so a publish is the span of a server (its caller's is the
//! client's), and a fan-out is work within it. The attributes are those of messaging; what these have no name for begins with `roomcast.`.

use roomcast_proto::{
    Message,
    otlp::{
        AnyValue, ExportTraceServiceRequest, ExportTraceServiceResponse, HAS_IS_REMOTE, IS_REMOTE,
        InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans, Span as OtlpSpan, SpanEvent, SpanKind,
        SpanStatus, SpanStatusCode, Value,
    },
};

use super::span::{FanOut, Parent, Span, SpanContext, Work};
use crate::config::TraceSettings;

/// What spans of a pod come from.
#[derive(Debug, Clone)]
pub(super) struct PodResource(Resource);

impl PodResource {
    /// As the settings name it; `pod`: the pod's name in its fleet.
    pub(super) fn new(settings: &TraceSettings, pod: &str) -> Self {
        let set = |key: &str| settings.attributes.iter().any(|attribute| attribute.key == key);
        let version = env!("CARGO_PKG_VERSION");
        let own =
            [("service.name", &*settings.service_name), ("service.version", version), ("service.instance.id", pod)];
        let own = own.into_iter().filter(|(key, _)| !set(key)).map(|(key, value)| text(key, value));
        let given = settings.attributes.iter().map(|attribute| text(&attribute.key, &attribute.value));
        Self(Resource { attributes: own.chain(given).collect() })
    }

    /// The body of a request with these spans.
    pub(super) fn request(&self, spans: &[Span]) -> Vec<u8> {
        let scope = InstrumentationScope { name: "roomcast".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.iter().map(span).collect() }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.0.clone()), scope_spans }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

/// How many spans a trace collector that answered 200 did not take, and why. What it says in other words counts as nothing.
pub(super) fn rejected(body: &[u8]) -> Option<(u64, String)> {
    let partial = ExportTraceServiceResponse::decode(body).ok()?.partial_success?;
    let spans = u64::try_from(partial.rejected_spans).ok().filter(|spans| *spans > 0)?;
    Some((spans, partial.error_message))
}

fn span(span: &Span) -> OtlpSpan {
    let Span { context, id, parent, began, ended, work } = span;
    let (operation, kind) = match work {
        Work::Publish { .. } => ("publish", SpanKind::Server),
        Work::FanOut { .. } => ("fan_out", SpanKind::Internal),
    };
    let (parent_span_id, is_remote) = match parent {
        Parent::None => (Vec::new(), 0),
        Parent::Remote(id) => (id.0.to_vec(), IS_REMOTE),
        Parent::Own(id) => (id.0.to_vec(), 0),
    };
    let mut attributes = common(context, operation);
    let (mut events, mut status) = (Vec::new(), None);
    match work {
        Work::Publish { source, bytes, outcome } => {
            attributes.push(text("messaging.operation.type", "send"));
            attributes.push(number("messaging.message.body.size", *bytes as u64));
            attributes.push(text("roomcast.source", source));
            match outcome {
                Ok(position) => {
                    let at = vec![
                        text("roomcast.epoch", position.epoch.as_str()),
                        number("roomcast.offset", position.offset),
                    ];
                    events.push(SpanEvent { time_unix_nano: *ended, name: "accepted".to_owned(), attributes: at });
                }
                Err(why) => {
                    attributes.push(text("error.type", why));
                    status = Some(SpanStatus { code: SpanStatusCode::Error.into() });
                }
            }
        }
        Work::FanOut { fan_out, offset } => {
            let FanOut { epoch, events, worker, receivers, .. } = fan_out;
            // The conventions leave it out of what concerns one message.
            if *events > 1 {
                attributes.push(number("messaging.batch.message_count", *events as u64));
            }
            attributes.push(text("roomcast.epoch", epoch.as_str()));
            attributes.push(number("roomcast.offset", *offset));
            attributes.push(number("roomcast.receivers", *receivers));
            attributes.push(number("roomcast.worker", *worker as u64));
        }
    }
    OtlpSpan {
        trace_id: context.trace.0.to_vec(),
        span_id: id.0.to_vec(),
        trace_state: context.state.to_string(),
        parent_span_id,
        name: format!("{operation} {}", context.pattern),
        kind: kind.into(),
        start_time_unix_nano: *began,
        end_time_unix_nano: *ended,
        attributes,
        events,
        status,
        flags: u32::from(context.flags.bits()) | HAS_IS_REMOTE | is_remote,
    }
}

fn common(context: &SpanContext, operation: &str) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("messaging.system", "roomcast"),
        text("messaging.operation.name", operation),
        text("messaging.destination.template", &context.pattern),
    ];
    attributes.extend(context.room.as_ref().map(|room| text("messaging.destination.name", room.as_str())));
    attributes
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roomcast_proto::otlp::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn what_a_collector_did_not_take_is_read() {
        let answer = |rejected_spans, why: &str| {
            let partial = ExportTracePartialSuccess { rejected_spans, error_message: why.to_owned() };
            ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        assert_eq!(rejected(&answer(3, "too old")), Some((3, "too old".to_owned())));
        // A warning beside success.
        assert_eq!(rejected(&answer(0, "use gzip")), None);
        assert_eq!(rejected(&answer(-1, "")), None);
        for other in [&b""[..], b"{}", b"ok", b"\xff\xff"] {
            assert_eq!(rejected(other), None);
        }
    }

    #[test]
    fn what_the_operator_says_of_the_resource_stands_before_what_the_pod_says() {
        let settings = TraceSettings {
            attributes: vec![
                crate::config::ResourceAttribute::parse("service.name=edge").unwrap(),
                crate::config::ResourceAttribute::parse("cloud.region=eu").unwrap(),
            ],
            ..TraceSettings::default()
        };
        let body = PodResource::new(&settings, "0a").request(&[]);
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let keys: Vec<_> = resource.attributes.iter().map(|attribute| &*attribute.key).collect();
        assert_eq!(keys, ["service.version", "service.instance.id", "service.name", "cloud.region"]);
    }
}
