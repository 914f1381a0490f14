//! ListMultipartUploads: pages of any keys are written as `encoding-type=url` spells them, and read again.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use xpsync::s3::multipart::listing::{ListMultipartUploads, OpenUpload, UploadMarker, UploadPage};
use xpsync::s3::{Key, UploadId};
use xpsync_fuzz::{Word, any_key, bucket, escaped, is_plain, reply, url};

#[derive(Debug)]
struct Keyed(Key);

impl<'a> Arbitrary<'a> for Keyed {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        any_key(u).map(Self)
    }
}

#[derive(Debug, Arbitrary)]
struct Upload {
    key: Keyed,
    id: Word,
    initiator: Option<Word>,
}

fn page(uploads: Vec<Upload>, next: Option<(Keyed, Word)>) -> UploadPage {
    let upload = |upload: Upload| OpenUpload {
        key: upload.key.0,
        upload: UploadId::new(&upload.id.0).unwrap(),
        initiator: upload.initiator.map(|word| word.0),
        initiated: None,
    };
    let marker = |(key, id): (Keyed, Word)| UploadMarker { key: key.0.as_str().to_owned(), upload: id.0 };
    UploadPage { uploads: uploads.into_iter().map(upload).collect(), next: next.map(marker) }
}

fn written(page: &UploadPage) -> String {
    let mut body = String::from("<ListMultipartUploadsResult><EncodingType>url</EncodingType>");
    for upload in &page.uploads {
        let initiator =
            upload.initiator.as_deref().map(|id| format!("<Initiator><ID>{}</ID></Initiator>", escaped(id)));
        body += &format!(
            "<Upload><Key>{}</Key><UploadId>{}</UploadId>{}</Upload>",
            url(upload.key.as_str()),
            escaped(upload.upload.as_str()),
            initiator.unwrap_or_default(),
        );
    }
    match &page.next {
        Some(next) => {
            body += &format!(
                "<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker>\
                 <NextUploadIdMarker>{}</NextUploadIdMarker>",
                url(&next.key),
                escaped(&next.upload),
            );
        }
        None => body += "<IsTruncated>false</IsTruncated>",
    }
    body + "</ListMultipartUploadsResult>"
}

/// Whether the texts that are not URL-encoded can be written as they are, and nothing else is lost.
fn is_spellable(page: &UploadPage) -> bool {
    let fits = |text: &str| text.trim() == text && text.chars().all(is_plain);
    page.next.as_ref().is_none_or(|next| fits(&next.upload))
        && page.uploads.iter().all(|upload| {
            upload.initiated.is_none() && fits(upload.upload.as_str()) && upload.initiator.as_deref().is_none_or(fits)
        })
}

fuzz_target!(|data: &[u8]| {
    let list = ListMultipartUploads { bucket: bucket(), prefix: String::new(), after: None };
    let round_trip = |page: UploadPage| {
        let body = written(&page);
        assert_eq!(reply(&list, body.as_bytes()), Some(page), "{body}");
    };
    if let Some(page) = reply(&list, data)
        && is_spellable(&page)
    {
        round_trip(page);
    }
    if let Ok((uploads, next)) = Arbitrary::arbitrary(&mut Unstructured::new(data)) {
        round_trip(page(uploads, next));
    }
});
