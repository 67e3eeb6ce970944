//! The generated code is what the contracts say. `UPDATE=1 cargo test -p roomcast-proto` writes it anew.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{env, fs, path::Path};

use protox::prost::Message;

const FILES: [&str; 2] = ["roomcast/v1/roomcast.proto", "realtime.proto"];

#[test]
fn the_generated_code_is_that_of_the_contracts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root.join("proto")]).expect("the contracts are well-formed");
    let fresh = tempfile::tempdir().unwrap();
    fs::write(fresh.path().join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure().build_transport(false).out_dir(fresh.path()).compile_fds(descriptors).unwrap();
    for name in ["roomcast.v1.rs", "realtime.rs", "descriptors.bin"] {
        let (made, kept) = (fs::read(fresh.path().join(name)).unwrap(), root.join("src/generated").join(name));
        if env::var_os("UPDATE").is_some() {
            fs::write(&kept, &made).unwrap();
        }
        assert!(
            fs::read(&kept).unwrap() == made,
            "{name} is not what its contract says: UPDATE=1 cargo test -p roomcast-proto"
        );
    }
}
