//! Which advice goes with a failure: pure.

use crate::s3::error::{Class, Refusal, Remedy};
use crate::wire::error::Error;
use crate::wire::net::connect::Distrust;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where bytes are read.
    Source,
    /// Where they are written.
    Target,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
        }
    }
}

/// One sentence saying what to do, where one is known.
pub(crate) fn hint(end: Side, error: &Error) -> Option<String> {
    match error {
        Error::Refused { refusal, .. } => of_refusal(end, refusal),
        Error::Unconnected { source, .. } => Some(match source.distrust() {
            Some(distrust) => of_distrust(end.name(), distrust),
            None => of_path(end),
        }),
        Error::Lost { .. } => Some(of_path(end)),
        Error::Keys(keys) => keys.hint.clone(),
        Error::Unsendable { .. } => None,
    }
}

fn of_path(end: Side) -> String {
    match end {
        Side::Source => {
            "Check the source's endpoint and the route to it; in a VPC an S3 gateway endpoint or NAT is needed."
        }
        Side::Target => {
            "The border may be slow or closed; the next event or retry copies the object, and a function \
             in a VPC needs NAT to reach the target."
        }
    }
    .to_owned()
}

fn of_distrust(name: &str, distrust: Distrust) -> String {
    match distrust {
        Distrust::Stranger => format!(
            "The {name} answers with a certificate that is not trusted for its name; a private CA goes into AWS_CA_BUNDLE."
        ),
        Distrust::Dates => format!(
            "The {name}'s certificate is not valid now: see whether this machine's clock is right, and renew the certificate."
        ),
        Distrust::Language => format!(
            "What answers for the {name} does not speak TLS 1.2 or later; an endpoint without TLS has a URL that begins with \
             http://."
        ),
    }
}

fn of_refusal(end: Side, refusal: &Refusal) -> Option<String> {
    let name = end.name();
    let bucket = &refusal.bucket;
    Some(match (refusal.code.as_str(), end) {
        ("AccessDenied", _) if refusal.message.contains("kms:") => kms(name),
        ("AccessDenied", Side::Source) => format!(
            "Allow s3:GetObject, s3:GetObjectVersion, s3:GetObjectTagging and, so that an absent key is not answered with \
             403, s3:ListBucket on {bucket}."
        ),
        ("AccessDenied", Side::Target) if refusal.has_no_code() => format!(
            "{} did not say why: allow the target's user what target-s3-policy.json lists, s3:ListBucket on {bucket} included, \
             without which an absent key is answered with 403; and see that its keys are known there: keys of aws-cn are \
             nothing in aws and the reverse.",
            refusal.operation
        ),
        ("AccessDenied", Side::Target) => format!(
            "Allow the target's user s3:PutObject, s3:GetObject and the others of target-s3-policy.json, and s3:ListBucket \
             on {bucket}, without which an absent key is answered with 403."
        ),
        ("NoSuchBucket", _) => {
            format!("The {name} bucket {bucket} does not exist; check its name and the account of the keys.")
        }
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => format!(
            "The {name}'s keys are not known there: keys of aws-cn are nothing in aws and the reverse; check the secret or \
             the profile."
        ),
        ("ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired", _) => {
            format!("The {name}'s session token has expired; renew it.")
        }
        ("RequestTimeTooSkewed", _) => {
            "Set this machine's clock: S3 refuses requests that are 15 minutes off.".to_owned()
        }
        ("InvalidObjectState", _) => {
            "The object is archived; restore it, and the Object Restore Completed event copies it.".to_owned()
        }
        // "Using server-side encryption with customer-provided keys (SSE-C)": 400 to who does not send the key.
        ("InvalidRequest", _) if refusal.message.contains("Server Side Encryption") => {
            format!(
                "The {name} object is encrypted with a customer's key (SSE-C), which is not known here; copy it by hand."
            )
        }
        (code, _) if code.starts_with("KMS.") || code.starts_with("Kms") => kms(name),
        ("MetadataTooLarge" | "RequestHeaderSectionTooLarge", _) => {
            "The object's metadata or headers are more than S3 takes (2 KB, 8 KB); make them smaller at the source."
                .to_owned()
        }
        ("EntityTooLarge" | "KeyTooLongError", _) => return None,
        (_, _) if matches!(refusal.remedy, Some(Remedy::Region(_))) => {
            format!("The {name} bucket {bucket} is in another region or partition than the one configured.")
        }
        (_, _) if refusal.class == Class::Throttled => {
            format!("The {name} asks for fewer requests; they are sent again later.")
        }
        _ => return None,
    })
}

fn kms(name: &str) -> String {
    format!("Allow the {name}'s user kms:GenerateDataKey and kms:Decrypt on the key that encrypts its bucket.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn refusal(code: &str, message: &str) -> Error {
        let refusal = Refusal {
            operation: "PutObject",
            bucket: "bucket".into(),
            key: None,
            status: 403,
            code: code.into(),
            message: message.into(),
            request_id: None,
            host_id: None,
            class: Class::Refused,
            remedy: None,
            delete_marker: false,
            retry_after: None,
            server_time: None,
        };
        Error::Refused { refusal: Box::new(refusal), attempts: 1 }
    }

    #[test]
    fn each_known_refusal_has_its_advice() {
        let check = |end, code, message, expected: &str| {
            let hint = hint(end, &refusal(code, message)).unwrap();
            assert!(hint.contains(expected), "{code}: {hint}");
        };
        check(Side::Target, "AccessDenied", "Access Denied", "s3:PutObject");
        check(Side::Target, "AccessDenied", "Access Denied", "s3:ListBucket");
        // To a HEAD, which has no document to say more in.
        check(Side::Target, "AccessDenied", "", "s3:ListBucket");
        check(Side::Target, "AccessDenied", "", "aws-cn");
        check(Side::Source, "AccessDenied", "", "s3:ListBucket");
        check(Side::Target, "AccessDenied", "not authorized to perform: kms:GenerateDataKey", "kms:GenerateDataKey");
        check(Side::Target, "KMS.DisabledException", "", "kms:");
        check(Side::Target, "NoSuchBucket", "", "bucket");
        check(Side::Target, "InvalidAccessKeyId", "", "aws-cn");
        check(Side::Source, "RequestTimeTooSkewed", "", "clock");
        check(Side::Source, "InvalidObjectState", "", "restore");
        check(Side::Target, "ExpiredToken", "", "renew");
        check(Side::Target, "MetadataTooLarge", "", "2 KB");
        check(Side::Source, "InvalidRequest", "The object was stored using a form of Server Side Encryption.", "SSE-C");
        assert_eq!(hint(Side::Target, &refusal("InvalidRequest", "")), None);
        assert_eq!(hint(Side::Target, &refusal("Unheard", "")), None);
    }

    #[test]
    fn a_lost_border_says_that_it_is_tried_again() {
        let source = io::ErrorKind::TimedOut.into();
        let error = Error::Lost {
            operation: "PutObject",
            stage: crate::wire::error::LostAt::Head,
            source,
            repeat: crate::s3::operation::Idempotence::NotIdempotent,
            attempts: 3,
        };
        assert!(hint(Side::Target, &error).unwrap().contains("border"));
    }
}
