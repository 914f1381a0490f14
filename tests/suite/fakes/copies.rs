//! The embedded server's copies, held to what AWS documents of CopyObject and UploadPartCopy.
use crate::rig::{content, pair};
use fakes::store::attributes::Attributes;
use fakes::store::content::{Algorithm, Intake, hex};
use fakes::store::object::{BucketConfig, Encryption, Object};
use http::{Method, StatusCode};
use xpsync::demo::pair::{Pair, TARGET_BUCKET};
use xpsync::s3::http::message::Unreadable;
use xpsync::s3::http::message::{Head, Headers, Query};
use xpsync::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use xpsync::s3::{Bucket, Key};
use xpsync::wire::client::attempt::Attempts;
use xpsync::wire::client::call::Client;
use xpsync::wire::client::config::Config;
use xpsync::wire::client::retry::Persistence;
use xpsync::wire::deadline::Deadline;

/// A PUT with whatever headers and query; it answers with its document.
struct Put {
    bucket: Bucket,
    key: Key,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Put {
    fn copy(from: &str, to: &str) -> Self {
        let headers = vec![("x-amz-copy-source".to_owned(), format!("{TARGET_BUCKET}/{from}"))];
        Self { bucket: Bucket::new(TARGET_BUCKET).unwrap(), key: Key::new(to).unwrap(), query: Vec::new(), headers }
    }

    fn part(from: &str, to: &str, upload: &str, number: u32) -> Self {
        let query = vec![("partNumber".into(), number.to_string()), ("uploadId".into(), upload.into())];
        Self { query, ..Self::copy(from, to) }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn replace(self) -> Self {
        self.header("x-amz-metadata-directive", "REPLACE")
    }

    /// What was made of it, or the status and the code of the refusal.
    async fn send(self, client: &Client) -> Result<String, (u16, String)> {
        let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
        client.call(&self, &mut attempts).await.map_err(|error| {
            let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
            (refusal.status, refusal.code.clone())
        })
    }
}

impl Operation for Put {
    const NAME: &'static str = "Put";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = String;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        for (name, value) in &self.query {
            query.pair(name, value);
        }
    }

    fn headers(&self, headers: &mut Headers) {
        for (name, value) in &self.headers {
            headers.set(name, value);
        }
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<String, Unreadable> {
        Ok(String::from_utf8_lossy(body).into_owned())
    }
}

fn refused(status: u16, code: &str) -> Result<String, (u16, String)> {
    Err((status, code.to_owned()))
}

fn element(document: &str, name: &str) -> String {
    let (_, rest) = document.split_once(&format!("<{name}>")).unwrap();
    rest.split_once(&format!("</{name}>")).unwrap().0.replace("&quot;", "")
}

fn attributes() -> Attributes {
    Attributes::default()
        .header("content-type", "text/plain")
        .header("x-amz-website-redirect-location", "/there")
        .meta("a", "b")
        .tag("k", "v")
        .storage_class("STANDARD_IA")
}

/// `single` and `parts` in the bucket, and a client for it.
async fn world(config: BucketConfig) -> (Pair, Client) {
    let pair = pair().await;
    let store = pair.target.store();
    store.create_bucket(TARGET_BUCKET, config);
    store.set_smallest_part(4);
    store.put(TARGET_BUCKET, "single", content(100, 1), attributes()).unwrap();
    store.put_parts(TARGET_BUCKET, "parts", [content(60, 2), content(40, 3)], attributes()).unwrap();
    let client = pair.target_client(Config::new("target", 4)).unwrap();
    (pair, client)
}

fn get(pair: &Pair, key: &str) -> std::sync::Arc<Object> {
    pair.target.store().get(TARGET_BUCKET, key).unwrap()
}

fn begun(pair: &Pair) -> String {
    pair.target.open_uploads().pop().unwrap().id
}

/// An upload for a key, its id.
async fn begin(pair: &Pair, client: &Client, key: &str) -> String {
    use xpsync::s3::multipart::upload::CreateMultipartUpload;
    use xpsync::s3::object::put::ObjectOptions;
    let (bucket, key) = (Bucket::new(TARGET_BUCKET).unwrap(), Key::new(key).unwrap());
    let create = CreateMultipartUpload { bucket, key, style: ObjectOptions::default() };
    let mut attempts = Attempts::new(Persistence::Control, &Deadline::never());
    let id = client.call(&create, &mut attempts).await.unwrap();
    assert_eq!(begun(pair), id.as_str());
    id.as_str().to_owned()
}

#[tokio::test]
async fn a_copy_has_the_etag_of_one_put_whatever_it_is_a_copy_of() {
    let (pair, client) = world(BucketConfig::default()).await;
    for key in ["single", "parts"] {
        let (source, to) = (get(&pair, key), format!("copy of {key}"));
        let document = Put::copy(key, &to).send(&client).await.unwrap();
        let made = get(&pair, &to);
        let put = pair.target.store().put(TARGET_BUCKET, "put", source.bytes(), Attributes::default()).unwrap();
        assert_eq!((&made.etag, made.bytes()), (&put.etag, source.bytes()));
        assert_eq!((&made.checksum, made.parts.len()), (&source.checksum, 0));
        assert_eq!(element(&document, "ETag"), put.etag);
        assert_eq!(element(&document, "ChecksumCRC64NVME"), source.checksum.as_ref().unwrap().value);
    }
}

#[tokio::test]
async fn directives_say_whose_metadata_and_tags_a_copy_has() {
    let (pair, client) = world(BucketConfig::default()).await;
    Put::copy("single", "copied").send(&client).await.unwrap();
    let copied = get(&pair, "copied").attributes.clone();
    // Neither the redirect nor the storage class is copied.
    assert_eq!((copied.get("x-amz-meta-a"), copied.get("x-amz-website-redirect-location")), (Some("b"), None));
    assert_eq!((copied.tags.len(), copied.storage_class), (1, None));
    let replaced = || Put::copy("single", "replaced").replace().header("x-amz-meta-c", "d");
    replaced().send(&client).await.unwrap();
    let attributes = get(&pair, "replaced").attributes.clone();
    assert_eq!((attributes.get("x-amz-meta-a"), attributes.get("x-amz-meta-c")), (None, Some("d")));
    assert_eq!((attributes.get("content-type"), attributes.tags.len()), (None, 1));
    let tags = |put: Put| put.header("x-amz-tagging-directive", "REPLACE");
    tags(replaced()).header("x-amz-tagging", "x=y").send(&client).await.unwrap();
    assert_eq!(get(&pair, "replaced").attributes.tags, [("x".to_owned(), "y".to_owned())]);
    tags(replaced()).send(&client).await.unwrap();
    assert_eq!(get(&pair, "replaced").attributes.tags, []);
    let odd = Put::copy("single", "odd").header("x-amz-metadata-directive", "KEEP").send(&client).await;
    assert_eq!(odd, refused(400, "InvalidArgument"));
}

#[tokio::test]
async fn a_copy_onto_itself_has_to_change_something() {
    let (pair, client) = world(BucketConfig::default()).await;
    let before = get(&pair, "parts").etag.clone();
    assert_eq!(Put::copy("parts", "parts").send(&client).await, refused(400, "InvalidRequest"));
    assert_eq!(get(&pair, "parts").etag, before);
    Put::copy("parts", "parts").header("x-amz-storage-class", "STANDARD_IA").send(&client).await.unwrap();
    Put::copy("single", "single").replace().send(&client).await.unwrap();
    assert_eq!((get(&pair, "parts").parts.len(), get(&pair, "single").attributes.tags.len()), (0, 1));
}

#[tokio::test]
async fn conditions_hold_on_both_sides() {
    let (pair, client) = world(BucketConfig::default()).await;
    let etag = format!("\"{}\"", get(&pair, "single").etag);
    let check = async |name: &str, value: &str, to: &str, expected: Option<(u16, &str)>| {
        let answer = Put::copy("single", to).replace().header(name, value).send(&client).await;
        assert_eq!(answer.err(), expected.map(|(status, code)| (status, code.to_owned())), "{name}: {value}");
    };
    check("x-amz-copy-source-if-match", &etag, "to", None).await;
    check("x-amz-copy-source-if-match", "\"other\"", "to", Some((412, "PreconditionFailed"))).await;
    check("x-amz-copy-source-if-none-match", &etag, "to", Some((412, "PreconditionFailed"))).await;
    check("if-none-match", "*", "to", Some((412, "PreconditionFailed"))).await;
    check("if-none-match", "*", "new", None).await;
    check("if-match", "\"other\"", "to", Some((412, "PreconditionFailed"))).await;
    check("if-match", &etag, "to", None).await;
    check("if-match", &etag, "absent", Some((404, "NoSuchKey"))).await;
    assert!(pair.target.store().get(TARGET_BUCKET, "absent").is_none());
}

#[tokio::test]
async fn what_is_copied_is_named_as_in_a_url() {
    let (pair, client) = world(BucketConfig { versioned: true, ..BucketConfig::default() }).await;
    let store = pair.target.store();
    store.put(TARGET_BUCKET, "ü?+ /%", content(5, 5), Attributes::default()).unwrap();
    Put::copy("%C3%BC%3F%2B%20/%25", "to").send(&client).await.unwrap();
    assert_eq!(get(&pair, "to").bytes(), content(5, 5));
    let old = store.versions(TARGET_BUCKET, "single").pop().unwrap();
    store.put(TARGET_BUCKET, "single", content(7, 7), Attributes::default()).unwrap();
    Put::copy(&format!("single?versionId={old}"), "single").send(&client).await.unwrap();
    assert_eq!(get(&pair, "single").bytes(), content(100, 1), "an old version onto itself is a rollback");
    assert_eq!(store.versions(TARGET_BUCKET, "single").len(), 3);
    assert_eq!(Put::copy("single?versionId=none", "to").send(&client).await, refused(404, "NoSuchVersion"));
    assert_eq!(Put::copy("absent", "to").send(&client).await, refused(404, "NoSuchKey"));
    store.delete(TARGET_BUCKET, "single").unwrap();
    let marker = store.versions(TARGET_BUCKET, "single").pop().unwrap();
    assert_eq!(Put::copy("single", "to").send(&client).await, refused(404, "NoSuchKey"));
    let of_marker = Put::copy(&format!("single?versionId={marker}"), "to").send(&client).await;
    assert_eq!(of_marker, refused(400, "InvalidRequest"));
    for unreadable in ["", "/", "only-a-bucket"] {
        let put = Put { headers: vec![("x-amz-copy-source".into(), unreadable.into())], ..Put::copy("", "to") };
        assert_eq!(put.send(&client).await, refused(400, "InvalidArgument"), "{unreadable}");
    }
}

#[tokio::test]
async fn a_part_is_a_range_of_what_it_is_copied_from() {
    let (pair, client) = world(BucketConfig::default()).await;
    let id = begin(&pair, &client, "to").await;
    let range = |range: &str| Put::part("parts", "to", &id, 1).header("x-amz-copy-source-range", range);
    let document = range("bytes=10-69").send(&client).await.unwrap();
    let whole = get(&pair, "parts").bytes();
    let put = pair.target.store().put(TARGET_BUCKET, "put", whole[10..70].to_vec(), Attributes::default()).unwrap();
    assert_eq!(element(&document, "ETag"), put.etag);
    assert_eq!(element(&document, "ChecksumCRC64NVME"), put.checksum.as_ref().unwrap().value);
    Put::part("single", "to", &id, 2).send(&client).await.unwrap();
    let parts = pair.target.open_uploads().pop().unwrap().parts();
    assert_eq!(parts.iter().map(|part| (part.number, part.size)).collect::<Vec<_>>(), [(1, 60), (2, 100)]);
    for bad in ["bytes=0-100", "bytes=5-4", "bytes=5-", "5-6", "bytes=a-b"] {
        assert_eq!(range(bad).send(&client).await, refused(400, "InvalidArgument"), "{bad}");
    }
    let gone = Put::part("parts", "to", "gone", 1).send(&client).await;
    assert_eq!(gone, refused(404, "NoSuchUpload"));
    let other = range("bytes=0-9").header("x-amz-copy-source-if-match", "\"other\"").send(&client).await;
    assert_eq!(other, refused(412, "PreconditionFailed"));
    // Of what is not larger than the smallest part there are no ranges.
    pair.target.store().put(TARGET_BUCKET, "tiny", content(4, 1), Attributes::default()).unwrap();
    let tiny = || Put::part("tiny", "to", &id, 3);
    let ranged = tiny().header("x-amz-copy-source-range", "bytes=0-3").send(&client).await;
    assert_eq!(ranged, refused(400, "InvalidRequest"));
    tiny().send(&client).await.unwrap();
}

#[tokio::test]
async fn under_kms_copies_are_opaque_and_want_the_rights_to_the_key() {
    let kms = BucketConfig { encryption: Encryption::Kms("key".into()), ..BucketConfig::default() };
    let (pair, client) = world(kms).await;
    let source = get(&pair, "single");
    let document = Put::copy("single", "to").send(&client).await.unwrap();
    let made = get(&pair, "to");
    assert!(made.etag != source.etag && made.checksum == source.checksum);
    assert_eq!(element(&document, "ETag"), made.etag);
    for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
        pair.target.policy().deny(action, "*", "");
        assert_eq!(Put::copy("single", "to").send(&client).await, refused(403, "AccessDenied"), "{action}");
        pair.target.policy().clear();
    }
    // A copy that is not encrypted with KMS has the MD5 that what it is a copy of never showed.
    Put::copy("single", "plain").header("x-amz-server-side-encryption", "AES256").send(&client).await.unwrap();
    let mut intake = Intake::new(None);
    intake.push(source.bytes().into());
    assert_eq!(get(&pair, "plain").etag, hex(&intake.finish().1.md5));
}

#[tokio::test]
async fn a_checksum_is_kept_or_made_as_it_is_asked_for() {
    let (pair, client) = world(BucketConfig::default()).await;
    let made = |key: &str| get(&pair, key).checksum.as_ref().unwrap().algorithm;
    Put::copy("single", "to").header("x-amz-checksum-algorithm", "CRC32C").send(&client).await.unwrap();
    assert_eq!(made("to"), Algorithm::Crc32C);
    Put::copy("to", "kept").send(&client).await.unwrap();
    assert_eq!(made("kept"), Algorithm::Crc32C);
    Put::copy("to", "back").header("x-amz-checksum-algorithm", "CRC64NVME").send(&client).await.unwrap();
    assert_eq!(get(&pair, "back").checksum, get(&pair, "single").checksum);
}

#[tokio::test]
async fn each_right_that_a_copy_needs_is_asked_for() {
    let (pair, client) = world(BucketConfig::default()).await;
    pair.target.store().put(TARGET_BUCKET, "to", content(1, 1), Attributes::default()).unwrap();
    let etag = format!("\"{}\"", get(&pair, "single").etag);
    let denied = async |action: &str, prefix: &str, put: Put| {
        pair.target.policy().deny(action, TARGET_BUCKET, prefix);
        assert_eq!(put.send(&client).await, refused(403, "AccessDenied"), "{action}");
        pair.target.policy().clear();
    };
    denied("s3:GetObject", "single", Put::copy("single", "to")).await;
    denied("s3:PutObject", "to", Put::copy("single", "to")).await;
    denied("s3:GetObjectTagging", "single", Put::copy("single", "to")).await;
    denied("s3:PutObjectTagging", "to", Put::copy("single", "to")).await;
    denied("s3:GetObject", "to", Put::copy("single", "to").header("if-match", &etag)).await;
    let tagged = Put::copy("single", "to").header("x-amz-tagging-directive", "REPLACE").header("x-amz-tagging", "a=b");
    denied("s3:PutObjectTagging", "to", tagged).await;
    denied("s3:ListBucket", "", Put::copy("absent", "to")).await;
    let id = begin(&pair, &client, "to").await;
    denied("s3:GetObject", "single", Put::part("single", "to", &id, 1)).await;
    // Tags that are neither copied nor given need no right.
    pair.target.policy().allow_only(["s3:GetObject", "s3:PutObject"]);
    let untagged = Put::copy("single", "to").replace().header("x-amz-tagging-directive", "REPLACE");
    untagged.send(&client).await.unwrap();
}

#[tokio::test]
async fn what_is_archived_is_not_copied() {
    let (pair, client) = world(BucketConfig::default()).await;
    pair.target.store().change(TARGET_BUCKET, "single", |attributes| {
        attributes.storage_class = Some("GLACIER".into());
    });
    assert_eq!(Put::copy("single", "to").send(&client).await, refused(403, "ObjectNotInActiveTierError"));
}
