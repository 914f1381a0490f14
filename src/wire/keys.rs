//! Where credentials come from, asked anew for each attempt.

use super::gate::Boxed;
use aws_credential_types::Credentials;
use thiserror::Error;

/// Credentials that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct KeysError {
    /// One sentence naming where they were looked for and what is wrong, never what they are.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A source of credentials.
pub trait Keys: Send + Sync {
    /// The credentials to sign with now.
    fn current(&self) -> Boxed<'_, Result<Credentials, KeysError>>;

    /// Other credentials than these, which S3 refused; `None` if there are no others.
    fn renewed<'a>(&'a self, refused: &'a Credentials) -> Boxed<'a, Result<Option<Credentials>, KeysError>>;
}

/// Credentials that never change.
#[derive(Debug, Clone)]
pub struct Fixed(pub Credentials);

impl Keys for Fixed {
    fn current(&self) -> Boxed<'_, Result<Credentials, KeysError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn renewed<'a>(&'a self, _: &'a Credentials) -> Boxed<'a, Result<Option<Credentials>, KeysError>> {
        Box::pin(async { Ok(None) })
    }
}
