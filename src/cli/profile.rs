//! Credentials, region and endpoint of an end as users of the AWS CLI have configured them.

use crate::cli::args::Ends;
use crate::engine::fault::Side;
use crate::engine::session::Access;
use crate::s3::Bucket;
use crate::s3::http::endpoint::{Endpoint, Region};
use crate::secrets::{self, Secret};
use crate::wire::gate::Boxed;
use crate::wire::keys::{CachedKeys, Fetch, Keys, KeysError, KeysFault};
use crate::wire::net::connect::{Connect, Network};
use crate::wire::net::tls::client_config;
use crate::wire::sdk;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_types::service_config::ServiceConfigKey;
use std::sync::Arc;

/// The network, with the trust roots of `AWS_CA_BUNDLE` beside the compiled-in ones.
pub(crate) fn connector() -> Result<Arc<dyn Connect>, String> {
    let path = std::env::var_os("AWS_CA_BUNDLE").unwrap_or_default();
    let wrong = |error: &dyn std::fmt::Display| format!("AWS_CA_BUNDLE {}: {error}", path.to_string_lossy());
    let bundle = if path.is_empty() { None } else { Some(std::fs::read(&path).map_err(|error| wrong(&error))?) };
    let tls = client_config(bundle.as_deref()).map_err(|error| wrong(&error))?;
    Ok(Arc::new(Network::new(tls)))
}

pub(crate) async fn resolve(
    ends: &Ends,
    source_bucket: &Bucket,
    target_bucket: &Bucket,
    connector: &Arc<dyn Connect>,
) -> Result<(Access, Access), String> {
    let source_config = load(ends.source_profile.as_deref(), ends.source_region.as_deref(), connector).await;
    let source = Access {
        bucket: source_bucket.clone(),
        region: region(Side::Source, &source_config, ends.source_region.as_deref())?,
        endpoint: endpoint(
            Side::Source,
            &source_config,
            ends.source_region.as_deref(),
            ends.source_endpoint_url.as_deref(),
        )?,
        credentials: chain(Side::Source, &source_config)?,
    };
    let target = target(ends, target_bucket, Some(&source_config), connector).await?;
    Ok((source, target))
}

/// Resolves the target alone. The source's side is looked at only for a secret that it keeps.
pub(crate) async fn resolve_target(
    ends: &Ends,
    target_bucket: &Bucket,
    connector: &Arc<dyn Connect>,
) -> Result<Access, String> {
    let source_config = match &ends.target_secret_id {
        Some(_) => Some(load(ends.source_profile.as_deref(), ends.source_region.as_deref(), connector).await),
        None => None,
    };
    target(ends, target_bucket, source_config.as_ref(), connector).await
}

async fn target(
    ends: &Ends,
    target_bucket: &Bucket,
    source_config: Option<&SdkConfig>,
    connector: &Arc<dyn Connect>,
) -> Result<Access, String> {
    let target_config = load(ends.target_profile.as_deref(), ends.target_region.as_deref(), connector).await;
    let target_region = region(Side::Target, &target_config, ends.target_region.as_deref())?;
    let accelerated = || Endpoint::accelerated(&target_region, target_bucket).map_err(|error| error.to_string());
    Ok(Access {
        bucket: target_bucket.clone(),
        endpoint: if ends.target_accelerate {
            accelerated()?
        } else {
            endpoint(Side::Target, &target_config, ends.target_region.as_deref(), ends.target_endpoint_url.as_deref())?
        },
        credentials: match ends.target_secret_id.as_ref().zip(source_config) {
            Some((id, source_config)) => {
                let provider = source_config
                    .credentials_provider()
                    .ok_or("no credentials for the source, which --target-secret-id needs: give --source-profile")?;
                let source_region = region(Side::Source, source_config, ends.source_region.as_deref())?;
                let url = service_endpoint(source_config, "Secrets Manager");
                let http = sdk::http_client(Arc::clone(connector));
                let client = secrets::client(&source_region, provider, url.as_deref(), http);
                Arc::new(CachedKeys::new(Secret::new(client, id)))
            }
            None => chain(Side::Target, &target_config)?,
        },
        region: target_region,
    })
}

async fn load(profile: Option<&str>, region: Option<&str>, connector: &Arc<dyn Connect>) -> SdkConfig {
    let mut loader =
        aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(sdk::http_client(Arc::clone(connector)));
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(aws_config::Region::new(region.to_owned()));
    }
    loader.load().await
}

fn region(end: Side, config: &SdkConfig, asked: Option<&str>) -> Result<Region, String> {
    let configured = config.region().map(|region| region.as_ref().to_owned());
    let name = asked.map(str::to_owned).or(configured).ok_or_else(|| {
        format!("no region for the {end}: give --{end}-region, or --{end}-profile with a region", end = end.name())
    })?;
    Region::new(&name).map_err(|error| error.to_string())
}

fn endpoint(
    end: Side,
    config: &SdkConfig,
    asked_region: Option<&str>,
    asked: Option<&str>,
) -> Result<Endpoint, String> {
    let url = asked.map(str::to_owned).or_else(|| service_endpoint(config, "S3"));
    match url {
        Some(url) => Endpoint::overridden(&url).map_err(|error| error.to_string()),
        None => Ok(Endpoint::regional(region(end, config, asked_region)?)),
    }
}

/// "Service-specific endpoints": the service's own variable or profile entry, then the general one.
fn service_endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    let own = config.service_config().and_then(|services| services.load_config(key));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

fn chain(end: Side, config: &SdkConfig) -> Result<Arc<dyn Keys>, String> {
    let provider = config
        .credentials_provider()
        .ok_or_else(|| format!("no credentials for the {side}: give --{side}-profile", side = end.name()))?;
    Ok(Arc::new(CachedKeys::new(Chain { end, provider })))
}

struct Chain {
    end: Side,
    provider: SharedCredentialsProvider,
}

impl Fetch for Chain {
    fn fetch(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
        Box::pin(async {
            self.provider.provide_credentials().await.map_err(|error| {
                let name = self.end.name();
                let mut message = format!("no credentials found: {error}");
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    message = format!("{message}: {cause}");
                    source = cause.source();
                }
                let hint =
                    format!("Give --{name}-profile, or configure credentials as for the AWS CLI (`aws configure`).");
                KeysError { message, hint: Some(hint), fault: KeysFault::Misconfigured }
            })
        })
    }
}
