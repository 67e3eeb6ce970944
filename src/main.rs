//! roomcast, the program: one expression.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    roomcast::cli::main(|loader| roomcast::serve::run(&loader))
}
