//! The reference model: random objects, events and faults; afterwards the target equals the source, or the reports say
//! why not, key by key, and nothing is left open.
//!
//! `MODEL_CASES` says how many cases (300), `MODEL_SEED` from which seed (0); the same seed makes the same scripts.
//! What fails is shrunk and printed as Rust, to be kept in `model/found.rs`. `MODEL_CASE` plays one of them as often,
//! because what fails may do so only now and then.

mod found;
mod generate;
mod judge;
mod play;
mod run;
mod script;
mod stage;

use run::{Cases, Then, run};
use tokio::sync::Mutex;

/// Cases unless `MODEL_CASES` says otherwise.
const CASES: u64 = 300;

/// A mutation is one of the whole process, so nothing else runs beside it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn cases(otherwise: u64) -> Cases {
    Cases {
        seed: number("MODEL_SEED").unwrap_or(0),
        count: number("MODEL_CASES").unwrap_or(otherwise),
        only: number("MODEL_CASE"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_target_ends_as_the_source_is_or_the_reports_say_why() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let outcome = run(cases(CASES), Then::Shrink).await;
    println!("{}", outcome.table());
    if let Some(failure) = &outcome.failure {
        panic!("{}", failure.text());
    }
}

#[cfg(feature = "mutations")]
mod mutations {
    use super::{ONE_AT_A_TIME, Then, cases, run};
    use xpsync::mutation::{Mutation, switch};

    /// Within so many cases each is found.
    const WITHIN: u64 = 2_000;

    async fn is_found(mutation: Mutation) {
        let _alone = ONE_AT_A_TIME.lock().await;
        switch(Some(mutation));
        let outcome = run(cases(WITHIN), Then::Stop).await;
        switch(None);
        let failure = outcome.failure.unwrap_or_else(|| panic!("{mutation:?}: not found in {WITHIN} cases"));
        println!("{mutation:?}: found after {} cases\n{}", outcome.cases, failure.text());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn reads_that_are_not_pinned_are_found() {
        is_found(Mutation::UnpinnedReads).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn writes_without_a_precondition_are_found() {
        is_found(Mutation::UnconditionalWrites).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_commit_without_a_look_afterwards_is_found() {
        is_found(Mutation::NoLookAfterCommit).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn bytes_without_a_crc_are_found() {
        is_found(Mutation::NoCrc).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_upload_that_is_gone_on_with_unseen_is_found() {
        is_found(Mutation::UncheckedTickets).await;
    }
}
