//! ETags: what they are made of, and when two of them say "same content".
//!
//! "Checking object integrity": the ETag of a PUT is the MD5 of the bytes, that of a multipart upload the MD5 of the
//! parts' MD5s followed by `-` and their number; encrypted with KMS or customer keys it is neither. The text alone
//! does not tell, so the kind comes from the encryption headers that came with it.

use crate::s3::object::encryption::Encryption;
use std::fmt;

/// An entity tag without its quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag {
    text: Box<str>,
    kind: ETagKind,
}

/// What an ETag's text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ETagKind {
    /// The MD5 of the content.
    ContentMd5([u8; 16]),
    /// The MD5 of the parts' MD5s, and how many parts.
    Multipart([u8; 16], u16),
    /// A multipart object whose digest means nothing; only the number of parts can be read.
    OpaqueMultipart(u16),
    /// Text that only its own bucket can compare.
    Opaque,
    /// From a listing or an event, which do not show the encryption: it looks like an MD5, or it does not.
    Unknown,
}

impl ETag {
    /// An ETag from a reply that also said how the object is encrypted. Quotes and a weak prefix are taken off.
    pub fn new(text: &str, encryption: &Encryption) -> Self {
        let text = unquoted(text);
        let parts = text.rsplit_once('-').and_then(|(_, n)| part_count(n));
        let kind = match (encryption.keeps_md5(), digest(text), parts) {
            (true, Some(md5), None) => ETagKind::ContentMd5(md5),
            (true, Some(md5), Some(parts)) => ETagKind::Multipart(md5, parts),
            (_, _, Some(parts)) => ETagKind::OpaqueMultipart(parts),
            (_, _, None) => ETagKind::Opaque,
        };
        Self { text: text.into(), kind }
    }

    /// An ETag whose object's encryption is not known.
    pub fn listed(text: &str) -> Self {
        Self { text: unquoted(text).into(), kind: ETagKind::Unknown }
    }

    /// The ETag that a single PUT of content with this MD5 gets.
    pub fn of_content(md5: [u8; 16]) -> Self {
        Self { text: hex(&md5).into(), kind: ETagKind::ContentMd5(md5) }
    }

    /// The ETag that a multipart upload gets, from the MD5 of its parts' MD5s.
    pub fn of_parts(md5: [u8; 16], parts: u16) -> Self {
        Self { text: format!("{}-{parts}", hex(&md5)).into(), kind: ETagKind::Multipart(md5, parts) }
    }

    /// The text without quotes.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it is made of.
    pub fn kind(&self) -> ETagKind {
        self.kind
    }

    /// The text in quotes, as in headers and in Complete.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.text)
    }

    /// How many parts the object was put together from, if it was.
    pub(crate) fn parts(&self) -> Option<u16> {
        match self.kind {
            ETagKind::Multipart(_, parts) | ETagKind::OpaqueMultipart(parts) => Some(parts),
            ETagKind::ContentMd5(_) | ETagKind::Opaque | ETagKind::Unknown => None,
        }
    }

    /// Whether equal texts prove equal content in whatever bucket they are: both are digests of the content.
    pub fn proves_same_content(&self, other: &Self) -> bool {
        let is_digest = |tag: &Self| matches!(tag.kind, ETagKind::ContentMd5(_) | ETagKind::Multipart(..));
        is_digest(self) && is_digest(other) && self.text == other.text
    }

    /// Whether both name the same state of one object in one bucket, where the text is all that counts.
    pub fn is_same_state(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.strip_prefix("W/").unwrap_or(text);
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// The 16 bytes that `text`'s first 32 characters spell, if nothing or `-N` follows them.
fn digest(text: &str) -> Option<[u8; 16]> {
    let (hex, tail) = text.split_at_checked(32)?;
    let tail_fits = tail.is_empty() || tail.strip_prefix('-').is_some_and(|n| part_count(n).is_some());
    let mut out = [0; 16];
    if !tail_fits || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// The number after the `-`, as S3 spells it: no sign, no leading zero.
fn part_count(text: &str) -> Option<u16> {
    let spelled = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| spelled)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn quotes_and_weakness_are_taken_off() {
        for text in [MD5.to_owned(), format!("\"{MD5}\""), format!("W/\"{MD5}\"")] {
            assert_eq!(ETag::new(&text, &Encryption::None).as_str(), MD5);
        }
    }

    #[test]
    fn the_kind_comes_from_the_encryption() {
        let kms = Encryption::Kms(None);
        let many = format!("{MD5}-12");
        assert!(matches!(ETag::new(MD5, &Encryption::None).kind(), ETagKind::ContentMd5(_)));
        assert!(matches!(ETag::new(&many, &Encryption::Aes256).kind(), ETagKind::Multipart(_, 12)));
        assert_eq!(ETag::new(MD5, &kms).kind(), ETagKind::Opaque);
        assert_eq!(ETag::new(&many, &kms).kind(), ETagKind::OpaqueMultipart(12));
        assert_eq!(ETag::new("odd", &Encryption::None).kind(), ETagKind::Opaque);
        for count in ["+2", "02", "0", "65536", ""] {
            assert_eq!(ETag::new(&format!("{MD5}-{count}"), &Encryption::None).kind(), ETagKind::Opaque, "{count}");
        }
        assert_eq!(ETag::new("", &Encryption::None).kind(), ETagKind::Opaque);
        assert_eq!(ETag::listed(MD5).kind(), ETagKind::Unknown);
    }

    #[test]
    fn opaque_tags_never_prove_the_same_content() {
        let plain = ETag::new(MD5, &Encryption::None);
        let opaque = ETag::new(MD5, &Encryption::Kms(None));
        assert!(plain.proves_same_content(&ETag::new(MD5, &Encryption::Aes256)));
        assert!(!opaque.proves_same_content(&opaque));
        assert!(!plain.proves_same_content(&opaque));
        assert!(!plain.proves_same_content(&ETag::listed(MD5)));
        assert!(opaque.is_same_state(&ETag::listed(MD5)));
    }

    #[test]
    fn our_own_spelling_is_read_back() {
        let tag = ETag::of_parts([0xab; 16], 3);
        assert_eq!(ETag::new(&tag.quoted(), &Encryption::None), tag);
        let tag = ETag::of_content([7; 16]);
        assert_eq!(ETag::new(&tag.quoted(), &Encryption::None), tag);
    }
}
