//! Whose a token is that somebody else has brought: Tracker is asked with it, and with nothing of ours.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use secrecy::SecretString;

use super::client::{Organization, SettingsError};
use super::error::judge;
use super::issue::User;
use crate::delivery::SendError;
use crate::event::Person;
use crate::transport::reply::{self, Secrets};
use crate::transport::{Request, Transport, join};

/// The way to `/v3/myself` of one organisation.
#[derive(Clone)]
pub struct Guests {
    transport: Transport,
    uri: Uri,
    organization: (HeaderName, HeaderValue),
}

impl Guests {
    /// `url`: without `/v3`.
    ///
    /// # Errors
    /// That the address or the organisation's id is none.
    pub fn new(transport: Transport, url: &str, organization: Organization) -> Result<Self, SettingsError> {
        let uri = join(url, "v3/myself").map_err(|_| SettingsError::Url)?;
        Ok(Self { transport, uri, organization: organization.header()? })
    }

    /// One question. `None`: the token is nobody's, or of somebody who is not of this organisation. Cancel safe.
    ///
    /// # Errors
    /// There is no answer of Tracker's.
    pub async fn owner(&self, authorization: HeaderValue) -> Result<Option<Person>, SendError> {
        let text = authorization.to_str().unwrap_or_default();
        let token = SecretString::from(text.split_once(' ').map_or(text, |(_, token)| token));
        let (name, id) = self.organization.clone();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization), (name, id)]);
        let request = Request { method: Method::GET, uri: self.uri.clone(), headers, body: Vec::new() };
        let reply = self.transport.call(request).await.map_err(|error| SendError::Unreached(error.into()))?;
        if matches!(reply.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(None);
        }
        let reply = judge(reply, true, &Secrets::new([secrecy::ExposeSecret::expose_secret(&token)]))?;
        let user = reply::object::<User>(&reply.body).ok().filter(|_| reply.status == StatusCode::OK);
        match user {
            // Any object would do for one whose members may all be missing, and it lets somebody in.
            Some(User { login: Some(login), display, email, .. }) if !login.is_empty() => {
                Ok(Some(Person { login: Some(login), display, email }))
            }
            _ => Err(SendError::Unreached(format!("HTTP {}, and no user", reply.status.as_u16()).into())),
        }
    }
}
