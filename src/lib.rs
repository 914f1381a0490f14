//! Copies S3 objects from AWS China to AWS Global, or between any other two partitions, and proves each copy.
//!
//! AWS China is another partition: other accounts, other keys, no replication across, and a border of 150 to 260 ms
//! that loses packets. One engine signs S3 requests itself, streams ranged GETs in China into parallel part uploads
//! outside it, and compares every object with its own multipart-ETag and CRC64NVME arithmetic. It runs as a Lambda
//! function on S3 events (`bootstrap`) and from a shell (`xpsync`). Its words are explained in docs/glossary.md.
//!
//! # The floors
//!
//! ```text
//! s3 ◄─ wire ◄─ engine ◄─ sync ◄─ report ◄─┐
//!  ▲     ▲        ▲                 ▲       ├─ handler, cli, demo ◄─ bin/
//!  │     ├─ aws ◄─ queue ◄──────────┼───────┤
//!  │     ├─ secrets ◄───────────────┼───────┤
//!  └─ engine::{report, decide} ◄─ events    │   journal: report, tickets
//!                                   └───────┘   settings, telemetry: edge only
//! ```
//!
//! Arrows point from the one who knows to the one who is known; `tests/suite/tidy` fails on one that runs up, on a
//! circle between files of a floor, and on impurity where purity is promised. Every floor may ask [`mutation`].
//!
//! - [`s3`]: the protocol as values. No socket, clock, environment, task or log; the time is passed in.
//! - [`wire`]: sockets. [`wire::client::call::Client`] sends one operation until it is answered, refused, or not worth
//!   another attempt; `wire::client::retry` decides that, purely.
//! - [`engine`]: one object. [`engine::copy::copy`] pins the source, decides, plans, moves, proves, looks at the source
//!   again, and leaves nothing open. [`engine::session`] is made once for a process.
//! - [`sync`]: what concerns many objects: the filter of keys, and sweeping what dead work has left.
//! - [`report`]: reports, tickets and sweeps as JSON. [`aws`]: services that speak JSON.
//! - [`events`], [`secrets`], [`queue`], [`settings`], [`telemetry`], [`handler`]: the function's edges. [`journal`]:
//!   the uploads that are open, on a disk, for the next process if this one is killed.
//! - `cli`, `demo`: the command line, and the demonstration.
//!
//! Packages of their own: `fakes`, the embedded servers and the border that demo, tests and benches share; `md5s`, the
//! MD5s of several parts at once.
//!
//! # What holds
//!
//! - Every read of a pinned object carries `If-Match`, every write a precondition. A write that was not answered is
//!   looked for before it is called failed.
//! - The bytes that were read are compared with the source's checksum or ETag, where it has one, and what the target
//!   stored with the ETag or CRC64NVME that our arithmetic gives. The report says which comparison was possible.
//! - Part buffers never exceed their budget: they are reserved before a byte is asked for.
//! - Nothing is removed at the target unless deletes are followed and a GET said that the source is gone; then under
//!   the ETag that was seen, with a look at the source before and after it.
//! - No upload is left open and no stage is left behind without the report saying so, and nothing runs on after the
//!   report.
//! - An upload is resumed only by its ticket ([`engine::decide::ticket`]), and only while the source is what it was.
//! - No queue, scheduler or store of state of our own: what is remembered is in S3, in tickets, and in the journal.
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
