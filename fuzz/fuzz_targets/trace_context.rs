//! Whatever a backend brings as the trace of its call: it is read, or ignored; what is read keeps the rules of W3C Trace Context, and
//! its `tracestate` is read as the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::testing::traces::RemoteParent;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(traceparent) = lines.next() else { return };
    let Some(read) = RemoteParent::parse(traceparent, lines) else { return };
    assert!(read.trace.0 != [0; 16] && read.span.0 != [0; 8]);
    assert!(read.state.len() <= 512 && read.state.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{:?}", read.state);
    let again = RemoteParent::parse(traceparent, std::iter::once(read.state.as_bytes())).expect("it is ours");
    assert_eq!(again, read);
});
