//! ListObjectVersions: pages of any keys are written as `encoding-type=url` spells them, and read again.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::versions::{ListObjectVersions, ListedVersion, VersionKind, VersionMarker, VersionPage};
use xpsync::s3::{Key, VersionId};
use xpsync_fuzz::{Word, any_key, bucket, escaped, is_plain, reply, url};

#[derive(Debug)]
struct Keyed(Key);

impl<'a> Arbitrary<'a> for Keyed {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        any_key(u).map(Self)
    }
}

/// Objects and delete markers, as they are listed apart.
type Listed = (Vec<(Keyed, Word)>, Vec<(Keyed, Word)>);

fn page((objects, markers): Listed, next: Option<(Keyed, Option<Word>)>) -> VersionPage {
    let of = |kind| {
        move |(key, id): (Keyed, Word)| ListedVersion {
            key: key.0,
            version: VersionId::new(&id.0).unwrap(),
            kind,
            modified: None,
        }
    };
    let objects = objects.into_iter().map(of(VersionKind::Object));
    let versions = objects.chain(markers.into_iter().map(of(VersionKind::Marker))).collect();
    let marker = |(key, id): (Keyed, Option<Word>)| VersionMarker {
        key: key.0.as_str().to_owned(),
        version: id.map(|word| word.0),
    };
    VersionPage { versions, next: next.map(marker) }
}

fn written(page: &VersionPage) -> String {
    let mut body = String::from("<ListVersionsResult><EncodingType>url</EncodingType>");
    for version in &page.versions {
        let name = match version.kind {
            VersionKind::Object => "Version",
            VersionKind::Marker => "DeleteMarker",
        };
        let (key, id) = (url(version.key.as_str()), escaped(version.version.as_str()));
        body += &format!("<{name}><Key>{key}</Key><VersionId>{id}</VersionId></{name}>");
    }
    match &page.next {
        Some(next) => {
            body += &format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker>", url(&next.key));
            if let Some(version) = &next.version {
                body += &format!("<NextVersionIdMarker>{}</NextVersionIdMarker>", escaped(version));
            }
        }
        None => body += "<IsTruncated>false</IsTruncated>",
    }
    body + "</ListVersionsResult>"
}

/// Whether the texts that are not URL-encoded can be written as they are, and nothing else is lost.
fn is_spellable(page: &VersionPage) -> bool {
    let fits = |text: &str| text.trim() == text && text.chars().all(is_plain);
    page.next.as_ref().and_then(|next| next.version.as_deref()).is_none_or(fits)
        && page.versions.iter().all(|version| version.modified.is_none() && fits(version.version.as_str()))
}

fuzz_target!(|data: &[u8]| {
    let list = ListObjectVersions { bucket: bucket(), prefix: String::new(), after: None };
    let round_trip = |page: VersionPage| {
        let body = written(&page);
        assert_eq!(reply(&list, body.as_bytes()), Some(page), "{body}");
    };
    if let Some(page) = reply(&list, data)
        && is_spellable(&page)
    {
        round_trip(page);
    }
    if let Ok((versions, next)) = Arbitrary::arbitrary(&mut Unstructured::new(data)) {
        round_trip(page(versions, next));
    }
});
