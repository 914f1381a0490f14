//! Reading and writing S3's XML documents.
//!
//! quick-xml's serde does not look at the name of the root, so [`root`] does, and nothing is read without it.

use crate::s3::http::message::Unreadable;
use quick_xml::events::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The local name of a document's root element; `None` if there is no element to be found.
pub(crate) fn root(body: &[u8]) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(text(body)?);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                return Some(start.local_name().as_ref().to_owned());
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Text(text) if text.trim_ascii().is_empty() => {}
            Event::Text(_) | Event::End(_) | Event::CData(_) | Event::GeneralRef(_) | Event::Eof => return None,
        }
    }
}

/// Reads a document whose root must be `name`. White space before it is S3's keep-alive.
///
/// # Errors
/// [`Unreadable`] if the root is another, a field that S3 always sends is missing, or it is no XML at all.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8], name: &'static str) -> Result<T, Unreadable> {
    match root(body) {
        Some(found) if is_spelling_of(&found, name) => {
            let text = text(body).ok_or_else(|| Unreadable::new(format!("{name} is not UTF-8")))?;
            quick_xml::de::from_str(text).map_err(|error| Unreadable::new(format!("{name}: {error}")))
        }
        Some(found) => Err(Unreadable::new(format!("expected {name}, found {found}"))),
        None => Err(Unreadable::new(format!("expected {name}, found no document"))),
    }
}

/// Whether a root is the one expected, or as other servers spell it: rclone leaves `Result` out, moto says `Response`.
fn is_spelling_of(found: &str, name: &str) -> bool {
    let stem =
        |text: &str| text.strip_suffix("Result").or_else(|| text.strip_suffix("Response")).unwrap_or(text).to_owned();
    found == name || (name.ends_with("Result") && stem(found) == stem(name))
}

/// Writes a document with S3's namespace.
pub(crate) fn write<T: Serialize>(value: &T, name: &str) -> String {
    let mut text = String::new();
    // Writing a struct of strings and numbers into a String fails only for names that are no XML names; ours are.
    match quick_xml::se::to_writer_with_root(&mut text, name, value) {
        Ok(_) => text.replacen(&format!("<{name}>"), &format!("<{name} xmlns=\"{NAMESPACE}\">"), 1),
        Err(_) => String::new(),
    }
}

fn text(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim_ascii_start();
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Thing {
        #[serde(rename = "A")]
        a: String,
    }

    #[test]
    fn the_root_is_found_behind_keep_alives_and_declarations() {
        for body in
            ["<Thing/>", " \n\n <?xml version=\"1.0\"?>\n<!-- c --><Thing><A/></Thing>", "\u{feff}<x:Thing a='b'>"]
        {
            assert_eq!(root(body.as_bytes()).as_deref(), Some("Thing"), "{body}");
        }
        for body in ["", "  ", "Thing", "text <Thing/>", "</Thing>", "<?xml"] {
            assert_eq!(root(body.as_bytes()), None, "{body}");
        }
        assert_eq!(root(&[0xff, 0xfe]), None);
    }

    #[test]
    fn what_was_written_is_read() {
        let thing = Thing { a: "a<b>&\"'c".into() };
        let text = write(&thing, "Thing");
        assert!(text.starts_with("<Thing xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><A>"), "{text}");
        assert_eq!(read::<Thing>(text.as_bytes(), "Thing").unwrap(), thing);
    }

    #[test]
    fn a_result_may_be_spelled_as_other_servers_do() {
        let read = |root: &str| read::<Thing>(format!("<{root}><A>1</A></{root}>").as_bytes(), "DoThingResult").is_ok();
        assert!(read("DoThingResult") && read("DoThing") && read("DoThingResponse"));
        assert!(!read("DoThings") && !read("Error") && !read("Result"));
    }

    #[test]
    fn another_root_or_a_missing_field_is_not_read() {
        assert!(read::<Thing>(b"<Other><A>1</A></Other>", "Thing").is_err());
        assert!(read::<Thing>(b"<Thing></Thing>", "Thing").is_err());
        assert!(read::<Thing>(b"<Thing><A>1</A>", "Thing").is_err());
        assert!(read::<Thing>(b"", "Thing").is_err());
    }
}
