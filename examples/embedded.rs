//! One embedded S3 server for scripts:
//! `embedded --port P --access-key AK --secret-key SK --region R --ca PATH [--bucket NAME,NAME] [--address IP --name HOST]`.
//! Without an address it listens on loopback as `localhost`. It writes the certificate to trust to PATH, prints `ready URL`, and runs until it is ended.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use xpsync::demo::authority::Authority;
use xpsync::demo::keys::KeyPair;
use xpsync::demo::server::{Server, ServerConfig};
use xpsync::demo::store::BucketConfig;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flags: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].trim_start_matches("--"), pair[1].as_str())).collect();
    let flag = |name: &str| flags.get(name).copied().ok_or(format!("--{name} is missing"));
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
    for bucket in flags.get("bucket").iter().flat_map(|names| names.split(',')) {
        server.store().create_bucket(bucket, BucketConfig::default());
    }
    println!("ready {}", server.endpoint());
    std::io::stdout().flush()?;
    std::future::pending::<()>().await;
    Ok(())
}
