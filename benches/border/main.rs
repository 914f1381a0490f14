//! A long, lossy path between two Linux network namespaces, with the kernel's own TCP at both ends. Needs root,
//! iproute2 and procps.
//!
//! `cargo bench --bench border -- run PROFILE [flags] -- COMMAND ARGS…` runs a command at the near end, in the
//! package's folder, and ends with its status:
//!
//! ```text
//! cargo bench --bench border -- run usual --then 60s=evening --trace trace.csv -- bash
//!     ip netns exec $BORDER_FAR server …           # at 198.18.0.2, and at 198.18.1.1 to .8 as $BORDER_TARGET_HOST
//!     setpriv --reuid=65534 --clear-groups client …   # root may choose BBR whatever is allowed, others may not
//! ```
//!
//! Also there: `BORDER_NEAR`, `BORDER_PROFILE`, `BORDER_RTT_MS`, `BORDER_RATE_MBIT`. A command's own processes are
//! ended with it.
//!
//! `cargo bench --bench border [criterion's arguments]` asks how long `xpsync cp` takes over the profile `usual`;
//! inside another one, it takes that: `… -- run evening -- cargo bench --bench border`. `cargo bench --bench border --
//! small` asks alike what small objects take through the function's handler: objects per second, milliseconds warm and
//! cold.
//!
//! `link`, `schedule`, `bottleneck`, `flight`, `packet`, `flows`, `way` and `options` are values and decisions, which
//! `tests/suite/network/border.rs` tests; `relay`, `namespaces`, `claim` and `run` do what has to be done.

mod bottleneck;
mod claim;
mod copying;
#[expect(dead_code, reason = "its own main")]
#[path = "../../examples/embedded.rs"]
mod embedded;
mod flight;
mod flood;
mod flows;
mod link;
mod namespaces;
mod options;
mod packet;
mod relay;
mod run;
mod sandbox;
mod schedule;
mod small;
mod way;
mod world;

use std::env;
use std::error::Error;
use std::io;
use std::process::ExitCode;

use options::{Options, USAGE};

fn main() -> ExitCode {
    match face(env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("border: {error}");
            ExitCode::FAILURE
        }
    }
}

fn face(mut arguments: Vec<String>) -> Result<ExitCode, Box<dyn Error>> {
    match arguments.first().map(String::as_str) {
        Some("run") => {
            // Cargo says so to every bench, behind all that is the bench's own.
            arguments.pop_if(|last| last == "--bench" && env::var_os("CARGO").is_some());
            match Options::read(&arguments[1..]) {
                Ok(options) => Ok(run::run(&options)?.into()),
                Err(error) => {
                    eprintln!("border: {error}\n{USAGE}");
                    Ok(ExitCode::from(2))
                }
            }
        }
        Some("embedded") => {
            tokio::runtime::Runtime::new()?.block_on(embedded::serve(&arguments[1..]))?;
            Ok(ExitCode::SUCCESS)
        }
        // What another flow runs at the far end, and at the near one.
        Some("sink") => Ok(flood::sink().map(|()| ExitCode::SUCCESS)?),
        Some("flood") => Ok(flood::flood().map(|()| ExitCode::SUCCESS)?),
        // What `small` runs.
        Some("sandbox") => {
            sandbox::serve(&arguments[1..])?;
            Ok(ExitCode::SUCCESS)
        }
        Some("small") => inside(arguments, small::measure),
        _ => inside(arguments, copying::measure),
    }
}

/// Measures in the border around this process, or begins again in one of the profile `usual`.
fn inside(
    mut arguments: Vec<String>,
    measure: fn(&str, &str, &str) -> io::Result<()>,
) -> Result<ExitCode, Box<dyn Error>> {
    if let (Ok(far), Ok(host)) = (env::var("BORDER_FAR"), env::var("BORDER_TARGET_HOST")) {
        measure(&far, &host, &env::var("BORDER_PROFILE").unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    let itself = env::current_exe()?.to_string_lossy().into_owned();
    arguments.insert(0, itself);
    Ok(run::run(&Options::of("usual", arguments)?)?.into())
}
