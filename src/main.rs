//! roomcast, the program: one expression.

fn main() -> std::process::ExitCode {
    // The pod is wired here when it exists.
    roomcast::cli::main(|_loader| {
        eprintln!("this build has no pod yet");
        std::process::ExitCode::FAILURE
    })
}
