//! Whatever comes over a link is read as records or refused, and a delivery that is read is written back as the same bytes' delivery.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roomcast::testing::broker::relay::{Record, decode, encode, next_record};

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::copy_from_slice(data);
    while let Ok(Some(record)) = next_record(&mut bytes) {
        let Record::Delivery(_, body) = record else { continue };
        let Ok(delivery) = decode(&body) else { continue };
        let written = encode(&delivery).expect("it was written before");
        let again = decode(&written).expect("what was written can be read");
        assert_eq!(format!("{again:?}"), format!("{delivery:?}"));
    }
});
