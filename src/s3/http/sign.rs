//! Signature Version 4 by `aws-sigv4`, with the settings that S3 wants: keys are not encoded twice, paths not
//! normalised.
//!
//! Payloads are `UNSIGNED-PAYLOAD`: TLS protects them on the way and a checksum header proves them ("Authenticating
//! requests: using the Authorization header"). Where the checksum follows the bytes, the payload is
//! `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::SystemTime;
use thiserror::Error;

/// A request that could not be signed.
#[derive(Debug, Error)]
#[error("the request cannot be signed: {0}")]
pub struct Unsignable(String);

/// What is signed besides the request itself.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The keys.
    pub credentials: &'a Credentials,
    /// The region of the bucket.
    pub region: &'a str,
    /// The time of signing.
    pub now: SystemTime,
}

/// Signs a request, adding `authorization`, `x-amz-date`, `x-amz-content-sha256` and, with temporary keys,
/// `x-amz-security-token` to `headers`, which must hold all that is to be sent.
///
/// # Errors
/// [`Unsignable`] for a header that is not UTF-8 or a URI that is none.
pub fn sign_unsigned_payload(
    method: &Method,
    uri: &str,
    headers: &mut HeaderMap,
    scope: Scope<'_>,
) -> Result<(), Unsignable> {
    sign_with_body("s3", method, uri, headers, scope, SignableBody::UnsignedPayload)
}

/// The same for a body in `aws-chunked` framing that ends with its checksum.
///
/// # Errors
/// As [`sign_unsigned_payload`].
pub(crate) fn sign_unsigned_trailer(
    method: &Method,
    uri: &str,
    headers: &mut HeaderMap,
    scope: Scope<'_>,
) -> Result<(), Unsignable> {
    sign_with_body("s3", method, uri, headers, scope, SignableBody::StreamingUnsignedPayloadTrailer)
}

/// Signs the POST of a document to another service, by the name that it is signed for. Its path is `/`, so that what S3
/// wants of paths makes no difference.
///
/// # Errors
/// As [`sign_unsigned_payload`].
pub(crate) fn sign_document(
    service: &str,
    uri: &str,
    headers: &mut HeaderMap,
    document: &[u8],
    scope: Scope<'_>,
) -> Result<(), Unsignable> {
    sign_with_body(service, &Method::POST, uri, headers, scope, SignableBody::Bytes(document))
}

fn sign_with_body(
    service: &str,
    method: &Method,
    uri: &str,
    headers: &mut HeaderMap,
    scope: Scope<'_>,
    body: SignableBody<'_>,
) -> Result<(), Unsignable> {
    let unsignable = |error: &dyn std::fmt::Display| Unsignable(error.to_string());
    let identity = scope.credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(service)
        .time(scope.now)
        .settings(settings)
        .build()
        .map_err(|error| unsignable(&error))?
        .into();
    let mut pairs = Vec::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        let value = std::str::from_utf8(value.as_bytes()).map_err(|_| unsignable(name))?;
        pairs.push((name.as_str(), value));
    }
    let request =
        SignableRequest::new(method.as_str(), uri, pairs.into_iter(), body).map_err(|error| unsignable(&error))?;
    let (instructions, _) = sign(request, &params).map_err(|error| unsignable(&error))?.into_parts();
    let (added, _) = instructions.into_parts();
    for header in added {
        let mut value = HeaderValue::from_str(header.value()).map_err(|error| unsignable(&error))?;
        value.set_sensitive(header.sensitive());
        headers.insert(HeaderName::from_static(header.name()), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::http::endpoint::{Endpoint, Region};
    use crate::s3::{Bucket, Key};
    use std::time::{Duration, UNIX_EPOCH};

    /// The instant and the keys of "Signature calculations for the Authorization header", examples.
    fn example(method: Method, uri: &str, extra: &[(&'static str, &'static str)], body: SignableBody<'_>) -> String {
        let credentials =
            Credentials::from_keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
        let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let mut headers: HeaderMap = extra.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        let scope = Scope { credentials: &credentials, region: "us-east-1", now };
        sign_with_body("s3", &method, uri, &mut headers, scope, body).unwrap();
        let text = headers["authorization"].to_str().unwrap();
        text.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn awss_published_get_object_is_signed_alike() {
        let uri = "https://examplebucket.s3.amazonaws.com/test.txt";
        assert_eq!(
            example(Method::GET, uri, &[("range", "bytes=0-9")], SignableBody::Bytes(b"")),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn awss_published_put_object_is_signed_alike() {
        let uri = "https://examplebucket.s3.amazonaws.com/test%24file.text";
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert_eq!(
            example(Method::PUT, uri, &headers, SignableBody::Bytes(b"Welcome to Amazon S3.")),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }

    #[test]
    fn awss_published_lifecycle_and_listing_are_signed_alike() {
        let check = |uri: &str, expected: &str| {
            assert_eq!(example(Method::GET, uri, &[], SignableBody::Bytes(b"")), expected);
        };
        check(
            "https://examplebucket.s3.amazonaws.com/?lifecycle",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        check(
            "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    /// Signatures of botocore's S3SigV4Auth for the same requests at the same instant.
    fn odd_key(key: &str) -> String {
        let endpoint = Endpoint::regional(Region::new("us-east-1").unwrap());
        let location = endpoint.locate(&Bucket::new("examplebucket").unwrap(), Some(&Key::new(key).unwrap()));
        let uri = format!("https://{}{}", location.authority(), location.path);
        example(Method::GET, &uri, &[], SignableBody::UnsignedPayload)
    }

    #[test]
    fn odd_keys_are_signed_as_botocore_signs_them() {
        let long = format!("{}é", "日".repeat(340) + "ab");
        assert_eq!(long.len(), 1024);
        let vectors = include_str!("sign_vectors.txt");
        let mut checked = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let (key, signature) = line.split_once('\t').unwrap();
            let key: String = serde_json::from_str(key).unwrap();
            let key = if key == "LONG" { long.clone() } else { key };
            assert_eq!(odd_key(&key), signature, "{key:?}");
            checked += 1;
        }
        assert_eq!(checked, 18);
    }

    #[test]
    fn awss_published_chunked_upload_with_a_trailer_is_signed_alike() {
        // "Signature calculations for trailing headers (chunked uploads)": the seed signature of a payload whose chunks
        // are signed too.
        let uri = "https://s3.amazonaws.com/examplebucket/chunkObject.txt";
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
        ];
        let payload = SignableBody::Precomputed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".into());
        assert_eq!(
            example(Method::PUT, uri, &headers, payload),
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
        );
    }

    #[test]
    fn a_part_with_a_trailer_is_signed_as_botocore_signs_it() {
        // botocore 1.44.5, S3SigV4Auth with a request_algorithm in a trailer and without payload signing.
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("content-length", "58"),
            ("x-amz-decoded-content-length", "9"),
            ("x-amz-trailer", "x-amz-checksum-crc64nvme"),
        ];
        assert_eq!(
            example(
                Method::PUT,
                "https://examplebucket.s3.amazonaws.com/a%20key?partNumber=1&uploadId=a%2Bb",
                &headers,
                SignableBody::StreamingUnsignedPayloadTrailer
            ),
            "0fd87686e3c0f4d546321a0b0f21e95e30c7604e87e110628695bfb778fad434"
        );
    }

    #[test]
    fn temporary_keys_carry_their_token() {
        let credentials = Credentials::from_keys("AK", "SK", Some("token".into()));
        let mut headers = HeaderMap::new();
        let scope = Scope { credentials: &credentials, region: "cn-north-1", now: UNIX_EPOCH };
        sign_unsigned_payload(&Method::GET, "https://h/k", &mut headers, scope).unwrap();
        assert_eq!(headers["x-amz-security-token"], "token");
        assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
        assert!(headers["x-amz-security-token"].is_sensitive());
    }
}
