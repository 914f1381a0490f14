//! The secret: keys or a sentence that shows nothing of what was in it, and keys come back as they were stored.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use aws_credential_types::Credentials;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use xpsync::secrets::TargetKeys;
use xpsync::wire::keys::KeysFault;
use xpsync_fuzz::Word;

const NAMES: [[&str; 3]; 3] = [
    ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"],
    ["AccessKeyId", "SecretAccessKey", "SessionToken"],
    ["access_key_id", "secret_access_key", "session_token"],
];

fuzz_target!(|data: &[u8]| {
    match TargetKeys::read("name", data) {
        Ok(keys) => {
            let shown = format!("{keys:?}");
            assert_eq!(shown, "TargetKeys { .. }");
            let keys = Credentials::from(keys);
            let all = [Some(keys.access_key_id()), Some(keys.secret_access_key()), keys.session_token()];
            for key in all.into_iter().flatten() {
                assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
        // Every word of it is written here, and the longest such sentence has 103 bytes.
        Err(problem) => {
            assert!(problem.to_string().len() <= 103 && problem.fault == KeysFault::Misconfigured, "{problem}")
        }
    }
    let Ok((words, names)) = <([Word; 3], u8)>::arbitrary(&mut Unstructured::new(data)) else { return };
    let [id, secret, token] = NAMES[usize::from(names) % NAMES.len()];
    let stored = json!({ id: words[0].0, secret: words[1].0, token: words[2].0, "more": [words[0].0] }).to_string();
    let is_key = |word: &Word| word.0.bytes().all(|byte| byte.is_ascii_graphic());
    match TargetKeys::read("name", stored.as_bytes()) {
        Ok(keys) => {
            let keys = Credentials::from(keys);
            let [id, secret, token] = words.each_ref().map(|word| word.0.as_str());
            assert_eq!(
                (keys.access_key_id(), keys.secret_access_key(), keys.session_token()),
                (id, secret, Some(token))
            );
        }
        Err(problem) => {
            assert!(!words.iter().all(is_key), "{problem}");
            let shown = format!("{problem} {problem:?}");
            for word in words.iter().filter(|word| !is_key(word) && word.0.len() > 24) {
                assert!(!shown.contains(&word.0), "{shown}");
            }
        }
    }
});
