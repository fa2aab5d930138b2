//! Arguments to run to exit code; everything else is in the library.

fn main() {
    let code = forge::cli::main(std::env::args_os().collect());
    std::process::exit(code.into());
}
