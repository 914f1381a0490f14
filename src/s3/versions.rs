//! Every version of a bucket's objects: ListObjectVersions.
//!
//! In a bucket that never had versions each object is listed as its version `null`, by which it can be deleted as well.

use crate::s3::bucket::{decoded, is_url};
use crate::s3::http::message::{Head, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::multipart::listing::iso_date;
use crate::s3::xml;
use crate::s3::{Bucket, Invalid, Key, VersionId};
use http::{Method, StatusCode};
use serde::Deserialize;

/// ListObjectVersions, a page.
#[derive(Debug, Clone)]
pub struct ListObjectVersions {
    /// The bucket.
    pub bucket: Bucket,
    /// Only keys that begin so.
    pub prefix: String,
    /// Versions after this one.
    pub after: Option<VersionMarker>,
}

/// Where a page of versions begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionMarker {
    /// The key.
    pub key: String,
    /// The version of that key; without one, the next key.
    pub version: Option<String>,
}

/// Versions that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPage {
    /// Objects, then delete markers; each by key, the newest first.
    pub versions: Vec<ListedVersion>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<VersionMarker>,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// An object.
    Object,
    /// A delete marker.
    Marker,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: Key,
    /// Its id, `null` for what was written without versions.
    pub version: VersionId,
    /// What it is.
    pub kind: VersionKind,
    /// When it was written, in seconds since 1970, if S3 says so.
    pub modified: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListVersionsResult {
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
    encoding_type: Option<String>,
    #[serde(rename = "Version", default)]
    objects: Vec<VersionResult>,
    #[serde(rename = "DeleteMarker", default)]
    markers: Vec<VersionResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionResult {
    key: String,
    version_id: String,
    last_modified: Option<String>,
}

impl Operation for ListObjectVersions {
    const NAME: &'static str = "ListObjectVersions";
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = VersionPage;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        None
    }

    fn query(&self, query: &mut Query) {
        query.flag("versions");
        query.pair("encoding-type", "url");
        query.pair("prefix", &self.prefix);
        if let Some(after) = &self.after {
            query.pair("key-marker", &after.key);
            query.optional("version-id-marker", after.version.as_deref());
        }
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<VersionPage, Unreadable> {
        let page: ListVersionsResult = xml::read(body, "ListVersionsResult")?;
        let encoding = is_url(page.encoding_type.as_deref());
        let invalid = |error: Invalid| Unreadable::new(error.to_string());
        let of = |kind| move |version| (kind, version);
        let found = page.objects.into_iter().map(of(VersionKind::Object));
        let versions = found
            .chain(page.markers.into_iter().map(of(VersionKind::Marker)))
            .map(|(kind, version)| {
                Ok(ListedVersion {
                    key: Key::new(&decoded(version.key, encoding)?).map_err(invalid)?,
                    version: VersionId::new(&version.version_id).map_err(invalid)?,
                    kind,
                    modified: version.last_modified.as_deref().and_then(iso_date),
                })
            })
            .collect::<Result<Vec<_>, Unreadable>>()?;
        let given = |marker: Option<String>| marker.filter(|marker| !marker.is_empty());
        let next = match (page.is_truncated, given(page.next_key_marker)) {
            (true, Some(key)) => {
                let version = given(page.next_version_id_marker);
                Some(VersionMarker { key: decoded(key, encoding)?, version })
            }
            (true, None) => return Err(Unreadable::new("a truncated ListObjectVersions without a marker")),
            (false, _) => None,
        };
        // Markers that do not move on would be followed for ever.
        if next.is_some() && next == self.after {
            return Err(Unreadable::new("a truncated ListObjectVersions whose markers do not move on"));
        }
        Ok(VersionPage { versions, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::spelled::{cut_anywhere_is_unreadable, head, reply, request};

    fn list(after: Option<VersionMarker>) -> ListObjectVersions {
        ListObjectVersions { bucket: Bucket::new("example-bucket").unwrap(), prefix: "a b+c".into(), after }
    }

    /// "ListObjectVersions", sample response, with the encoding that is asked for, and truncated.
    const VERSIONS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
    <Name>bucket</Name>
    <Prefix>my</Prefix>
    <KeyMarker/>
    <VersionIdMarker/>
    <NextKeyMarker>my+third%2Bimage.jpg</NextKeyMarker>
    <NextVersionIdMarker>UIORUnfndfhnw89493jJFJ</NextVersionIdMarker>
    <EncodingType>url</EncodingType>
    <MaxKeys>5</MaxKeys>
    <IsTruncated>true</IsTruncated>
    <Version>
        <Key>my-image.jpg</Key>
        <VersionId>3/L4kqtJl40Nr8X8gdRQBpUMLUo</VersionId>
        <IsLatest>true</IsLatest>
         <LastModified>2009-10-12T17:50:30.000Z</LastModified>
        <ETag>"fba9dede5f27731c9771645a39863328"</ETag>
        <Size>434234</Size>
        <StorageClass>STANDARD</StorageClass>
        <Owner>
            <ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID>
            <DisplayName>mtd@amazon.com</DisplayName>
        </Owner>
    </Version>
    <DeleteMarker>
        <Key>my-second-image.jpg</Key>
        <VersionId>03jpff543dhffds434rfdsFDN943fdsFkdmqnh892</VersionId>
        <IsLatest>true</IsLatest>
        <LastModified>2009-11-12T17:50:30.000Z</LastModified>
        <Owner>
            <ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID>
            <DisplayName>mtd@amazon.com</DisplayName>
        </Owner>
    </DeleteMarker>
    <Version>
        <Key>my+third%2Bimage.jpg</Key>
        <VersionId>null</VersionId>
        <IsLatest>false</IsLatest>
        <LastModified>not a date</LastModified>
        <ETag>"9b2cf535f27731c974343645a3985328"</ETag>
        <Size>166434</Size>
    </Version>
</ListVersionsResult>
"#;

    #[test]
    fn listing_versions_is_spelled_as_the_reference_spells_it() {
        assert_eq!(request(&list(None)), "GET /?versions=&encoding-type=url&prefix=a%20b%2Bc\n\n");
        let after = VersionMarker { key: "a b+c/d".into(), version: Some("id/1".into()) };
        assert_eq!(
            request(&list(Some(after.clone()))),
            "GET /?versions=&encoding-type=url&prefix=a%20b%2Bc&key-marker=a%20b%2Bc%2Fd&version-id-marker=id%2F1\n\n"
        );
        let key = VersionMarker { version: None, ..after };
        let spelled = "GET /?versions=&encoding-type=url&prefix=a%20b%2Bc&key-marker=a%20b%2Bc%2Fd\n\n";
        assert_eq!(request(&list(Some(key))), spelled);
    }

    #[test]
    fn a_page_of_versions_is_read() {
        let page = reply(&list(None), &head(200, ""), VERSIONS).unwrap();
        let [first, second, third] = page.versions.as_slice() else { panic!("{page:?}") };
        let of = |version: &ListedVersion| (version.key.to_string(), version.version.as_str().to_owned(), version.kind);
        let (object, marker) = (VersionKind::Object, VersionKind::Marker);
        assert_eq!(of(first), ("my-image.jpg".into(), "3/L4kqtJl40Nr8X8gdRQBpUMLUo".into(), object));
        assert_eq!(of(second), ("my third+image.jpg".into(), "null".into(), object));
        let third_id = "03jpff543dhffds434rfdsFDN943fdsFkdmqnh892".into();
        assert_eq!(of(third), ("my-second-image.jpg".into(), third_id, marker));
        assert_eq!((first.modified, second.modified), (Some(1_255_369_830), None));
        let next = VersionMarker { key: "my third+image.jpg".into(), version: Some("UIORUnfndfhnw89493jJFJ".into()) };
        assert_eq!(page.next, Some(next.clone()));
        cut_anywhere_is_unreadable(&list(None), VERSIONS);
        assert!(reply(&list(Some(next)), &head(200, ""), VERSIONS).is_err(), "its markers do not move on");
    }

    #[test]
    fn no_versions_are_a_page_too() {
        let body = "<ListVersionsResult><NextKeyMarker/><IsTruncated>false</IsTruncated></ListVersionsResult>";
        let page = reply(&list(None), &head(200, ""), body);
        assert_eq!(page, Ok(VersionPage { versions: Vec::new(), next: None }));
    }

    #[test]
    fn a_truncated_page_of_versions_needs_a_key_to_go_on_from() {
        for body in [
            VERSIONS.replace("NextKeyMarker", "Gone"),
            VERSIONS.replace("<NextKeyMarker>my+third%2Bimage.jpg<", "<NextKeyMarker><"),
            VERSIONS.replace("my+third%2Bimage.jpg</Next", "%ff</Next"),
        ] {
            assert!(reply(&list(None), &head(200, ""), &body).is_err(), "{body}");
        }
        let by_key = VERSIONS.replace("NextVersionIdMarker", "Gone");
        assert_eq!(reply(&list(None), &head(200, ""), &by_key).unwrap().next.unwrap().version, None);
    }

    #[test]
    fn a_page_of_versions_without_what_s3_always_sends_is_unreadable() {
        for field in ["IsTruncated", "Key", "VersionId"] {
            let body =
                VERSIONS.replacen(&format!("<{field}>"), "<Gone>", 1).replacen(&format!("</{field}>"), "</Gone>", 1);
            assert!(reply(&list(None), &head(200, ""), &body).is_err(), "{field}");
        }
        for body in ["<ListVersionsResult/>", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"] {
            assert!(reply(&list(None), &head(200, ""), body).is_err(), "{body}");
        }
    }
}
