//! A shop: orders, their payments, and mail about them; from its first version on, through an upgrade, to the day when all
//! records are lost and come back.
//!
//! `cargo run --features memory --example shop [sled:FOLDER]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program for people to read")]

mod calendar;
mod customer;
mod mail;
mod order;
mod payment;
mod rules;
mod set_up;
mod story;
mod v1;

use std::process::ExitCode;
use std::sync::Arc;

use rekindle::memory::MemoryBackend;
use rekindle::sled::SledBackend;
use rekindle::store::Store;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> story::Result<()> {
    let argument = std::env::args().nth(1);
    // The shop is opened twice on it: by the old program, and by the new one.
    let store: Arc<dyn Store> = match argument.as_deref().map(|url| url.split_once(':')) {
        None => Arc::new(MemoryBackend::new()),
        Some(Some(("sled", folder))) if !folder.is_empty() => Arc::new(SledBackend::open(folder).await?),
        Some(_) => return Err("usage: shop [sled:FOLDER]".into()),
    };
    story::tell(&store).await
}
