//! `xpsync` in a shell: flags in, one exit status out.
//!
//! stdout has results, stderr everything else. Exit status: 0 everything asked for is done and proven; 1 something
//! failed or could not be proven; 2 usage or configuration; 130 interrupted.

mod args;
mod cp;
pub(crate) mod exit;
mod profile;
mod show;
mod sweep;

use crate::cli::args::{Cli, Command};
use crate::cli::exit::Exit;
use clap::Parser as _;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own usage errors are 2, its help and version 0.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    if crate::telemetry::init(cli.log_level, crate::telemetry::LogFormat::Plain).is_err() {
        show::problem("logging could not be started: another logger is active");
        return Exit::Usage.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            show::problem(&format!("cannot start worker threads: {error}"));
            return Exit::Usage.into();
        }
    };
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Cp(cp) => cp::run(&cp).await,
            Command::Sweep(sweep) => sweep::run(&sweep).await,
            #[cfg(feature = "demo")]
            Command::Demo(demo) => self::demo(demo).await,
        }
    });
    // Threads that block on a disk are not waited for: everything is reported.
    runtime.shutdown_background();
    exit.into()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 130,
        })
    }
}

#[cfg(feature = "demo")]
async fn demo(demo: args::Demo) -> Exit {
    match crate::demo::run::run(demo.border, &mut std::io::stdout()).await {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(error) => {
            show::problem(&format!("the demo failed to start: {error}"));
            Exit::Failed
        }
    }
}
