//! The embedded servers themselves, held to what AWS documents.

mod copies;
mod server;
