//! Which advice goes with a failure: pure.

use crate::engine::fault::Side;
use crate::s3::error::{Class, Refusal, Remedy};
use crate::wire::error::Error;
use crate::wire::net::connect::Distrust;

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
            "Check the source's endpoint and the network route to it. A function in a VPC needs an S3 gateway endpoint \
             or NAT."
        }
        Side::Target => {
            "The target was not reached, or the connection was lost: the border may be slow or closed. A queued \
             message is retried by itself; from a shell run the command again. A function in a VPC needs NAT to reach \
             the target."
        }
    }
    .to_owned()
}

fn of_distrust(name: &str, distrust: Distrust) -> String {
    match distrust {
        Distrust::Stranger => format!(
            "The {name}'s TLS certificate is not trusted for this host name. Check the endpoint; if it uses a private CA, set AWS_CA_BUNDLE to its certificate file."
        ),
        Distrust::Dates => format!(
            "The {name}'s TLS certificate has expired or is not valid yet. Check this machine's clock; if it is right, the certificate must be renewed."
        ),
        Distrust::Language => format!(
            "The {name} does not offer TLS 1.2 or later. If its endpoint has no TLS on purpose, write its URL with http://."
        ),
    }
}

fn of_refusal(end: Side, refusal: &Refusal) -> Option<String> {
    let name = end.name();
    let bucket = &refusal.bucket;
    Some(match (refusal.code.as_str(), end) {
        ("AccessDenied", _) if refusal.message.contains("kms:") => kms(end),
        ("AccessDenied", Side::Source) => format!(
            "Allow s3:GetObject, s3:GetObjectVersion and s3:GetObjectTagging on {bucket}/*, and s3:ListBucket on \
             {bucket}. Without s3:ListBucket S3 answers 403 for a key that does not exist."
        ),
        ("AccessDenied", Side::Target) if refusal.has_no_code() => format!(
            "S3 gave no reason for refusing {}. Check two things: the target's user has the policy in \
             target-s3-policy.json, with s3:ListBucket on {bucket} (without it S3 answers 403 for a key that does not \
             exist); and its access key belongs to the target's partition (keys of aws-cn do not work in aws, nor the \
             reverse).",
            refusal.operation
        ),
        ("AccessDenied", Side::Target) => format!(
            "Give the target's user the policy in target-s3-policy.json: s3:PutObject, s3:GetObject and others, and \
             s3:ListBucket on {bucket} (without it S3 answers 403 for a key that does not exist)."
        ),
        ("NoSuchBucket", _) => {
            format!(
                "The {name} bucket {bucket} does not exist in this partition. Check its name, its region, and that \
                 the keys are of the right account."
            )
        }
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch", _) => format!(
            "The {name} does not accept the access key. Keys of aws-cn do not work in aws, nor the reverse: check the \
             secret or the profile."
        ),
        ("ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired", _) => {
            format!(
                "The {name}'s temporary credentials have expired or are invalid: log in again, or renew the session \
                 token."
            )
        }
        ("RequestTimeTooSkewed", _) => {
            "Correct this machine's clock: S3 refuses requests whose time is off by more than 15 minutes.".to_owned()
        }
        ("InvalidObjectState", _) => "The object is archived (Glacier). Restore it; the Object Restore Completed \
                                      event then copies it, or run the command again."
            .to_owned(),
        // "Using server-side encryption with customer-provided keys (SSE-C)": 400 to who does not send the key.
        ("InvalidRequest", _) if refusal.message.contains("Server Side Encryption") => {
            format!(
                "The {name} object is encrypted with a customer-provided key (SSE-C), which xpsync does not have. \
                 Copy it by hand."
            )
        }
        (code, _) if code.starts_with("KMS.") || code.starts_with("Kms") => kms(end),
        ("MetadataTooLarge" | "RequestHeaderSectionTooLarge", _) => "The object's metadata or headers exceed S3's \
                                                                     limits (2 KB of user metadata, 8 KB of headers). \
                                                                     Shorten them at the source."
            .to_owned(),
        ("EntityTooLarge" | "KeyTooLongError", _) => return None,
        (_, _) if matches!(refusal.remedy, Some(Remedy::Region(_))) => {
            format!(
                "The {name} bucket {bucket} is in another region or partition than the one configured. Correct the \
                 {name}'s region; if it is another partition, its keys are needed too."
            )
        }
        (_, _) if refusal.class == Class::Throttled => {
            format!("The {name} is throttling requests. They are retried; nothing to do unless it goes on for hours.")
        }
        _ => return None,
    })
}

fn kms(side: Side) -> String {
    match side {
        Side::Source => {
            "Allow the source's role or user kms:Decrypt on the KMS key of the object (template parameter \
             SourceKmsKeyArn)."
        }
        Side::Target => "Allow the target's user kms:GenerateDataKey and kms:Decrypt on the KMS key of the bucket.",
    }
    .to_owned()
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
        check(Side::Source, "InvalidObjectState", "", "Restore it");
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
            repeat: crate::s3::http::operation::Idempotence::NotIdempotent,
            attempts: 3,
        };
        assert!(hint(Side::Target, &error).unwrap().contains("border"));
    }
}
