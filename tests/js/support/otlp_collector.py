"""A collector of traces (OTLP over HTTP) that prints each span as a line of JSON, read by the types that the OpenTelemetry project publishes.

usage: otlp_collector.py PORT    (pip install opentelemetry-proto)
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def plain(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def told(resource, scope, span):
    return {
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "state": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind),
        "status": Status.StatusCode.Name(span.status.code),
        "nanoseconds": span.end_time_unix_nano - span.start_time_unix_nano,
        "attributes": plain(span.attributes),
        "events": {event.name: plain(event.attributes) for event in span.events},
        "resource": plain(resource.attributes),
        "scope": scope.name,
    }


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        is_otlp = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        if is_otlp:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                for spans in group.scope_spans:
                    for span in spans.spans:
                        print(json.dumps(told(group.resource, spans.scope, span)), flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200 if is_otlp else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()
