//! roomcast, the program: one expression.

fn main() -> std::process::ExitCode {
    roomcast::run()
}
