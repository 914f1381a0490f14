//! One embedded S3 server for scripts:
//! `embedded --port P --access-key AK --secret-key SK --region R --ca PATH [--bucket NAME,NAME] [--seed
//! KEY=SIZE,KEY=SIZE:PART] [--address IP --name HOST]`. Without an address it listens on loopback as `localhost`. Seeds
//! are objects of so many random bytes in the first bucket, put together from parts of PART bytes where that is given;
//! their ETags go to stderr. It writes the certificate to trust to PATH, prints `ready URL`, and runs until it is
//! ended; by SIGTERM, it says what it has counted: requests, a line for each operation, and `connections`.

use bytes::Bytes;
use fakes::net::authority::Authority;
use fakes::s3::auth::keys::KeyPair;
use fakes::server::{Server, ServerConfig};
use fakes::store::attributes::Attributes;
use fakes::store::object::BucketConfig;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    serve(&arguments).await
}

/// Also the server of `benches/border`, which cargo builds without this example.
pub(crate) async fn serve(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let flags: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].trim_start_matches("--"), pair[1].as_str())).collect();
    let flag = |name: &str| flags.get(name).copied().ok_or(format!("--{name} is missing"));
    let list = |name: &str| flags.get(name).iter().flat_map(|names| names.split(',')).collect::<Vec<_>>();
    let authority = Arc::new(match flags.get("name") {
        Some(name) => Authority::with_names(&[name])?,
        None => Authority::new()?,
    });
    std::fs::write(flag("ca")?, authority.pem())?;
    let keys = KeyPair::new(flag("access-key")?, flag("secret-key")?);
    let mut config = ServerConfig::new(flag("region")?, keys).tls(&authority);
    config.listen.set_port(flag("port")?.parse()?);
    if let Some(address) = flags.get("address") {
        config.listen.set_ip(address.parse()?);
    }
    let server = Server::start(config).await?;
    let buckets = list("bucket");
    for bucket in &buckets {
        server.store().create_bucket(bucket, BucketConfig::default());
    }
    for seed in list("seed") {
        let (key, size) = seed.split_once('=').ok_or_else(|| format!("`{seed}` is not KEY=SIZE"))?;
        let (size, part) = size.split_once(':').map_or((size, None), |(size, part)| (size, Some(part)));
        let bucket = buckets.first().ok_or("--seed needs a --bucket")?;
        let size: usize = size.parse()?;
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(size as u64).fill(&mut bytes);
        let (store, bytes) = (server.store(), Bytes::from(bytes));
        let made = match part {
            None => store.put(bucket, key, bytes, Attributes::default()),
            Some(part) => {
                let part: usize = part.parse()?;
                let parts = (0..size).step_by(part).map(|start| bytes.slice(start..size.min(start + part)));
                store.put_parts(bucket, key, parts, Attributes::default())
            }
        };
        let made = made.map_err(|refusal| refusal.to_string())?;
        eprintln!("{key} {}", made.etag);
    }
    let mut told_to_end = signal(SignalKind::terminate())?;
    println!("ready {}", server.endpoint());
    std::io::stdout().flush()?;
    told_to_end.recv().await;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for seen in server.seen() {
        *counts.entry(seen.operation).or_default() += 1;
    }
    counts.insert("connections".to_owned(), server.connections());
    let said: String = counts.iter().map(|(what, count)| format!("{what} {count}\n")).collect();
    // Whoever told it to end may have ended before.
    let _unheard = std::io::stdout().write_all(said.as_bytes());
    Ok(())
}
