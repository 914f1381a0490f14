//! Endpoint URLs and regions: what is taken leads to a URL that leads to the same place.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use xpsync::s3::http::endpoint::{Endpoint, Region, Scheme};
use xpsync_fuzz::{any_key, bucket};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(key) = any_key(&mut Unstructured::new(data)) else { return };
    if let Ok(endpoint) = Endpoint::overridden(text) {
        let at = endpoint.locate(&bucket(), Some(&key));
        assert!(!at.host.is_empty() && at.path.starts_with('/') && !at.host.contains(['@', '/', '?', '#', ' ']));
        let scheme = match at.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let url = format!("{scheme}://{}{}", at.authority(), at.path);
        let uri: http::Uri = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!((uri.host(), uri.path(), uri.query()), (Some(at.host.as_str()), at.path.as_str(), None), "{url}");
        // An endpoint without its path, told by what is shown of it, is the same server.
        let again = Endpoint::overridden(&format!("{scheme}://{}", at.authority())).unwrap();
        let there = again.locate(&bucket(), None);
        assert_eq!((there.scheme, there.host, there.port), (at.scheme, at.host, at.port), "{url}");
    }
    if let Ok(region) = Region::new(text) {
        assert_eq!(region.as_str(), text);
        for endpoint in [Endpoint::regional(region.clone()), Endpoint::dual_stack(region)] {
            let at = endpoint.locate(&bucket(), Some(&key));
            let label = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !text.is_empty();
            assert!(at.scheme == Scheme::Https && at.host.split('.').all(label), "{}", at.host);
        }
    }
});
