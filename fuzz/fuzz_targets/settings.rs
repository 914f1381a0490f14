//! What a person writes: sizes, and the function's variables, which are settings or a list of all that is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xpsync::settings::{FunctionSettings, parse_size};

const VARIABLES: [&str; 14] = [
    "SOURCE_BUCKET",
    "TARGET_BUCKET",
    "SOURCE_REGION",
    "TARGET_REGION",
    "TARGET_ENDPOINT_URL",
    "TARGET_PREFIX",
    "TARGET_STORAGE_CLASS",
    "TARGET_KMS_KEY_ID",
    "MEMORY_THRESHOLD_MB",
    "ETAG_MODE",
    "INCLUDE",
    "EXCLUDE",
    "LOG_LEVEL",
    "SYNC_DELETES",
];
const REQUIRED: [(&str, &str); 7] = [
    ("SOURCE_REGION", "cn-northwest-1"),
    ("SOURCE_BUCKET", "source"),
    ("TARGET_REGION", "us-west-2"),
    ("TARGET_BUCKET", "target"),
    ("SECRET_ID", "secret"),
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "a-secret-nobody-may-see"),
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(size) = parse_size(text) {
        assert_eq!(parse_size(&size.to_string()), Ok(size));
        let (number, _) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let number: u64 = number.parse().unwrap();
        assert!(number == 0 || (size.is_multiple_of(number) && (size / number).is_power_of_two()));
    }
    let required = REQUIRED.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let changed = text.lines().zip(VARIABLES).map(|(value, name)| (name.to_owned(), value.to_owned()));
    match FunctionSettings::from_pairs(required.chain(changed)) {
        Ok(settings) => assert!(!format!("{settings:?}").contains("a-secret-nobody-may-see")),
        Err(problems) => {
            assert!(!problems.all().is_empty());
            assert!(!format!("{problems} {problems:?}").contains("a-secret-nobody-may-see"));
        }
    }
});
