//! roomcast
fn main() {}
