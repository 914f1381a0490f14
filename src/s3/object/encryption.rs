//! Server-side encryption as headers tell it.

use http::HeaderMap;

/// `x-amz-server-side-encryption` and its key ("Protecting data with server-side encryption").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// Nothing said: objects of before 2023, and servers that do not encrypt.
    None,
    /// SSE-S3.
    Aes256,
    /// SSE-KMS, with the key if it was named.
    Kms(Option<String>),
    /// DSSE-KMS, with the key if it was named.
    Dsse(Option<String>),
    /// A key of the customer's, never stored by S3.
    Customer,
    /// A method that came later.
    Other(String),
}

const METHOD: &str = "x-amz-server-side-encryption";
const KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CUSTOMER: &str = "x-amz-server-side-encryption-customer-algorithm";

impl Encryption {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if headers.contains_key(CUSTOMER) {
            return Self::Customer;
        }
        let key = text(KEY_ID).map(str::to_owned);
        match text(METHOD) {
            None => Self::None,
            Some("AES256") => Self::Aes256,
            Some("aws:kms") => Self::Kms(key),
            Some("aws:kms:dsse") => Self::Dsse(key),
            Some(other) => Self::Other(other.to_owned()),
        }
    }

    /// Whether ETags under it are made of MD5s ("Checking object integrity").
    pub fn keeps_md5(&self) -> bool {
        matches!(self, Self::None | Self::Aes256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_read_from_its_header() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Encryption, md5| {
            let headers: HeaderMap = pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
            let read = Encryption::from_headers(&headers);
            assert_eq!(read.keeps_md5(), md5, "{read:?}");
            assert_eq!(read, expected);
        };
        check(&[], Encryption::None, true);
        check(&[(METHOD, "AES256")], Encryption::Aes256, true);
        check(&[(METHOD, "aws:kms"), (KEY_ID, "k")], Encryption::Kms(Some("k".into())), false);
        check(&[(METHOD, "aws:kms:dsse")], Encryption::Dsse(None), false);
        check(&[(CUSTOMER, "AES256")], Encryption::Customer, false);
        check(&[(METHOD, "new")], Encryption::Other("new".into()), false);
    }
}
