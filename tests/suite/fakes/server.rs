//! The embedded S3 server, over real sockets, held to what AWS documents.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use fakes::aws::vault::Vault;
use fakes::fault::faults::{Action, Fault, Moment};
use fakes::net::authority::Authority;
use fakes::net::border::{Border, BorderConfig};
use fakes::s3::auth::keys::KeyPair;
use fakes::s3::refusal::Refusal;
use fakes::server::{Server, ServerConfig};
use fakes::store::attributes::Attributes;
use fakes::store::content::{Intake, hex, multipart_etag};
use fakes::store::object::{BucketConfig, Encryption};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const REGION: &str = "us-west-2";
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_PATH: &AsciiSet = &KEPT.remove(b'/');

/// A request that is signed when it is sent.
#[derive(Clone)]
struct Ask {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Bytes,
    keys: KeyPair,
    region: String,
    time: SystemTime,
    payload: SignableBody<'static>,
    address: Option<SocketAddr>,
}

impl Ask {
    fn new(method: Method, bucket: &str, key: &str) -> Self {
        let slash = if key.is_empty() { "" } else { "/" };
        Self {
            method,
            path: format!("/{bucket}{slash}{}", utf8_percent_encode(key, IN_PATH)),
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            keys: keys(),
            region: REGION.into(),
            time: SystemTime::now(),
            payload: SignableBody::UnsignedPayload,
            address: None,
        }
    }

    fn get(key: &str) -> Self {
        Self::new(Method::GET, "b", key)
    }

    fn head(key: &str) -> Self {
        Self::new(Method::HEAD, "b", key)
    }

    fn put(key: &str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::PUT, "b", key) }
    }

    fn post(key: &str) -> Self {
        Self::new(Method::POST, "b", key)
    }

    fn delete(key: &str) -> Self {
        Self::new(Method::DELETE, "b", key)
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn target(&self) -> String {
        let pair = |(name, value): &(String, String)| {
            format!("{}={}", utf8_percent_encode(name, KEPT), utf8_percent_encode(value, KEPT))
        };
        let query: Vec<String> = self.query.iter().map(pair).collect();
        if query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query.join("&")) }
    }

    fn signed(&self, host: &str) -> Request<Full<Bytes>> {
        let uri = format!("http://{host}{}", self.target());
        let identity = Credentials::new(
            &self.keys.access_key,
            &self.keys.secret_key,
            self.keys.session_token.clone(),
            None,
            "test",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(self.time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(self.method.as_str(), &uri, headers, self.payload.clone()).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = Request::builder().method(self.method.clone()).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if self.method == Method::PUT || self.method == Method::POST {
            // hyper sends no length for an empty body, and S3 refuses a PUT without one.
            request = request.header("content-length", self.body.len());
        }
        let mut request = request.body(Full::new(self.body.clone())).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.headers_mut().insert("host", host.parse().unwrap());
        *request.uri_mut() = self.target().parse().unwrap();
        request
    }

    async fn try_send(self, server: &Server) -> io::Result<Got> {
        let address = self.address.unwrap_or_else(|| server.address());
        let stream = TcpStream::connect(address).await?;
        exchange(stream, self.signed(&format!("localhost:{}", address.port()))).await
    }

    async fn send(self, server: &Server) -> Got {
        self.try_send(server).await.unwrap()
    }
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether the body came to its end.
    whole: bool,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The text of the first element of this name.
    fn element(&self, name: &str) -> String {
        let text = self.text();
        let Some((_, rest)) = text.split_once(&format!("<{name}>")) else { return String::new() };
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.replace("&quot;", "\"")).unwrap_or_default()
    }

    fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let opening = format!("<{name}>");
        let parts = text.split(&opening).skip(1);
        parts.map(|part| part.split_once('<').unwrap().0.to_owned()).collect()
    }

    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.element("Code").as_str()), (status, code), "{}", self.text());
        assert!(!self.element("RequestId").is_empty() && self.element("RequestId") == self.header("x-amz-request-id"));
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> io::Result<Got> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let reply = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, mut body) = reply.into_parts();
    let (mut bytes, mut whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Ok(Got { status: head.status, headers: head.headers, body: bytes, whole })
}

fn keys() -> KeyPair {
    KeyPair::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
}

async fn server() -> Server {
    server_with(BucketConfig::default()).await
}

async fn server_with(bucket: BucketConfig) -> Server {
    let server = Server::start(ServerConfig::new(REGION, keys())).await.unwrap();
    server.store().create_bucket("b", bucket);
    server.store().set_smallest_part(4);
    server
}

async fn create(server: &Server, key: &str, headers: &[(&str, &str)]) -> String {
    let mut ask = Ask::post(key).query("uploads", "");
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    ask.send(server).await.element("UploadId")
}

fn part(key: &str, id: &str, number: u16, body: &'static str) -> Ask {
    Ask::put(key, body).query("partNumber", &number.to_string()).query("uploadId", id)
}

fn complete(key: &str, id: &str, parts: &[(u16, &str)]) -> Ask {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let body = format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    );
    Ask { body: body.into(), ..Ask::post(key).query("uploadId", id) }
}

fn md5(text: &str) -> String {
    hex(&raw_md5(text))
}

fn raw_md5(text: &str) -> [u8; 16] {
    digest(text).md5
}

fn crc(text: &str) -> String {
    digest(text).crc64nvme().value
}

fn digest(text: &str) -> fakes::store::content::Digest {
    let mut intake = Intake::new(None);
    intake.push(Bytes::copy_from_slice(text.as_bytes()));
    intake.finish().1
}

#[tokio::test]
async fn a_wrong_authorization_is_refused_in_the_words_of_s3() {
    let server = server().await;
    let ask = || Ask::get("k");
    ask().send(&server).await.refused(404, "NoSuchKey");

    let unsigned = ask().signed("localhost");
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let mut bare = unsigned.clone();
    bare.headers_mut().remove("authorization");
    exchange(stream, bare).await.unwrap().refused(403, "AccessDenied");

    let wrong = KeyPair::new("AKIDEXAMPLE", "wrong");
    Ask { keys: wrong, ..ask() }.send(&server).await.refused(403, "SignatureDoesNotMatch");
    let unknown = KeyPair::new("AKIDUNKNOWN", "x");
    Ask { keys: unknown, ..ask() }.send(&server).await.refused(403, "InvalidAccessKeyId");

    let elsewhere = Ask { region: "cn-north-1".into(), ..ask() }.send(&server).await;
    elsewhere.refused(400, "AuthorizationHeaderMalformed");
    assert_eq!(elsewhere.element("Region"), REGION);

    let early = SystemTime::now() - Duration::from_mins(16);
    let skewed = Ask { time: early, ..ask() }.send(&server).await;
    skewed.refused(403, "RequestTimeTooSkewed");
    assert_ne!(skewed.element("ServerTime"), "");

    let mut unsigned_header = ask().signed(&format!("localhost:{}", server.address().port()));
    unsigned_header.headers_mut().insert("x-amz-checksum-mode", "ENABLED".parse().unwrap());
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let got = exchange(stream, unsigned_header).await.unwrap();
    got.refused(403, "AccessDenied");
    assert_eq!(got.element("HeadersNotSigned"), "x-amz-checksum-mode");
    server.stop().await;
}

#[tokio::test]
async fn a_server_whose_clock_is_wrong_takes_what_is_signed_by_its_date() {
    let server = server().await;
    server.set_clock_ahead(-3_600_000);
    let skewed = Ask::get("").query("list-type", "2").send(&server).await;
    skewed.refused(403, "RequestTimeTooSkewed");
    let time = SystemTime::now() - Duration::from_hours(1);
    let got = Ask { time, ..Ask::get("").query("list-type", "2") }.send(&server).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("date"), skewed.header("date"));
}

#[tokio::test]
async fn keys_rotate_and_tokens_expire_while_the_server_runs() {
    let server = server().await;
    let fresh = KeyPair::new("AKIDNEW", "new").with_token("token");
    server.keys().set(vec![fresh.clone()]);
    Ask::get("k").send(&server).await.refused(403, "InvalidAccessKeyId");
    Ask { keys: fresh.clone(), ..Ask::get("k") }.send(&server).await.refused(404, "NoSuchKey");
    let other = KeyPair::new("AKIDNEW", "new").with_token("other");
    Ask { keys: other, ..Ask::get("k") }.send(&server).await.refused(400, "InvalidToken");
    server.keys().set(vec![fresh.clone().expired()]);
    Ask { keys: fresh, ..Ask::get("k") }.send(&server).await.refused(400, "ExpiredToken");
}

#[tokio::test]
async fn everything_beside_the_bytes_comes_back_as_it_was_sent() {
    let server = server().await;
    let sent = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-language", "de, en"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("cache-control", "no-cache"),
        ("expires", "not a date"),
        ("x-amz-website-redirect-location", "/elsewhere"),
        ("x-amz-meta-name", "=?UTF-8?B?w7w=?="),
        ("x-amz-storage-class", "STANDARD_IA"),
    ];
    let mut ask =
        Ask::put("k", "bytes").header("content-encoding", "gzip,aws-chunked").header("x-amz-tagging", "a=1&b=%26+x");
    for (name, value) in sent {
        ask = ask.header(name, value);
    }
    let put = ask.send(&server).await;
    assert_eq!((put.status.as_u16(), put.header("etag")), (200, format!("\"{}\"", md5("bytes")).as_str()));
    for got in [Ask::get("k").send(&server).await, Ask::head("k").send(&server).await] {
        for (name, value) in sent {
            assert_eq!(got.header(name), value, "{name}");
        }
        assert_eq!((got.header("content-encoding"), got.header("x-amz-tagging-count")), ("gzip", "2"));
        assert_eq!((got.header("content-length"), got.header("x-amz-server-side-encryption")), ("5", "AES256"));
    }
    let tags = Ask::get("k").query("tagging", "").send(&server).await;
    assert_eq!(
        (tags.elements("Key"), tags.elements("Value")),
        (vec!["a".into(), "b".into()], vec!["1".into(), "&amp; x".into()])
    );
    let body = "<Tagging><TagSet><Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>";
    assert_eq!(Ask::put("k", body).query("tagging", "").send(&server).await.status, 200);
    assert_eq!(server.store().get("b", "k").unwrap().attributes.tags, [("c".to_owned(), String::new())]);
    Ask::put("plain", "").send(&server).await;
    assert_eq!(Ask::head("plain").send(&server).await.header("content-type"), "binary/octet-stream");
}

#[tokio::test]
async fn any_utf8_is_a_key() {
    let server = server().await;
    let long = "ü".repeat(512);
    let keys = [
        "//x/./../é世界%2F?#&=@:;,!*'()~`^{}[]|\"<>$",
        " lead and trail ",
        "%",
        "..",
        ".",
        "/",
        "//",
        "a//b",
        "dir/./x",
        "dir/../x",
        "trailing/",
        "/lead",
        "tab\tline\nnull\0del\x7f",
        "a b+c/ü%25~!*'().txt",
        "soap",
        long.as_str(),
    ];
    for key in keys {
        assert_eq!(Ask::put(key, key.to_owned()).send(&server).await.status, 200, "{key:?}");
        assert_eq!(Ask::get(key).send(&server).await.text(), key, "{key:?}");
    }
    let mut sorted: Vec<String> = keys.map(str::to_owned).into();
    sorted.sort();
    assert_eq!(server.store().keys("b"), sorted);
    Ask::put(&"k".repeat(1025), "").send(&server).await.refused(400, "KeyTooLongError");
    let at_limit = "v".repeat(2044);
    assert_eq!(Ask::put("k", "").header("x-amz-meta-name", &at_limit).send(&server).await.status, 200);
    let above = at_limit + "v";
    Ask::put("k", "").header("x-amz-meta-name", &above).send(&server).await.refused(400, "MetadataTooLarge");
}

#[tokio::test]
async fn checksums_are_verified_kept_and_given_when_asked_for() {
    let server = server().await;
    let header = "x-amz-checksum-crc64nvme";
    Ask::put("k", "123456789").header(header, "AAAAAAAAAAA=").send(&server).await.refused(400, "BadDigest");
    Ask::put("k", "123456789").header(header, "no").send(&server).await.refused(400, "InvalidRequest");
    assert!(server.store().keys("b").is_empty());
    let put = Ask::put("k", "123456789").header(header, "rosUhgp5mIg=").send(&server).await;
    assert_eq!((put.header(header), put.header("x-amz-checksum-type")), ("rosUhgp5mIg=", "FULL_OBJECT"));
    for ask in [Ask::get("k"), Ask::head("k")] {
        assert_eq!(ask.clone().send(&server).await.header(header), "");
        let got = ask.clone().header("x-amz-checksum-mode", "ENABLED").send(&server).await;
        assert_eq!((got.header(header), got.header("x-amz-checksum-type")), ("rosUhgp5mIg=", "FULL_OBJECT"));
        let ranged = ask.header("range", "bytes=1-2").header("x-amz-checksum-mode", "ENABLED").send(&server).await;
        assert_eq!((ranged.status.as_u16(), ranged.header(header)), (206, ""));
    }
    Ask::put("k", "x").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").send(&server).await.refused(400, "BadDigest");
    Ask::put("crc32", "123456789").header("x-amz-checksum-crc32", "y/Q5Jg==").send(&server).await;
    let got = Ask::head("crc32").header("x-amz-checksum-mode", "ENABLED").send(&server).await;
    assert_eq!((got.header("x-amz-checksum-crc32"), got.header(header)), ("y/Q5Jg==", ""));

    server.store().create_bucket("b", BucketConfig { stores_checksums: false, ..BucketConfig::default() });
    Ask::put("old", "x").send(&server).await;
    assert_eq!(Ask::head("old").header("x-amz-checksum-mode", "ENABLED").send(&server).await.header(header), "");
}

#[tokio::test]
async fn a_payload_hash_and_a_chunked_body_are_checked() {
    let server = server().await;
    let payload = SignableBody::Precomputed("0".repeat(64));
    let got = Ask { payload, ..Ask::put("k", "x") }.send(&server).await;
    got.refused(400, "XAmzContentSHA256Mismatch");
    let chunked = |crc: &str| {
        let body = format!("9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:{crc}\r\n\r\n");
        let ask = Ask::put("k", body)
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", "9")
            .header("x-amz-trailer", "x-amz-checksum-crc64nvme");
        Ask { payload: SignableBody::StreamingUnsignedPayloadTrailer, ..ask }
    };
    chunked("AAAAAAAAAAA=").send(&server).await.refused(400, "BadDigest");
    assert_eq!(chunked("rosUhgp5mIg=").send(&server).await.status, 200);
    assert_eq!(server.store().get("b", "k").unwrap().bytes(), b"123456789");
    assert_eq!(server.store().get("b", "k").unwrap().attributes.get("content-encoding"), None);
}

/// A part in `aws-chunked` framing, its checksum announced as a trailer.
fn streamed(id: &str, body: impl Into<Bytes>, decoded: &str) -> Ask {
    let ask = Ask::put("k", body)
        .query("partNumber", "1")
        .query("uploadId", id)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", decoded)
        .header("x-amz-trailer", "x-amz-checksum-crc64nvme");
    Ask { payload: SignableBody::StreamingUnsignedPayloadTrailer, ..ask }
}

#[tokio::test]
async fn a_streamed_part_is_kept_if_its_framing_and_its_trailer_are_right() {
    let server = server().await;
    let id = create(&server, "k", &[("x-amz-checksum-algorithm", "CRC64NVME")]).await;
    let right = "x-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n";
    let refused = [
        // The bytes are not those that the trailer is of.
        (format!("9\r\n123456780\r\n0\r\n{right}"), "9", 400, "BadDigest"),
        ("9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:no\r\n\r\n".into(), "9", 400, "InvalidRequest"),
        ("9\r\n123456789\r\n0\r\n\r\n".into(), "9", 400, "MalformedTrailerError"),
        ("9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n".into(), "9", 400, "MalformedTrailerError"),
        (format!("9\r\n123456789\r\n0\r\n{right}"), "8", 400, "IncompleteBody"),
        (format!("9\r\n123456789\r\n0\r\n{right}"), "10", 400, "IncompleteBody"),
        (format!("x\r\n123456789\r\n0\r\n{right}"), "9", 400, "IncompleteBody"),
        (format!("8\r\n123456789\r\n0\r\n{right}"), "8", 400, "IncompleteBody"),
        ("9\r\n123456789\r\n".into(), "9", 400, "IncompleteBody"),
        (format!("9\r\n123456789\r\n0\r\n{right}and more"), "9", 400, "IncompleteBody"),
        (format!("4\r\n1234\r\n5\r\n56789\r\n0\r\n{right}"), "9", 403, "InvalidChunkSizeError"),
    ];
    for (body, decoded, status, code) in refused {
        let got = streamed(&id, body.clone(), decoded).send(&server).await;
        assert_eq!((got.status.as_u16(), got.element("Code").as_str()), (status, code), "{body:?} as {decoded}");
        assert!(server.open_uploads()[0].parts().is_empty(), "{body:?} as {decoded}");
    }
    let got = streamed(&id, format!("9\r\n123456789\r\n0\r\n{right}"), "9").send(&server).await;
    assert_eq!((got.status.as_u16(), got.header("x-amz-checksum-crc64nvme")), (200, "rosUhgp5mIg="));
    assert_eq!(got.header("etag"), format!("\"{}\"", md5("123456789")));
    assert_eq!(server.open_uploads()[0].parts()[0].size, 9);
}

#[tokio::test]
async fn a_streamed_part_that_breaks_off_is_not_kept() {
    let server = server().await;
    let id = create(&server, "k", &[]).await;
    let body = "9\r\n123456789\r\n0\r\nx-amz-checksum-crc64nvme:rosUhgp5mIg=\r\n\r\n";
    let host = format!("localhost:{}", server.address().port());
    for length in [0, 1, 3, 7, 12, 14, 17, body.len() - 2, body.len() - 1] {
        let request = streamed(&id, body, "9").signed(&host);
        let mut head = format!("PUT {} HTTP/1.1\r\n", request.uri());
        for (name, value) in request.headers() {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket.write_all(format!("{head}\r\n{}", &body[..length]).as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
        assert!(server.open_uploads()[0].parts().is_empty(), "{length}");
    }
    assert_eq!(streamed(&id, body, "9").send(&server).await.status, 200);
}

#[tokio::test]
async fn ranges_and_parts_give_their_bytes_and_no_others() {
    let server = server().await;
    let parts = ["aaaaa", "bbbb", "c"].map(|part| Bytes::from_static(part.as_bytes()));
    let object = server.store().put_parts("b", "k", parts, Attributes::default()).unwrap();
    assert_eq!(object.etag, multipart_etag(&["aaaaa", "bbbb", "c"].map(raw_md5)));
    server.store().put("b", "single", "abc", Attributes::default()).unwrap();
    server.store().put("b", "empty", "", Attributes::default()).unwrap();

    let check = async |range: &str, body: &str, content_range: &str, checksum: &str| {
        let got = Ask::get("k").header("range", range).header("x-amz-checksum-mode", "ENABLED").send(&server).await;
        assert_eq!((got.text().as_str(), got.header("content-range")), (body, content_range), "{range}");
        assert_eq!(got.header("x-amz-checksum-crc64nvme"), checksum, "{range}");
        assert_eq!(got.status == 206, !content_range.is_empty(), "{range}");
    };
    check("bytes=4-5", "ab", "bytes 4-5/10", "").await;
    check("bytes=5-8", "bbbb", "bytes 5-8/10", &crc("bbbb")).await;
    check("bytes=9-100", "c", "bytes 9-9/10", &crc("c")).await;
    check("bytes=-2", "bc", "bytes 8-9/10", "").await;
    check("bytes=0-", "aaaaabbbbc", "bytes 0-9/10", &crc("aaaaabbbbc")).await;
    check("bytes=0-1,3-4", "aaaaabbbbc", "", &crc("aaaaabbbbc")).await;
    for (key, range) in [("k", "bytes=10-"), ("empty", "bytes=0-"), ("empty", "bytes=-1")] {
        let got = Ask::get(key).header("range", range).send(&server).await;
        got.refused(416, "InvalidRange");
    }

    let second = Ask::head("k").query("partNumber", "2").send(&server).await;
    assert_eq!((second.status.as_u16(), second.header("content-range")), (206, "bytes 5-8/10"));
    assert_eq!((second.header("content-length"), second.header("x-amz-mp-parts-count")), ("4", "3"));
    assert_eq!(Ask::get("k").query("partNumber", "3").send(&server).await.text(), "c");
    Ask::get("k").query("partNumber", "4").send(&server).await.refused(416, "InvalidPartNumber");
    let single = Ask::head("single").query("partNumber", "1").send(&server).await;
    assert_eq!((single.status.as_u16(), single.header("x-amz-mp-parts-count")), (206, ""));
}

#[tokio::test]
async fn conditions_decide_reads_writes_and_deletes() {
    let server = server().await;
    Ask::put("k", "2").header("if-match", &md5("1")).send(&server).await.refused(404, "NoSuchKey");
    assert_eq!(Ask::put("k", "1").header("if-none-match", "*").send(&server).await.status, 200);
    let taken = Ask::put("k", "2").header("if-none-match", "*").send(&server).await;
    taken.refused(412, "PreconditionFailed");
    assert_eq!(taken.element("Condition"), "If-None-Match");
    Ask::put("k", "2").header("if-match", &md5("0")).send(&server).await.refused(412, "PreconditionFailed");
    for (quoted, body) in [(md5("1"), "2"), (format!("\"{}\"", md5("2")), "3")] {
        assert_eq!(Ask::put("k", body).header("if-match", &quoted).send(&server).await.status, 200, "{quoted}");
    }
    Ask::get("k").header("if-match", &md5("1")).send(&server).await.refused(412, "PreconditionFailed");
    assert_eq!(Ask::get("k").header("if-match", &md5("3")).send(&server).await.text(), "3");
    let same = Ask::get("k").header("if-none-match", &md5("3")).send(&server).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
    Ask::delete("k").header("if-match", &md5("1")).send(&server).await.refused(412, "PreconditionFailed");
    assert_eq!(Ask::delete("k").header("if-match", &md5("3")).send(&server).await.status, 204);
    Ask::delete("k").header("if-match", "*").send(&server).await.refused(404, "NoSuchKey");
    assert_eq!(Ask::delete("k").send(&server).await.status, 204);
}

#[tokio::test]
async fn versions_and_delete_markers_answer_as_documented() {
    let server = server_with(BucketConfig { versioned: true, ..BucketConfig::default() }).await;
    let first = Ask::put("k", "1").send(&server).await.header("x-amz-version-id").to_owned();
    Ask::put("k", "2").send(&server).await;
    assert_eq!(Ask::get("k").query("versionId", &first).send(&server).await.text(), "1");
    let deleted = Ask::delete("k").send(&server).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("x-amz-delete-marker")), (204, "true"));
    let marker = deleted.header("x-amz-version-id").to_owned();
    let gone = Ask::get("k").send(&server).await;
    gone.refused(404, "NoSuchKey");
    assert_eq!(gone.header("x-amz-delete-marker"), "true");
    let pinned = Ask::get("k").query("versionId", &marker).send(&server).await;
    pinned.refused(405, "MethodNotAllowed");
    assert_eq!(pinned.header("x-amz-delete-marker"), "true");
    assert_ne!(pinned.header("last-modified"), "");
    Ask::get("k").query("versionId", "nope").send(&server).await.refused(404, "NoSuchVersion");
    assert_eq!(Ask::put("k", "3").header("if-none-match", "*").send(&server).await.status, 200);
    Ask::delete("k").send(&server).await;
    let markers = server.store().versions("b", "k");
    assert_eq!(markers.len(), 5);
    Ask::delete("k").query("versionId", &markers[4]).send(&server).await;
    assert_eq!(Ask::get("k").send(&server).await.text(), "3");
}

#[tokio::test]
async fn a_multipart_upload_becomes_the_object_that_its_parts_make() {
    let server = server().await;
    let named = [("x-amz-checksum-algorithm", "CRC64NVME"), ("content-type", "text/x"), ("x-amz-tagging", "a=1")];
    let id = create(&server, "k", &named).await;
    let one = part("k", &id, 1, "wrong").send(&server).await;
    let again = part("k", &id, 1, "aaaaa").header("x-amz-checksum-crc64nvme", &crc("aaaaa")).send(&server).await;
    assert_eq!(
        (one.header("x-amz-checksum-crc64nvme"), again.header("x-amz-checksum-crc64nvme")),
        ("", crc("aaaaa").as_str())
    );
    part("k", &id, 2, "b").header("x-amz-checksum-crc64nvme", &crc("x")).send(&server).await.refused(400, "BadDigest");
    part("k", &id, 2, "b").send(&server).await;
    assert!(server.store().keys("b").is_empty());
    assert_eq!(server.open_uploads()[0].parts().len(), 2);

    let (a, b) = (md5("aaaaa"), md5("b"));
    let ask = || complete("k", &id, &[(1, &format!("&quot;{a}&quot;")), (2, &b)]);
    complete("k", &id, &[(2, &b), (1, &a)]).send(&server).await.refused(400, "InvalidPartOrder");
    complete("k", &id, &[(1, &md5("wrong")), (2, &b)]).send(&server).await.refused(400, "InvalidPart");
    complete("k", &id, &[(1, &a), (3, &b)]).send(&server).await.refused(400, "InvalidPart");
    complete("k", &id, &[]).send(&server).await.refused(400, "MalformedXML");
    ask().header("x-amz-mp-object-size", "5").send(&server).await.refused(400, "InvalidRequest");
    ask().header("x-amz-checksum-crc64nvme", &crc("x")).send(&server).await.refused(400, "BadDigest");
    ask().header("if-match", &a).send(&server).await.refused(404, "NoSuchKey");
    server.store().put("b", "k", "there", Attributes::default()).unwrap();
    ask().header("if-none-match", "*").send(&server).await.refused(412, "PreconditionFailed");
    let there = md5("there");
    let done = ask()
        .header("x-amz-mp-object-size", "6")
        .header("x-amz-checksum-crc64nvme", &crc("aaaaab"))
        .header("x-amz-checksum-type", "FULL_OBJECT")
        .header("if-match", &there);
    let done = done.send(&server).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let etag = multipart_etag(&["aaaaa", "b"].map(raw_md5));
    assert_eq!(done.element("ETag"), format!("\"{etag}\""));
    assert_eq!(done.element("ChecksumCRC64NVME"), crc("aaaaab"));
    let got = Ask::get("k").header("x-amz-checksum-mode", "ENABLED").send(&server).await;
    assert_eq!((got.text().as_str(), got.header("content-type")), ("aaaaab", "text/x"));
    assert_eq!(
        (got.header("x-amz-checksum-crc64nvme"), got.header("x-amz-tagging-count")),
        (crc("aaaaab").as_str(), "1")
    );
    ask().send(&server).await.refused(404, "NoSuchUpload");
    assert!(server.open_uploads().is_empty());

    let form = create(&server, "form", &[("content-type", "multipart/form-data; boundary=x")]).await;
    assert_eq!(server.open_uploads()[0].attributes.get("content-type"), Some("multipart/form-data; boundary=x"));
    assert_eq!(Ask::delete("form").query("uploadId", &form).send(&server).await.status, 204);

    let small = create(&server, "s", &[]).await;
    part("s", &small, 1, "aaa").send(&server).await;
    part("s", &small, 2, "b").send(&server).await;
    let refused = complete("s", &small, &[(1, &md5("aaa")), (2, &b)]).send(&server).await;
    refused.refused(400, "EntityTooSmall");
    let abort = || Ask::delete("s").query("uploadId", &small);
    assert_eq!(abort().send(&server).await.status, 204);
    abort().send(&server).await.refused(404, "NoSuchUpload");
    part("s", &small, 1, "aaa").send(&server).await.refused(404, "NoSuchUpload");
}

#[tokio::test]
async fn uploads_and_parts_are_listed_in_pages() {
    let server = server().await;
    server.store().set_page(2);
    let named = [("x-amz-checksum-algorithm", "CRC64NVME")];
    let first = create(&server, "p/a", &named).await;
    for key in ["p/a", "p/b", "q"] {
        create(&server, key, &[]).await;
    }
    for (number, body) in [(1, "a"), (7, "b"), (9, "c")] {
        part("p/a", &first, number, body).send(&server).await;
    }
    let page = Ask::get("p/a").query("uploadId", &first).send(&server).await;
    assert_eq!(
        (page.elements("PartNumber"), page.element("IsTruncated").as_str()),
        (vec!["1".into(), "7".into()], "true")
    );
    assert_eq!(
        (page.elements("ChecksumCRC64NVME"), page.element("ChecksumType").as_str()),
        (vec![crc("a"), crc("b")], "FULL_OBJECT")
    );
    let marker = page.element("NextPartNumberMarker");
    let rest = Ask::get("p/a").query("uploadId", &first).query("part-number-marker", &marker).send(&server).await;
    assert_eq!((rest.elements("PartNumber"), rest.element("IsTruncated").as_str()), (vec!["9".into()], "false"));

    let ask = || Ask::get("").query("uploads", "").query("prefix", "p/");
    let page = ask().send(&server).await;
    assert_eq!((page.elements("UploadId").len(), page.element("IsTruncated").as_str()), (2, "true"));
    assert!(page.text().contains("<Initiator>") && page.text().contains("<Initiated>"));
    let (key, id) = (page.element("NextKeyMarker"), page.element("NextUploadIdMarker"));
    let rest = ask().query("key-marker", &key).query("upload-id-marker", &id).send(&server).await;
    assert_eq!((rest.elements("Key"), rest.element("IsTruncated").as_str()), (vec!["p/b".into()], "false"));
}

#[tokio::test]
async fn objects_are_listed_in_pages_and_by_delimiter() {
    let server = server().await;
    for key in ["a b+c", "d/1", "d/2", "e", "f/x/1", "f/x/2", "ü\u{1}"] {
        server.store().put("b", key, key, Attributes::default()).unwrap();
    }
    let ask = || Ask::get("").query("list-type", "2").query("encoding-type", "url");
    let all = ask().send(&server).await;
    assert_eq!(all.elements("Key"), ["a+b%2Bc", "d/1", "d/2", "e", "f/x/1", "f/x/2", "%C3%BC%01"]);
    assert_eq!((all.element("KeyCount").as_str(), all.elements("ETag")[0].contains(&md5("a b+c"))), ("7", true));
    let (mut token, mut found) = (None::<String>, Vec::new());
    for _ in 0..5 {
        let mut page = ask().query("delimiter", "/").query("max-keys", "1");
        if let Some(token) = &token {
            page = page.query("continuation-token", token);
        }
        let page = page.send(&server).await;
        assert_eq!(page.element("IsTruncated") == "true", found.len() < 4);
        found.extend(page.elements("Key"));
        found.extend(page.elements("Prefix").into_iter().filter(|prefix| !prefix.is_empty()));
        token = Some(page.element("NextContinuationToken"));
    }
    assert_eq!(found, ["a+b%2Bc", "d/", "e", "f/", "%C3%BC%01"]);
    let some = ask().query("prefix", "f/").query("delimiter", "/").query("start-after", "f/x/1").send(&server).await;
    assert_eq!(some.elements("Prefix"), ["f/", "f/x/"]);
    Ask { path: "/absent".into(), ..ask() }.send(&server).await.refused(404, "NoSuchBucket");
    let bucket = Ask::head("").send(&server).await;
    assert_eq!((bucket.status.as_u16(), bucket.header("x-amz-bucket-region")), (200, REGION));
}

#[tokio::test]
async fn who_may_not_list_may_not_learn_that_a_key_is_absent() {
    let server = server().await;
    let action_of =
        |got: &Got| got.element("Message").split("perform: ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    server.store().put("b", "k", "x", Attributes::default().tag("a", "1")).unwrap();
    server.policy().allow_only(["s3:GetObject", "s3:PutObject"]);
    let got = Ask::get("absent").send(&server).await;
    got.refused(403, "AccessDenied");
    assert_eq!(action_of(&got), "s3:ListBucket");
    let head = Ask::head("absent").send(&server).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (403, 0));
    assert_eq!(Ask::get("k").send(&server).await.header("x-amz-tagging-count"), "");
    for (ask, action) in [
        (Ask::put("k", "").header("x-amz-tagging", "a=1"), "s3:PutObjectTagging"),
        (Ask::get("k").query("tagging", ""), "s3:GetObjectTagging"),
        (Ask::get("k").query("versionId", "null"), "s3:GetObjectVersion"),
        (Ask::delete("k"), "s3:DeleteObject"),
        (Ask::delete("k").query("uploadId", "u"), "s3:AbortMultipartUpload"),
        (Ask::get("k").query("uploadId", "u"), "s3:ListMultipartUploadParts"),
        (Ask::get("").query("uploads", ""), "s3:ListBucketMultipartUploads"),
        (Ask::get("").query("list-type", "2"), "s3:ListBucket"),
    ] {
        let got = ask.send(&server).await;
        got.refused(403, "AccessDenied");
        assert_eq!(action_of(&got), action);
    }
    server.policy().allow_only(["s3:PutObject"]);
    Ask::put("k", "y").header("if-match", "*").send(&server).await.refused(403, "AccessDenied");
    assert_eq!(server.policy().used(), ["s3:GetObject"]);
    server.policy().clear();
    server.policy().deny("s3:PutObject", "b", "locked/");
    Ask::put("locked/k", "").send(&server).await.refused(403, "AccessDenied");
    assert_eq!(Ask::put("free/k", "").send(&server).await.status, 200);
    Ask::new(Method::GET, "absent", "k").send(&server).await.refused(404, "NoSuchBucket");
}

#[tokio::test]
async fn a_bucket_under_kms_has_opaque_etags_and_wants_the_rights_to_its_key() {
    let server =
        server_with(BucketConfig { encryption: Encryption::Kms("arn:key".into()), ..BucketConfig::default() }).await;
    let put = Ask::put("k", "x").send(&server).await;
    assert_eq!(
        (put.header("x-amz-server-side-encryption"), put.header("x-amz-server-side-encryption-aws-kms-key-id")),
        ("aws:kms", "arn:key")
    );
    assert!(put.header("etag").len() == 34 && put.header("etag") != format!("\"{}\"", md5("x")));
    let id = create(&server, "m", &[]).await;
    let etag = part("m", &id, 1, "x").send(&server).await.header("etag").to_owned();
    assert_ne!(etag, format!("\"{}\"", md5("x")));
    let done = complete("m", &id, &[(1, &etag.replace('"', "&quot;"))]).send(&server).await;
    assert!(done.element("ETag").ends_with("-1\""));
    server.policy().deny("kms:Decrypt", "*", "");
    Ask::get("k").send(&server).await.refused(403, "AccessDenied");
    let plain = Ask::put("p", "x").header("x-amz-server-side-encryption", "AES256").send(&server).await;
    assert_eq!(plain.header("etag"), format!("\"{}\"", md5("x")));
}

#[tokio::test]
async fn an_archived_object_is_read_only_once_restored() {
    let server = server().await;
    server.store().put("b", "k", "x", Attributes::default().storage_class("GLACIER")).unwrap();
    Ask::get("k").send(&server).await.refused(403, "InvalidObjectState");
    assert_eq!(Ask::head("k").send(&server).await.header("x-amz-storage-class"), "GLACIER");
    server.store().change("b", "k", |attributes| attributes.restored = true);
    assert_eq!(Ask::get("k").send(&server).await.text(), "x");
}

#[tokio::test]
async fn the_record_tells_what_each_request_was_and_got() {
    let server = server().await;
    Ask::put("k", "12345").header("if-none-match", "*").header("user-agent", "test/1").send(&server).await;
    let got = Ask::get("k").header("range", "bytes=0-1").send(&server).await;
    let seen = server.seen();
    assert_eq!(seen.iter().map(|seen| seen.operation.as_str()).collect::<Vec<_>>(), ["PutObject", "GetObject"]);
    assert_eq!((seen[0].received, seen[0].sent, seen[0].status, seen[0].connection), (5, 0, 200, 1));
    assert_eq!((seen[0].if_none_match(), seen[0].user_agent()), (Some("*"), Some("test/1")));
    assert_eq!((seen[1].received, seen[1].sent, seen[1].status, seen[1].connection), (0, 2, 206, 2));
    assert_eq!((seen[1].request_id.as_str(), seen[1].range()), (got.header("x-amz-request-id"), Some("bytes=0-1")));
    assert!(!got.header("x-amz-id-2").is_empty() && seen[0].header("authorization").is_none());
    server.forget();
    assert!(server.seen().is_empty());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_scripted_answer_comes_instead_of_the_operation_and_then_no_more() {
    let server = server().await;
    let acted = server.faults().add(Fault::on("PutObject", Action::slow_down(50)).key("k").nth(2).times(2));
    let mut statuses = Vec::new();
    for key in ["k", "other", "k", "k", "k"] {
        let got = Ask::put(key, "x").send(&server).await;
        assert_eq!(got.header("x-amz-retry-after") == "50", got.status == 503);
        statuses.push(got.status.as_u16());
    }
    assert_eq!((statuses, acted.count()), (vec![200, 200, 503, 503, 200], 2));
    server.faults().add(Fault::on("GetObject", Action::redirect("PermanentRedirect", "eu-west-1")));
    let got = Ask::get("k").send(&server).await;
    got.refused(301, "PermanentRedirect");
    assert_eq!(got.header("x-amz-bucket-region"), "eu-west-1");
    server.faults().add(Fault::on("HeadObject", Action::answer("InternalError")));
    let head = Ask::head("k").send(&server).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (500, 0));
}

#[tokio::test]
async fn an_error_hides_inside_a_200() {
    let server = server().await;
    let id = create(&server, "k", &[]).await;
    part("k", &id, 1, "x").send(&server).await;
    let ask = || complete("k", &id, &[(1, &md5("x"))]);
    let inside = Action::ErrorInside { refusal: Refusal::of("InternalError"), blanks: 3 };
    server.faults().add(Fault::on("CompleteMultipartUpload", inside));
    let got = ask().send(&server).await;
    assert_eq!((got.status.as_u16(), got.element("Code").as_str()), (200, "InternalError"));
    assert!(got.text().starts_with("   <?xml"));
    assert_eq!(server.open_uploads().len(), 1);
    server.faults().add(Fault::on("CompleteMultipartUpload", Action::Blanks(2, Duration::from_millis(1))));
    let got = ask().send(&server).await;
    assert!(got.text().starts_with("  <?xml") && !got.element("ETag").is_empty());
}

#[tokio::test]
async fn a_reset_comes_at_its_moment() {
    let server = server().await;
    for (moment, done) in [(Moment::BeforeBody, false), (Moment::BeforeDoing, false), (Moment::AfterDoing, true)] {
        server.faults().add(Fault::on("PutObject", Action::Reset(moment)));
        assert!(Ask::put("k", "x".repeat(1 << 20)).try_send(&server).await.is_err(), "{moment:?}");
        assert_eq!(server.store().get("b", "k").is_some(), done, "{moment:?}");
        assert_eq!(server.seen().last().unwrap().status, 0);
    }
    server.faults().add(Fault::on("GetObject", Action::Reset(Moment::InReply(1000))));
    let got = Ask::get("k").send(&server).await;
    assert_eq!((got.status.as_u16(), got.whole, got.body.len()), (200, false, 1000));

    // What the socket itself says: a reset, not an end.
    server.faults().add(Fault::on("*", Action::Reset(Moment::BeforeBody)));
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(b"GET /b/k HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let error = socket.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reply_is_cut_flipped_stalled_slowed_and_its_headers_changed() {
    let server = server().await;
    let bytes = vec![7_u8; 100_000];
    server.store().put("b", "k", bytes.clone(), Attributes::default()).unwrap();
    let faults = server.faults();
    faults.add(Fault::on("GetObject", Action::Truncate(40_000)));
    let got = Ask::get("k").send(&server).await;
    assert_eq!((got.whole, got.body.len(), got.header("content-length")), (false, 40_000, "100000"));

    faults.add(Fault::on("GetObject", Action::Flip(50_000)));
    faults.add(Fault::on("GetObject", Action::Slow(30_000, Duration::from_millis(1))));
    faults.add(Fault::on("GetObject", Action::StallBody(10, Some(Duration::from_millis(1)))));
    faults.add(Fault::on("GetObject", Action::StallHead(Some(Duration::from_millis(1)))));
    let got = Ask::get("k").send(&server).await;
    let differing: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != got.body[*at]).collect();
    assert_eq!((got.whole, differing), (true, vec![50_000]));

    faults.add(Fault::on("GetObject", Action::set_header("content-range", "bytes 5-9/10")));
    faults.add(Fault::on("GetObject", Action::drop_header("etag")));
    let got = Ask::get("k").header("range", "bytes=0-4").send(&server).await;
    assert_eq!((got.header("content-range"), got.header("etag"), got.body.len()), ("bytes 5-9/10", "", 5));
}

#[tokio::test]
async fn a_stall_for_ever_ends_when_the_server_stops() {
    let server = server().await;
    server.store().put("b", "k", "0123456789", Attributes::default()).unwrap();
    server.faults().add(Fault::on("GetObject", Action::StallBody(5, None)));
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let request = Ask::get("k").signed(&format!("localhost:{}", server.address().port()));
    let mut clients = JoinSet::new();
    clients.spawn(exchange(stream, request));
    while server.seen().first().is_none_or(|seen| seen.sent < 5) {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    let got = clients.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!((got.whole, got.text().as_str()), (false, "01234"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_as_s3_closes_it() {
    let config = ServerConfig { idle: Some(Duration::from_millis(20)), ..ServerConfig::new(REGION, keys()) };
    let server = Server::start(config).await.unwrap();
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    socket.write_all(b"HEAD /b/k HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("\r\n\r\n"), "{answer}");
    while server.open_connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_early_refusal_does_not_wait_for_the_body() {
    let server = server().await;
    server.faults().add(Fault::on("PutObject", Action::RefuseEarly(Refusal::of("SlowDown"))));
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let mut head = String::from("PUT /b/k HTTP/1.1\r\n");
    let request = Ask::put("k", "").signed(&format!("localhost:{}", server.address().port()));
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != "content-length") {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    socket.write_all(format!("{head}content-length: 1000000\r\n\r\nsome").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("<Code>SlowDown</Code>"), "{answer}");
    assert!(answer.contains("connection: close"));
}

#[tokio::test]
async fn a_hook_replaces_an_object_between_two_reads() {
    let server = server().await;
    server.store().put("b", "k", "old", Attributes::default()).unwrap();
    let replace = Action::Before(Box::new(|store| {
        store.put("b", "k", "new", Attributes::default()).unwrap();
    }));
    server.faults().add(Fault::on("GetObject", replace).nth(2));
    let delete = Action::After(Box::new(|store| store.delete("b", "k").unwrap()));
    server.faults().add(Fault::on("GetObject", delete).nth(3));
    let etag = md5("old");
    let ask = || Ask::get("k").header("if-match", &etag);
    assert_eq!(ask().send(&server).await.text(), "old");
    ask().send(&server).await.refused(412, "PreconditionFailed");
    assert_eq!(Ask::get("k").send(&server).await.text(), "new");
    Ask::get("k").send(&server).await.refused(404, "NoSuchKey");
}

/// A client that trusts an authority.
fn connector(authority: &Authority) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn the_authority_vouches_for_localhost_and_no_other_name() {
    let authority = Arc::new(Authority::new().unwrap());
    let server = Server::start(ServerConfig::new(REGION, keys()).tls(&authority)).await.unwrap();
    assert_eq!(server.endpoint(), format!("https://localhost:{}", server.address().port()));
    let connect = async |name: &'static str, authority: &Authority| {
        let stream = TcpStream::connect(server.address()).await.unwrap();
        connector(authority).connect(name.try_into().unwrap(), stream).await
    };
    for name in ["localhost", "127.0.0.1"] {
        let stream = connect(name, &authority).await.unwrap();
        let request = Ask::get("k").signed(&format!("localhost:{}", server.address().port()));
        exchange(stream, request).await.unwrap().refused(404, "NoSuchBucket");
    }
    assert!(connect("example.com", &authority).await.is_err());
    assert!(connect("localhost", &Authority::new().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_border_carries_everything_counts_it_and_cuts() {
    let server = server().await;
    let config = "rtt=4ms,rate=1gbit,per=800mbit".parse::<BorderConfig>().unwrap();
    let border = Border::start(config, server.address()).await.unwrap();
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let through = |ask: Ask| Ask { address: Some(border.address()), ..ask };
    let put = through(Ask::put("k", body.clone())).send(&server).await;
    assert_eq!(put.status, 200);
    let got = through(Ask::get("k")).send(&server).await;
    assert!(got.body == body);
    assert!(border.sent() > 3_000_000 && border.received() > 3_000_000);
    assert_eq!(border.connections(), 2);

    server.faults().add(Fault::on("GetObject", Action::StallBody(5, None)));
    let mut clients = JoinSet::new();
    let stream = TcpStream::connect(border.address()).await.unwrap();
    clients.spawn(exchange(stream, Ask::get("k").signed(&format!("localhost:{}", border.address().port()))));
    while server.seen().last().is_none_or(|seen| seen.sent != 5) {
        tokio::task::yield_now().await;
    }
    border.cut();
    let ended = clients.join_next().await.unwrap().unwrap();
    assert!(ended.is_err() || ended.is_ok_and(|got| !got.whole));
    border.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn the_vault_gives_a_secret_to_who_has_signed_for_it() {
    let vault = Vault::start(None).await.unwrap();
    vault.set("name", "{\"a\":1}");
    let ask = async |target: &str, signed: &str, body: &str| {
        let stream = TcpStream::connect(vault.address()).await.unwrap();
        let request = Request::post("/")
            .header("host", "localhost")
            .header("x-amz-target", target)
            .header("authorization", signed)
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let got = exchange(stream, request).await.unwrap();
        let value: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        (got.status.as_u16(), value["__type"].as_str().or(value["SecretString"].as_str()).unwrap().to_owned())
    };
    let target = "secretsmanager.GetSecretValue";
    let signed = "AWS4-HMAC-SHA256 Credential=a/20260101/cn-north-1/secretsmanager/aws4_request, SignedHeaders=host, \
                  Signature=0";
    let secret = (200, "{\"a\":1}".to_owned());
    assert_eq!(ask(target, signed, "{\"SecretId\":\"name\"}").await, secret);
    let arn = "{\"SecretId\":\"arn:aws-cn:secretsmanager:cn-north-1:1:secret:name-AbCdEf\"}";
    assert_eq!(ask(target, signed, arn).await, secret);
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(ask(target, signed, "{\"SecretId\":\"no\"}").await, refused("ResourceNotFoundException"));
    assert_eq!(ask(target, signed, "{}").await, refused("InvalidParameterException"));
    assert_eq!(ask(target, "", "{\"SecretId\":\"name\"}").await, refused("MissingAuthenticationTokenException"));
    vault.refuse("name", 400, "AccessDeniedException", "no");
    assert_eq!(ask(target, signed, "{\"SecretId\":\"name\"}").await, refused("AccessDeniedException"));
    assert_eq!(vault.calls(), 6);
    vault.stop().await;
}
