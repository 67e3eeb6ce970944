//! Whatever comes over a link is read as records or refused; a delivery that is read is written back as the same bytes' delivery, and a message
//! of either end so that it can be read.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roomcast::testing::broker::relay::{
    FromEdge, FromHome, Record, decode, encode, message, message_record, next_record,
};

/// What is read as a message can be read again as it is written.
macro_rules! comes_back {
    ($kind:ty, $json:expr) => {
        if let Some(mut written) = message::<$kind>($json).ok().and_then(|said| message_record(&said)) {
            let Ok(Some(Record::Message(again))) = next_record(&mut written) else { panic!("no record was written") };
            message::<$kind>(&again).expect("what was written can be read");
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes::copy_from_slice(data);
    while let Ok(Some(record)) = next_record(&mut bytes) {
        match record {
            Record::Delivery(_, body) => {
                let Ok(delivery) = decode(&body) else { continue };
                let written = encode(&delivery).expect("it was written before");
                let again = decode(&written).expect("what was written can be read");
                assert_eq!(format!("{again:?}"), format!("{delivery:?}"));
            }
            // The inflater has a target of its own.
            Record::Packed(_) => {}
            Record::Message(json) => {
                comes_back!(FromEdge, &json);
                comes_back!(FromHome, &json);
            }
        }
    }
});
