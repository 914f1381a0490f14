//! Copies S3 objects from AWS China to AWS Global (or any other partition) and proves each copy
//!
//! AWS China is another partition: other accounts, other keys, no replication across, and a border of 150 to 260 ms
//! that loses packets. One engine signs S3 requests itself, streams ranged GETs in China into parallel part uploads
//! outside it, and holds every object against its own multipart-ETag and CRC64NVME arithmetic. It runs as a Lambda
//! function on S3 events (`bootstrap`) and from a shell (`xpsync`).
//!
//! # The floors
//!
//! ```text
//! s3 ◄─ wire ◄─ engine ◄─ sync ◄─┐
//!  ▲     ▲        ▲               ├─ handler, cli, demo ◄─ bin/
//!  ├── secrets ─►wire ◄───────────┤
//!  └── events ────┘ ◄─────────────┘    settings, telemetry: edge only
//! ```
//!
//! Arrows point from the one who knows to the one who is known; `tests/suite/tidy.rs` fails on one that runs up.
//! `events` knows of the engine its report and its tickets only: it turns payloads into tasks and reports into each
//! caller's answer.
//!
//! - [`s3`]: the protocol as values. No socket, clock, environment, task or log; the time is passed in.
//! - [`wire`]: sockets. [`wire::call::Client`] sends one operation until it is answered, refused, or not worth another
//!   attempt; [`wire::attempt`] decides that, purely.
//! - [`engine`]: one object. [`engine::copy`] pins the source, decides, plans, moves, proves, looks at the source
//!   again, and leaves nothing open.
//! - [`sync`]: what concerns many objects: the filter of keys, and sweeping what died work has left.
//! - [`events`], [`secrets`], [`queue`], [`settings`], [`telemetry`], [`handler`]: the function's edges; [`journal`]:
//!   what is open, on a disk, for a process that is killed.
//! - `md5s`, a package of its own: the MD5s of several parts at once.
//! - `cli`, `demo`: the command line; two embedded S3 servers with faults and a border, which demo, tests and benches
//!   share.
//!
//! # What holds
//!
//! - Every read of a pinned object carries `If-Match`, every write a precondition; a write that was not answered is
//!   looked for before it is called failed.
//! - Nothing is called copied whose bytes were not held against the source's checksum or ETag, where it has one, and
//!   whose target did not show the ETag or CRC64NVME that our arithmetic gives; the report says which.
//! - Part buffers never exceed their budget; they are reserved before a byte is asked for.
//! - Nothing is removed at the target unless deletes are followed and a GET said that the source is gone; then under
//!   the ETag that was seen, with a look at the source before and after it.
//! - No upload is left open and no stage is left behind without the report saying so, and nothing runs on after the
//!   report.
//! - An upload is gone on with only by its ticket ([`engine::ticket`]), and only while the source is what it was.
//! - No queue, scheduler or store of state of our own: what is remembered is in S3, and in tickets.
//!
//! Deliberately absent: an S3 SDK; unsigned or plain requests that nobody asked for; a switch that turns verification
//! off.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod aws;
pub mod engine;
pub mod events;
pub mod handler;
pub mod journal;
pub mod mutation;
pub mod queue;
pub mod report;
pub mod s3;
pub mod secrets;
pub mod settings;
pub mod sync;
pub mod telemetry;
pub mod wire;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;
