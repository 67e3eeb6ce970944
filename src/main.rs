//! roomcast, the program: one expression.

fn main() -> std::process::ExitCode {
    roomcast::cli::main(|loader| roomcast::serve::run(&loader))
}
