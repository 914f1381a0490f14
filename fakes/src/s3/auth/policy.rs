//! What the caller may do: S3's actions, which of them a request needs, and the lists that allow or deny them.
//!
//! The mapping from operations to actions is that of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>.

use crate::s3::refusal::Refusal;
use std::sync::{Mutex, PoisonError};

/// One line of a statement: an action on whatever a pattern names.
#[derive(Clone, Debug)]
struct Allowance {
    action: String,
    resource: String,
}

#[derive(Clone, Debug)]
struct Denial {
    action: String,
    bucket: String,
    prefix: String,
}

#[derive(Debug, Default)]
struct Lists {
    allowed: Option<Vec<Allowance>>,
    denied: Vec<Denial>,
    used: Vec<String>,
}

/// The policy of a server's one caller. Without lists everything is allowed; a denial wins over an allowance.
#[derive(Debug, Default)]
pub struct Policy {
    lists: Mutex<Lists>,
}

impl Policy {
    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on only these actions are allowed, such as `s3:GetObject`.
    pub fn allow_only<I: IntoIterator<Item: Into<String>>>(&self, actions: I) {
        let everywhere = |action: I::Item| Allowance { action: action.into(), resource: "*".into() };
        self.lists().allowed = Some(actions.into_iter().map(everywhere).collect());
    }

    /// Allows an action on a resource: `bucket` for what is asked of a bucket, `bucket/prefix*` for what is asked of
    /// objects, with `*` and `?` as IAM has them. From the first of these on nothing else is allowed.
    pub fn allow(&self, action: &str, resource: &str) {
        let allowance = Allowance { action: action.to_owned(), resource: resource.to_owned() };
        self.lists().allowed.get_or_insert_default().push(allowance);
    }

    /// Denies an action on the keys of a bucket that begin with a prefix; `*` is every action or bucket.
    pub fn deny(&self, action: &str, bucket: &str, prefix: &str) {
        let denial = Denial { action: action.into(), bucket: bucket.into(), prefix: prefix.into() };
        self.lists().denied.push(denial);
    }

    /// Allows everything again.
    pub fn clear(&self) {
        let mut lists = self.lists();
        lists.allowed = None;
        lists.denied.clear();
    }

    /// Every action that a request needed and had, sorted, each once: what a least policy must hold.
    #[must_use]
    pub fn used(&self) -> Vec<String> {
        let mut used = self.lists().used.clone();
        used.sort();
        used
    }

    /// Whether an action is allowed, without counting it as used.
    #[must_use]
    pub fn allows(&self, action: &str, bucket: &str, key: &str) -> bool {
        let lists = self.lists();
        let resource = if key.is_empty() { bucket.to_owned() } else { format!("{bucket}/{key}") };
        let fits = |allowance: &Allowance| {
            allowance.action == action && matches(allowance.resource.as_bytes(), resource.as_bytes())
        };
        let allowed = lists.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(fits));
        let denied = lists.denied.iter().any(|denial| {
            (denial.action == "*" || denial.action == action)
                && (denial.bucket == "*" || denial.bucket == bucket)
                && key.starts_with(&denial.prefix)
        });
        allowed && !denied
    }

    /// Refuses unless every action is allowed.
    ///
    /// # Errors
    /// `AccessDenied` naming the action, as AWS's messages have done since 2025.
    pub(crate) fn require(&self, actions: &[&str], bucket: &str, key: &str) -> Result<(), Refusal> {
        for action in actions {
            if !self.allows(action, bucket, key) {
                return Err(denied(action, bucket, key));
            }
        }
        for action in actions {
            self.note(action);
        }
        Ok(())
    }

    /// Whether an action is allowed, counting it as used if it is: what a reply shows more of to who may.
    pub(crate) fn grants(&self, action: &str, bucket: &str, key: &str) -> bool {
        let allowed = self.allows(action, bucket, key);
        if allowed {
            self.note(action);
        }
        allowed
    }

    fn note(&self, action: &str) {
        let mut lists = self.lists();
        if !lists.used.iter().any(|used| used == action) {
            lists.used.push(action.to_owned());
        }
    }
}

/// Whether all of a text matches a pattern of IAM: `*` is any run of characters, `?` one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], text) => (0..=text.len()).any(|taken| matches(rest, &text[taken..])),
        ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        ([one, rest @ ..], [other, after @ ..]) => one == other && matches(rest, after),
        (_, []) => false,
    }
}

/// The refusal for a missing right.
pub(crate) fn denied(action: &str, bucket: &str, key: &str) -> Refusal {
    let slash = if key.is_empty() { "" } else { "/" };
    Refusal::of("AccessDenied").because(format!(
        "User: arn:aws:iam::111122223333:user/xpsync is not authorized to perform: {action} on resource: \
         \"arn:aws:s3:::{bucket}{slash}{key}\" because no identity-based policy allows the {action} action"
    ))
}
