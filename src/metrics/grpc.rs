//! Metrics of calls over gRPC.

use metrics::{Counter, counter};

/// Calls over gRPC by method; those of no method that there is as `other`.
#[derive(Debug)]
pub struct GrpcCalls(Vec<(&'static str, GrpcCall)>, GrpcCall);

/// What became of calls.
#[derive(Debug)]
pub struct GrpcCall {
    /// Answered.
    pub ok: Counter,
    /// Answered with an error.
    pub failed: Counter,
}

impl GrpcCalls {
    /// Every method of the API, without what is asked by probes and tools.
    pub(super) const METHODS: [&'static str; 9] = [
        "roomcast.v1.Roomcast/Publish",
        "roomcast.v1.Roomcast/Broadcast",
        "roomcast.v1.Roomcast/GetPresence",
        "roomcast.v1.Roomcast/GetHistory",
        "roomcast.v1.Roomcast/Disconnect",
        "roomcast.v1.Roomcast/GetStats",
        "roomcast.v1.Roomcast/GetUserPresence",
        "roomcast.v1.Roomcast/SetUserPresence",
        "roomcast.v1.Roomcast/GetUnread",
    ];

    /// Handles of the recorder that is current, for a service's methods, `package.Service/Method` each.
    #[must_use]
    pub fn new(methods: &[&'static str]) -> Self {
        let calls = |method: &'static str| GrpcCall {
            ok: counter!("roomcast_grpc_calls_total", "method" => method, "result" => "ok"),
            failed: counter!("roomcast_grpc_calls_total", "method" => method, "result" => "failed"),
        };
        Self(methods.iter().map(|&method| (method, calls(method))).collect(), calls("other"))
    }

    /// The counters of a method, as `package.Service/Method`.
    #[must_use]
    pub fn of(&self, method: &str) -> &GrpcCall {
        self.0.iter().find(|(known, _)| *known == method).map_or(&self.1, |(_, calls)| calls)
    }
}
