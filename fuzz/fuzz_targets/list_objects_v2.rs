//! ListObjectsV2: pages of any keys are written as `encoding-type=url` spells them, and read again.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::Key;
use xpsync::s3::bucket::{ListObjectsV2, ListedObject, ObjectPage};
use xpsync::s3::integrity::etag::ETag;
use xpsync_fuzz::{Word, any_key, bucket, escaped, is_plain, reply, url};

#[derive(Debug)]
struct Keyed(Key);

impl<'a> Arbitrary<'a> for Keyed {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        any_key(u).map(Self)
    }
}

#[derive(Debug, Arbitrary)]
struct Object {
    key: Keyed,
    size: u64,
    etag: Word,
    last_modified: Word,
    storage_class: Option<Word>,
}

fn page(objects: Vec<Object>, next: Option<Word>) -> ObjectPage {
    let object = |object: Object| ListedObject {
        key: object.key.0,
        size: object.size,
        etag: ETag::listed(&object.etag.0),
        last_modified: object.last_modified.0,
        storage_class: object.storage_class.map(|class| class.0),
    };
    ObjectPage { objects: objects.into_iter().map(object).collect(), next: next.map(|word| word.0) }
}

fn written(page: &ObjectPage) -> String {
    let mut body = String::from("<ListBucketResult><EncodingType>url</EncodingType>");
    for object in &page.objects {
        let class = object.storage_class.as_deref().map(|c| format!("<StorageClass>{}</StorageClass>", escaped(c)));
        body += &format!(
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>{}</Contents>",
            url(object.key.as_str()),
            escaped(&object.last_modified),
            escaped(&object.etag.quoted()),
            object.size,
            class.unwrap_or_default(),
        );
    }
    match &page.next {
        Some(next) => {
            body += "<IsTruncated>true</IsTruncated>";
            body += &format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(next));
        }
        None => body += "<IsTruncated>false</IsTruncated>",
    }
    body + "</ListBucketResult>"
}

/// Whether the texts that are not URL-encoded can be written as they are.
fn is_spellable(page: &ObjectPage) -> bool {
    let fits = |text: &str| text.trim() == text && text.chars().all(is_plain);
    page.next.as_deref().is_none_or(fits)
        && page.objects.iter().all(|object| {
            fits(object.etag.as_str())
                && fits(&object.last_modified)
                && object.storage_class.as_deref().is_none_or(fits)
        })
}

fuzz_target!(|data: &[u8]| {
    let list = ListObjectsV2 {
        bucket: bucket(),
        prefix: String::new(),
        start_after: None,
        continuation: None,
        max_keys: None,
    };
    let round_trip = |page: ObjectPage| {
        let body = written(&page);
        assert_eq!(reply(&list, body.as_bytes()), Some(page), "{body}");
    };
    if let Some(page) = reply(&list, data)
        && is_spellable(&page)
    {
        round_trip(page);
    }
    if let Ok((objects, next)) = Arbitrary::arbitrary(&mut Unstructured::new(data)) {
        round_trip(page(objects, next));
    }
});
