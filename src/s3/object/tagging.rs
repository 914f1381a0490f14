//! GetObjectTagging and PutObjectTagging.

use crate::s3::http::message::{Head, Headers, Query, Unreadable};
use crate::s3::http::operation::{AnswerTime, Idempotence, Operation, ReplyIn};
use crate::s3::xml;
use crate::s3::{Bucket, Key, VersionId};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The `Tagging` document.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tagging {
    #[serde(rename = "TagSet")]
    set: TagSet,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

/// GetObjectTagging.
#[derive(Debug, Clone)]
pub struct GetObjectTagging {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
}

impl Operation for GetObjectTagging {
    const NAME: &'static str = "GetObjectTagging";
    const METHOD: Method = Method::GET;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Document;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = BTreeMap<String, String>;

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.flag("tagging");
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn reply(&self, _: &Head, body: &[u8]) -> Result<Self::Reply, Unreadable> {
        // radosgw 16 answers with nothing for an object that was made in parts.
        if body.is_empty() {
            return Ok(BTreeMap::new());
        }
        let document: Tagging = xml::read(body, "Tagging")?;
        Ok(document.set.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

/// PutObjectTagging.
#[derive(Debug, Clone)]
pub struct PutObjectTagging {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: Key,
    /// A version other than the current one.
    pub version: Option<VersionId>,
    /// All tags that the object then has.
    pub tags: BTreeMap<String, String>,
}

impl Operation for PutObjectTagging {
    const NAME: &'static str = "PutObjectTagging";
    const METHOD: Method = Method::PUT;
    const ACCEPTS: &'static [StatusCode] = &[StatusCode::OK];
    const IDEMPOTENCE: Idempotence = Idempotence::Idempotent;
    const REPLY_IN: ReplyIn = ReplyIn::Head;
    const ANSWER_TIME: AnswerTime = AnswerTime::Prompt;
    type Reply = ();

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn key(&self) -> Option<&Key> {
        Some(&self.key)
    }

    fn query(&self, query: &mut Query) {
        query.flag("tagging");
        query.optional("versionId", self.version.as_ref().map(VersionId::as_str));
    }

    fn headers(&self, headers: &mut Headers) {
        headers.content_md5(&self.body());
    }

    fn body(&self) -> Bytes {
        let tags = self.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
        xml::write(&Tagging { set: TagSet { tags } }, "Tagging").into()
    }

    fn reply(&self, _: &Head, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::s3::spelled::{head, reply, request};

    fn bucket() -> Bucket {
        Bucket::new("example-bucket").unwrap()
    }

    fn key() -> Key {
        Key::new("my image.jpg").unwrap()
    }

    fn get_tags() -> GetObjectTagging {
        GetObjectTagging { bucket: bucket(), key: key(), version: None }
    }

    /// "GetObjectTagging", sample response.
    const TAGGING: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
   <TagSet>
      <Tag>
         <Key>tag1</Key>
         <Value>val1</Value>
      </Tag>
      <Tag>
         <Key>tag2</Key>
         <Value>val2</Value>
      </Tag>
   </TagSet>
</Tagging>"#;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tags_are_read_from_their_document() {
        assert_eq!(request(&get_tags()), "GET /my%20image.jpg?tagging=\n\n");
        let versioned = GetObjectTagging { version: VersionId::new("v").ok(), ..get_tags() };
        assert_eq!(request(&versioned), "GET /my%20image.jpg?tagging=&versionId=v\n\n");
        let check = |body: &str, expected: &[(&str, &str)]| {
            assert_eq!(reply(&get_tags(), &head(200, ""), body), Ok(tags(expected)), "{body}");
        };
        check(TAGGING, &[("tag1", "val1"), ("tag2", "val2")]);
        check("<Tagging><TagSet/></Tagging>", &[]);
        check("<Tagging><TagSet></TagSet></Tagging>", &[]);
        check("<Tagging><TagSet><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>", &[("a", "")]);
        check("<Tagging><TagSet><Tag><Value>1</Value><Key>a&amp;b</Key></Tag></TagSet></Tagging>", &[("a&b", "1")]);
    }

    #[test]
    fn a_document_that_is_not_tagging_has_no_tags() {
        for body in ["  ", "<Tagging/>", "<Other><TagSet/></Other>", "<Tagging><TagSet><Tag/></TagSet></Tagging>"] {
            assert!(reply(&get_tags(), &head(200, ""), body).is_err(), "{body}");
        }
        for cut in 1..TAGGING.trim_end().len() {
            assert!(reply(&get_tags(), &head(200, ""), &TAGGING[..cut]).is_err(), "{cut}");
        }
        assert_eq!(reply(&get_tags(), &head(200, ""), ""), Ok(BTreeMap::new()), "radosgw's way to say none");
    }

    fn put_tags(pairs: &[(&str, &str)]) -> PutObjectTagging {
        PutObjectTagging { bucket: bucket(), key: key(), version: None, tags: tags(pairs) }
    }

    #[test]
    fn tags_are_written_with_the_md5_of_their_document() {
        assert_eq!(
            request(&put_tags(&[("tag1", "val<1>"), ("tag2", "")])),
            "PUT /my%20image.jpg?tagging=\ncontent-md5: jdgm0Dorz0Da1IB1jL+Ctg==\n\n\
             <Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>\
             <Tag><Key>tag1</Key><Value>val&lt;1&gt;</Value></Tag><Tag><Key>tag2</Key><Value/></Tag>\
             </TagSet></Tagging>"
        );
        assert_eq!(reply(&put_tags(&[]), &head(200, "x-amz-version-id: v"), ""), Ok(()));
    }

    #[test]
    fn tags_that_were_written_are_the_tags_that_are_read() {
        for pairs in [
            &[][..],
            &[("a", "b")],
            &[("a&b", "<c>"), ("\"q\"", "'s'"), ("ü+-=._:/@", "日本 語")],
            &[(" led", "trailed "), ("two  blanks", " ")],
        ] {
            let body = put_tags(pairs).body();
            let body = std::str::from_utf8(&body).unwrap();
            assert_eq!(reply(&get_tags(), &head(200, ""), body), Ok(tags(pairs)), "{body}");
        }
    }
}
