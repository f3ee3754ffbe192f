//! `concordat`: parse the arguments, run a command, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    connector::cli::main()
}
