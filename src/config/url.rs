//! An address that methods and keys are joined to.

use std::fmt;

use url::Url;

use super::reader::{Findings, word};
use super::tree::Node;

/// An `http` or `https` URL without query, fragment and user, and without a slash at its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// One trailing slash is dropped.
    ///
    /// # Errors
    /// What the URL must be. The text does not hold the URL: it may carry a password.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "a URL, as in https://example.com")?;
        if !matches!(url.scheme(), "http" | "https") {
            Err("a URL with http:// or https://")
        } else if !url.username().is_empty() || url.password().is_some() {
            Err("a URL without user and password")
        } else if url.query().is_some() || url.fragment().is_some() {
            Err("a URL without `?` and `#`")
        } else {
            Ok(Self(text.strip_suffix('/').unwrap_or(text).to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn base_url(node: &Node, findings: &mut Findings) -> Option<BaseUrl> {
    match BaseUrl::parse(word(node, findings)?) {
        Ok(url) => Some(url),
        Err(what) => {
            findings.error(node.place, format!("`{}` must be {what}", node.name)).veiled = true;
            None
        }
    }
}

/// A URL of our own, known to be one.
pub(super) fn known(url: &'static str) -> BaseUrl {
    BaseUrl(url.to_owned())
}
