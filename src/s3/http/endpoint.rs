//! From a region to a partition to a host, and from a bucket and a key to a URL.
//!
//! "Amazon Simple Storage Service endpoints and quotas", and the endpoint rules that AWS's SDKs share. Regions are
//! recognised by pattern: a list would refuse the next one.

use crate::s3::http::message::path_of;
use crate::s3::{Bucket, Key};
use std::fmt;
use thiserror::Error;

/// A name that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidEndpoint {
    /// A region of no partition known here.
    #[error("`{0}` is not a region of aws, aws-cn, aws-us-gov or aws-eusc")]
    Region(String),
    /// An endpoint URL that is not `http(s)://host[:port][/path]`.
    #[error("`{0}` is not an endpoint URL; expected http(s)://host[:port]")]
    Url(String),
    /// "Amazon S3 Transfer Acceleration": not in China, GovCloud or the European Sovereign Cloud.
    #[error("S3 Transfer Acceleration does not exist in {0}")]
    NoAcceleration(String),
    /// "Requirements for using Transfer Acceleration": the bucket's name must be a host label.
    #[error("S3 Transfer Acceleration cannot serve bucket `{0}`: its name has dots or capitals")]
    DottedAcceleration(String),
}

/// A group of regions with accounts of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Partition {
    /// `aws`.
    Global,
    /// `aws-cn`.
    China,
    /// `aws-us-gov`.
    GovCloud,
    /// `aws-eusc`.
    EuSovereign,
}

impl Partition {
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Global | Self::GovCloud => "amazonaws.com",
            Self::China => "amazonaws.com.cn",
            Self::EuSovereign => "amazonaws.eu",
        }
    }
}

/// A region whose partition is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Region {
    name: Box<str>,
    partition: Partition,
}

impl Region {
    /// Finds the partition by the pattern of the name.
    ///
    /// # Errors
    /// [`InvalidEndpoint::Region`].
    pub fn new(name: &str) -> Result<Self, InvalidEndpoint> {
        let partition = partition_of(name).ok_or_else(|| InvalidEndpoint::Region(name.to_owned()))?;
        Ok(Self { name: name.into(), partition })
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The patterns of the SDKs' partitions.json: `^(us|eu|…)\-\w+\-\d+$` and its siblings.
fn partition_of(name: &str) -> Option<Partition> {
    let (rest, number) = name.rsplit_once('-')?;
    let two_words =
        ["us-gov", "eusc-de"].into_iter().find_map(|area| Some((area, rest.strip_prefix(area)?.strip_prefix('-')?)));
    let (area, direction) = two_words.or_else(|| rest.split_once('-'))?;
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) || !word(direction) {
        return None;
    }
    match area {
        "us" | "eu" | "ap" | "sa" | "ca" | "me" | "af" | "il" | "mx" => Some(Partition::Global),
        "cn" => Some(Partition::China),
        "us-gov" => Some(Partition::GovCloud),
        "eusc-de" => Some(Partition::EuSovereign),
        _ => None,
    }
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain, only where an endpoint URL asks for it.
    Http,
    /// TLS.
    Https,
}

/// Where requests of one side go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Regional(Region),
    DualStack(Region),
    Accelerated,
    Overridden { scheme: Scheme, host: String, port: u16, prefix: String },
}

/// Host, port and path of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Whether TLS is spoken.
    pub scheme: Scheme,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The encoded path, `/` at least.
    pub path: String,
}

impl Location {
    /// The `Host` header: the port is left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        match (self.scheme, self.port) {
            (Scheme::Https, 443) | (Scheme::Http, 80) => self.host.clone(),
            (Scheme::Http | Scheme::Https, port) => format!("{}:{port}", self.host),
        }
    }
}

impl Endpoint {
    /// `s3.REGION.SUFFIX`.
    pub fn regional(region: Region) -> Self {
        Self(Kind::Regional(region))
    }

    /// `s3.dualstack.REGION.SUFFIX`.
    pub fn dual_stack(region: Region) -> Self {
        Self(Kind::DualStack(region))
    }

    /// `BUCKET.s3-accelerate.amazonaws.com`.
    ///
    /// # Errors
    /// [`InvalidEndpoint::NoAcceleration`] outside the Global partition, [`InvalidEndpoint::DottedAcceleration`] for a
    /// bucket whose name cannot be a host label.
    pub(crate) fn accelerated(region: &Region, bucket: &Bucket) -> Result<Self, InvalidEndpoint> {
        if region.partition != Partition::Global {
            return Err(InvalidEndpoint::NoAcceleration(region.to_string()));
        }
        if !bucket.is_host_label() {
            return Err(InvalidEndpoint::DottedAcceleration(bucket.to_string()));
        }
        Ok(Self(Kind::Accelerated))
    }

    /// An endpoint URL of the user's, addressed path-style.
    ///
    /// # Errors
    /// [`InvalidEndpoint::Url`].
    pub fn overridden(url: &str) -> Result<Self, InvalidEndpoint> {
        // What stands before an `@` may be a password; nobody is told.
        let shown = || url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("…@{host}"));
        let invalid = || InvalidEndpoint::Url(shown());
        let uri: http::Uri = url.parse().map_err(|_| invalid())?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("https") => (Scheme::Https, 443),
            Some("http") => (Scheme::Http, 80),
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?;
        // The parser takes more for an authority than has a place: brackets in the middle of a name, a port of letters.
        let host = authority.host();
        let named = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => {
                address.contains(':') && address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b))
            }
            None => !host.is_empty() && !host.contains(['[', ']', ':']),
        };
        let port = authority.as_str().strip_prefix(host).unwrap_or("@");
        let port =
            if port.is_empty() { Some(default_port) } else { port.strip_prefix(':').and_then(|p| p.parse().ok()) };
        let (true, Some(port), None) = (named, port, uri.query()) else { return Err(invalid()) };
        Ok(Self(Kind::Overridden {
            scheme,
            host: host.to_owned(),
            port,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        }))
    }

    /// The same endpoint for a bucket that turned out to be in another region. An overridden endpoint stays: its
    /// owner knows where it leads.
    #[must_use]
    pub(crate) fn moved_to(&self, region: Region) -> Self {
        Self(match &self.0 {
            Kind::Regional(_) => Kind::Regional(region),
            Kind::DualStack(_) => Kind::DualStack(region),
            Kind::Accelerated => Kind::Accelerated,
            kept @ Kind::Overridden { .. } => kept.clone(),
        })
    }

    /// Where a request about a bucket, or about an object in it, goes.
    pub fn locate(&self, bucket: &Bucket, key: Option<&Key>) -> Location {
        let key_path = key.map(|key| path_of(key.as_str()));
        // "Naming Amazon S3 objects": a key that is exactly `soap` cannot be addressed virtual-host style.
        let virtual_host = bucket.is_host_label() && key.is_none_or(|key| key.as_str() != "soap");
        let host = match &self.0 {
            Kind::Regional(region) => format!("s3.{region}.{}", region.partition.suffix()),
            Kind::DualStack(region) => format!("s3.dualstack.{region}.{}", region.partition.suffix()),
            Kind::Accelerated => "s3-accelerate.amazonaws.com".to_owned(),
            Kind::Overridden { scheme, host, port, prefix } => {
                return Location {
                    scheme: *scheme,
                    host: host.clone(),
                    port: *port,
                    path: below(&format!("{prefix}/{bucket}"), key_path.as_deref()),
                };
            }
        };
        let (host, path) = if virtual_host {
            (format!("{bucket}.{host}"), format!("/{}", key_path.unwrap_or_default()))
        } else {
            (host, below(&format!("/{bucket}"), key_path.as_deref()))
        };
        Location { scheme: Scheme::Https, host, port: 443, path }
    }
}

fn below(bucket: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("{bucket}/{key}"),
        None => bucket.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn url(endpoint: &Endpoint, bucket: &str, key: Option<&str>) -> String {
        let location = endpoint.locate(&Bucket::new(bucket).unwrap(), key.map(|k| Key::new(k).unwrap()).as_ref());
        format!("{}{}", location.authority(), location.path)
    }

    #[test]
    fn every_region_resolves_to_its_partition() {
        let global = "us-east-1 us-east-2 us-west-1 us-west-2 ap-southeast-1 ap-southeast-2 ap-northeast-1 \
                      ap-northeast-2 ap-northeast-3 ap-south-1 ap-east-1 eu-west-1 eu-west-2 eu-west-3 eu-central-1 \
                      eu-north-1 eu-south-1 ca-central-1 sa-east-1 af-south-1 me-south-1 ap-southeast-7 il-central-1 \
                      mx-central-1 ca-west-1 me-west-1 sa-west-1";
        let check = |name: &str, partition, host: &str| {
            assert_eq!(region(name).partition(), partition, "{name}");
            assert_eq!(url(&Endpoint::regional(region(name)), "bucket", None), format!("bucket.{host}/"));
        };
        for name in global.split_whitespace() {
            check(name, Partition::Global, &format!("s3.{name}.amazonaws.com"));
        }
        for name in ["cn-north-1", "cn-northwest-1"] {
            check(name, Partition::China, &format!("s3.{name}.amazonaws.com.cn"));
        }
        check("us-gov-west-1", Partition::GovCloud, "s3.us-gov-west-1.amazonaws.com");
        check("eusc-de-east-1", Partition::EuSovereign, "s3.eusc-de-east-1.amazonaws.eu");
    }

    #[test]
    fn what_is_no_region_is_refused() {
        for bad in [
            "",
            "us",
            "us-east",
            "us-east-",
            "us-east-x",
            "mars-east-1",
            "us--1",
            "US-EAST-1",
            "us-east-1.evil.com/",
            "eusc-fr-1",
        ] {
            assert_eq!(Region::new(bad), Err(InvalidEndpoint::Region(bad.to_owned())));
        }
    }

    #[test]
    fn dotted_buckets_and_the_key_soap_are_addressed_by_path() {
        let endpoint = Endpoint::regional(region("cn-north-1"));
        assert_eq!(url(&endpoint, "a.b", Some("k")), "s3.cn-north-1.amazonaws.com.cn/a.b/k");
        assert_eq!(url(&endpoint, "a.b", None), "s3.cn-north-1.amazonaws.com.cn/a.b");
        assert_eq!(url(&endpoint, "bucket", Some("soap")), "s3.cn-north-1.amazonaws.com.cn/bucket/soap");
        assert_eq!(url(&endpoint, "bucket", Some("soap/x")), "bucket.s3.cn-north-1.amazonaws.com.cn/soap/x");
    }

    #[test]
    fn keys_keep_their_slashes_and_dots() {
        let endpoint = Endpoint::dual_stack(region("us-west-2"));
        assert_eq!(
            url(&endpoint, "bucket", Some("//./../a b")),
            "bucket.s3.dualstack.us-west-2.amazonaws.com///./../a%20b"
        );
    }

    #[test]
    fn overridden_endpoints_are_addressed_by_path() {
        let check = |text: &str, expected: &str| {
            assert_eq!(url(&Endpoint::overridden(text).unwrap(), "bucket", Some("/k")), expected);
        };
        check("http://127.0.0.1:9000", "127.0.0.1:9000/bucket//k");
        check("https://s3.example.com/", "s3.example.com/bucket//k");
        check("https://gateway:8443/s3/", "gateway:8443/s3/bucket//k");
        check("http://[::1]:9000", "[::1]:9000/bucket//k");
        for bad in ["", "localhost:9000", "ftp://x", "https://", "https://u:p@h", "https://h/?q=1"] {
            assert!(Endpoint::overridden(bad).is_err(), "{bad}");
        }
        // Found by fuzzing: authorities that the parser takes, and that are no place.
        for bad in
            ["https://a[::]1", "https://a[::]1://[::]1:4-b:c4", "https://[::1]a", "https://h:port", "https://[h]"]
        {
            assert!(Endpoint::overridden(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn acceleration_is_refused_where_it_is_not_offered() {
        let bucket = Bucket::new("bucket").unwrap();
        let endpoint = Endpoint::accelerated(&region("us-west-2"), &bucket).unwrap();
        assert_eq!(url(&endpoint, "bucket", Some("k")), "bucket.s3-accelerate.amazonaws.com/k");
        assert!(Endpoint::accelerated(&region("cn-north-1"), &bucket).is_err());
        assert!(Endpoint::accelerated(&region("us-west-2"), &Bucket::new("a.b").unwrap()).is_err());
    }

    #[test]
    fn a_moved_bucket_changes_the_region_but_not_an_override() {
        let moved = Endpoint::regional(region("us-east-1")).moved_to(region("eu-west-1"));
        assert_eq!(url(&moved, "bucket", None), "bucket.s3.eu-west-1.amazonaws.com/");
        let fixed = Endpoint::overridden("http://h:1").unwrap();
        assert_eq!(fixed.moved_to(region("eu-west-1")), fixed);
    }
}
