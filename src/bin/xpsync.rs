//! The command line.

fn main() -> std::process::ExitCode {
    xpsync::cli::main()
}
