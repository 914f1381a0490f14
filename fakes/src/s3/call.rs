//! What a request asks for: operation, bucket, key, query. Path style only.
//!
//! Keys are any UTF-8: the path is taken from the request line as it is, cut at its first two slashes and decoded
//! once. Nothing between the socket and this place normalises `//`, `.` or `..` (hyper and `http::Uri` do not).

use crate::s3::refusal::Refusal;
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

/// The operations that the embedded server knows, under S3's names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateMultipartUpload,
    DeleteObject,
    GetBucketLocation,
    GetBucketVersioning,
    GetObject,
    GetObjectTagging,
    CreateBucket,
    HeadBucket,
    HeadObject,
    ListMultipartUploads,
    ListObjectVersions,
    ListObjectsV2,
    ListParts,
    PutObject,
    PutObjectTagging,
    UploadPart,
    UploadPartCopy,
    Unknown,
}

impl Operation {
    /// S3's name.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::CopyObject => "CopyObject",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::DeleteObject => "DeleteObject",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::GetBucketVersioning => "GetBucketVersioning",
            Self::GetObject => "GetObject",
            Self::GetObjectTagging => "GetObjectTagging",
            Self::CreateBucket => "CreateBucket",
            Self::HeadBucket => "HeadBucket",
            Self::HeadObject => "HeadObject",
            Self::ListMultipartUploads => "ListMultipartUploads",
            Self::ListObjectVersions => "ListObjectVersions",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListParts => "ListParts",
            Self::PutObject => "PutObject",
            Self::PutObjectTagging => "PutObjectTagging",
            Self::UploadPart => "UploadPart",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::Unknown => "Unknown",
        }
    }
}

/// A request's address.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    /// The path as it was sent.
    pub(crate) path: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// The query as it was sent.
    pub(crate) query: String,
    pairs: Vec<(String, String)>,
}

impl Call {
    /// Reads it from a request line.
    ///
    /// # Errors
    /// `InvalidURI` for what is not UTF-8 once decoded, `KeyTooLongError` above 1,024 bytes.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        let path = uri.path();
        let (bucket, key) = path
            .strip_prefix('/')
            .unwrap_or(path)
            .split_once('/')
            .unwrap_or((path.strip_prefix('/').unwrap_or(path), ""));
        let query = uri.query().unwrap_or_default();
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?));
        }
        let mut call = Self {
            operation: Operation::Unknown,
            method: method.clone(),
            path: path.to_owned(),
            bucket: decode(bucket)?,
            key: decode(key)?,
            query: query.to_owned(),
            pairs,
        };
        if call.key.len() > 1024 {
            let size = call.key.len().to_string();
            return Err(Refusal::of("KeyTooLongError").detail("Size", size).detail("MaxSizeAllowed", "1024"));
        }
        call.operation = call.resolve(headers);
        Ok(call)
    }

    /// An address that could not be read, for the record.
    pub(crate) fn unreadable(method: &Method, uri: &Uri) -> Self {
        Self {
            operation: Operation::Unknown,
            method: method.clone(),
            path: uri.path().to_owned(),
            bucket: String::new(),
            key: String::new(),
            query: uri.query().unwrap_or_default().to_owned(),
            pairs: Vec::new(),
        }
    }

    /// A value of the query.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The version id asked for; an empty one is none.
    pub(crate) fn version(&self) -> Option<&str> {
        self.get("versionId").filter(|id| !id.is_empty())
    }

    fn resolve(&self, headers: &HeaderMap) -> Operation {
        let unserved =
            ["acl", "attributes", "cors", "delete", "legal-hold", "policy", "restore", "retention", "select"];
        if self.bucket.is_empty() || unserved.iter().any(|name| self.has(name)) {
            return Operation::Unknown;
        }
        match (self.key.is_empty(), &self.method) {
            (true, &Method::HEAD) => Operation::HeadBucket,
            (true, &Method::PUT) if !self.has("versioning") => Operation::CreateBucket,
            (true, &Method::GET) if self.has("uploads") => Operation::ListMultipartUploads,
            (true, &Method::GET) if self.has("versions") => Operation::ListObjectVersions,
            (true, &Method::GET) if self.has("location") => Operation::GetBucketLocation,
            (true, &Method::GET) if self.has("versioning") => Operation::GetBucketVersioning,
            (true, &Method::GET) if self.get("list-type") == Some("2") => Operation::ListObjectsV2,
            (false, &Method::HEAD) => Operation::HeadObject,
            (false, &Method::GET) if self.has("tagging") => Operation::GetObjectTagging,
            (false, &Method::GET) if self.has("uploadId") => Operation::ListParts,
            (false, &Method::GET) => Operation::GetObject,
            (false, &Method::PUT) if headers.contains_key("x-amz-copy-source") => {
                if self.has("uploadId") {
                    Operation::UploadPartCopy
                } else {
                    Operation::CopyObject
                }
            }
            (false, &Method::PUT) if self.has("tagging") => Operation::PutObjectTagging,
            (false, &Method::PUT) if self.has("uploadId") => Operation::UploadPart,
            (false, &Method::PUT) => Operation::PutObject,
            (false, &Method::POST) if self.has("uploads") => Operation::CreateMultipartUpload,
            (false, &Method::POST) if self.has("uploadId") => Operation::CompleteMultipartUpload,
            (false, &Method::DELETE) if self.has("uploadId") => Operation::AbortMultipartUpload,
            (false, &Method::DELETE) if !self.has("tagging") => Operation::DeleteObject,
            _ => Operation::Unknown,
        }
    }

    /// The actions that it needs, beside those that only the object itself decides.
    pub(crate) fn actions(&self, headers: &HeaderMap) -> Vec<&'static str> {
        let versioned = self.version().is_some();
        let mut actions = Vec::new();
        match self.operation {
            Operation::GetObject | Operation::HeadObject if versioned => actions.push("s3:GetObjectVersion"),
            Operation::GetObject | Operation::HeadObject => actions.push("s3:GetObject"),
            Operation::PutObject
            | Operation::CopyObject
            | Operation::CreateMultipartUpload
            | Operation::UploadPart
            | Operation::UploadPartCopy
            | Operation::CompleteMultipartUpload => actions.push("s3:PutObject"),
            Operation::AbortMultipartUpload => actions.push("s3:AbortMultipartUpload"),
            Operation::ListParts => actions.push("s3:ListMultipartUploadParts"),
            Operation::ListMultipartUploads => actions.push("s3:ListBucketMultipartUploads"),
            Operation::ListObjectVersions => actions.push("s3:ListBucketVersions"),
            Operation::ListObjectsV2 | Operation::HeadBucket => actions.push("s3:ListBucket"),
            Operation::CreateBucket => actions.push("s3:CreateBucket"),
            Operation::GetBucketLocation => actions.push("s3:GetBucketLocation"),
            Operation::GetBucketVersioning => actions.push("s3:GetBucketVersioning"),
            Operation::GetObjectTagging if versioned => actions.push("s3:GetObjectVersionTagging"),
            Operation::GetObjectTagging => actions.push("s3:GetObjectTagging"),
            Operation::PutObjectTagging if versioned => actions.push("s3:PutObjectVersionTagging"),
            Operation::PutObjectTagging => actions.push("s3:PutObjectTagging"),
            Operation::DeleteObject if versioned => actions.push("s3:DeleteObjectVersion"),
            Operation::DeleteObject => actions.push("s3:DeleteObject"),
            Operation::Unknown => {}
        }
        let writes = matches!(
            self.operation,
            Operation::PutObject | Operation::CopyObject | Operation::CompleteMultipartUpload | Operation::DeleteObject
        );
        if writes && headers.contains_key(http::header::IF_MATCH) {
            actions.push("s3:GetObject");
        }
        let creates =
            matches!(self.operation, Operation::PutObject | Operation::CopyObject | Operation::CreateMultipartUpload);
        if creates && headers.contains_key("x-amz-tagging") {
            actions.push("s3:PutObjectTagging");
        }
        if creates && headers.contains_key("x-amz-acl") {
            actions.push("s3:PutObjectAcl");
        }
        actions
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| Refusal::of("InvalidURI"))
}
