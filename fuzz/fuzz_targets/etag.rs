//! ETags: our spelling is read back, a digest says what its text says, and what is opaque proves nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xpsync::s3::integrity::etag::{ETag, ETagKind};
use xpsync::s3::object::encryption::Encryption;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let listed = ETag::listed(text);
    assert_eq!(ETag::listed(&listed.quoted()), listed);
    for encryption in [Encryption::None, Encryption::Aes256, Encryption::Kms(None), Encryption::Customer] {
        let tag = ETag::new(text, &encryption);
        assert_eq!(ETag::new(&tag.quoted(), &encryption), tag);
        assert!(tag.is_same_state(&listed));
        assert!(!tag.proves_same_content(&listed));
        let made = match tag.kind() {
            ETagKind::ContentMd5(md5) => Some(ETag::of_content(md5)),
            ETagKind::Multipart(md5, parts) => Some(ETag::of_parts(md5, parts)),
            ETagKind::OpaqueMultipart(_) | ETagKind::Opaque | ETagKind::Unknown => None,
        };
        assert_eq!(tag.proves_same_content(&tag), made.is_some());
        if let Some(made) = made {
            assert!(encryption.keeps_md5());
            assert_eq!(made.kind(), tag.kind());
            assert!(made.as_str().eq_ignore_ascii_case(tag.as_str()), "{tag} is not {made}");
        }
    }
});
