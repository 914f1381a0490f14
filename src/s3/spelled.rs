//! Requests and replies as text, for the tests of each operation.

use crate::s3::Key;
use crate::s3::error::{Failure, Refusal, read};
use crate::s3::http::message::{Head, Headers, Query, path_of};
use crate::s3::http::operation::Operation;
use http::{HeaderMap, HeaderName, StatusCode};

/// Method, path, query, headers by name and body of a request, as they go out.
pub(crate) fn request<O: Operation>(operation: &O) -> String {
    let (mut query, mut headers) = (Query::default(), Headers::default());
    operation.query(&mut query);
    operation.headers(&mut headers);
    let path = path_of(operation.key().map_or("", Key::as_str));
    let question = if query.as_str().is_empty() { "" } else { "?" };
    let mut text = format!("{} /{path}{question}{}\n", O::METHOD, query.as_str());
    let headers = headers.finish().unwrap();
    let mut lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    lines.sort();
    text.extend(lines);
    let body = String::from_utf8(operation.body().to_vec()).unwrap();
    format!("{text}\n{body}")
}

/// Status and headers of a reply: `name: value` by line.
pub(crate) fn head(status: u16, lines: &str) -> Head {
    let mut headers = HeaderMap::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        headers.append(HeaderName::try_from(name.to_lowercase()).unwrap(), value.parse().unwrap());
    }
    Head { status: StatusCode::from_u16(status).unwrap(), headers }
}

pub(crate) fn refusal<O: Operation>(operation: &O, head: &Head, body: &str) -> Refusal
where
    O::Reply: std::fmt::Debug,
{
    match read(operation, head, body.as_bytes()) {
        Err(Failure::Refused(refusal)) => *refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// What a reply is, if it is readable.
pub(crate) fn reply<O: Operation>(operation: &O, head: &Head, body: &str) -> Result<O::Reply, String> {
    match read(operation, head, body.as_bytes()) {
        Ok(reply) => Ok(reply),
        Err(Failure::Refused(refusal)) => panic!("{refusal}"),
        Err(Failure::Unreadable(unreadable)) => Err(unreadable.to_string()),
    }
}

/// Checks that a reply which breaks off anywhere within its document is never taken for an answer.
pub(crate) fn cut_anywhere_is_unreadable<O: Operation>(operation: &O, body: &str) {
    let document = body.trim_end();
    for cut in 0..document.len() {
        let read = read(operation, &head(200, ""), &document.as_bytes()[..cut]);
        assert!(matches!(read, Err(Failure::Unreadable(_))), "{}: {}", O::NAME, &document[..cut]);
    }
}
