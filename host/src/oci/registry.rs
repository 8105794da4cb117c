//! A client of one repository in a registry (OCI distribution specification 1.1), with bounds on
//! all that it reads.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use reqwest::Url;

use super::access::{Access, Credentials, Origin};
use super::challenge::Challenge;
use super::client::client;
use super::error::{OciError, help, said};
use super::manifest::MANIFEST;
use super::progress::Progress;
use super::{Digest, Reference};

/// A client of one repository. It logs in when the registry asks for it.
pub(super) struct Registry {
    client: reqwest::Client,
    root: Url,
    host: String,
    repository: String,
    plain: bool,
    actions: &'static str,
    credentials: Option<(Credentials, Origin)>,
    authorization: Option<HeaderValue>,
}

/// A request.
pub(super) struct Call<'a> {
    /// The attempt, with which errors begin.
    pub(super) what: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: Option<&'static str>,
    /// Media type and body.
    pub(super) content: Option<(&'static str, Bytes)>,
    /// The most bytes of the response.
    pub(super) limit: u64,
}

/// A whole response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Registry {
    /// Makes a client that may `pull`, or `pull,push`.
    pub(super) fn new(
        reference: &Reference,
        access: &Access,
        actions: &'static str,
    ) -> Result<Self, OciError> {
        let host = access.host.clone();
        let failed = |source| OciError::Access { registry: host.clone(), source };
        let credentials = access.credentials().map_err(failed)?;
        let authorization = match &credentials {
            Some((Credentials::Token(token), _)) => bearer(token),
            _ => None,
        };
        let scheme = if access.plain_http { "http" } else { "https" };
        let root = format!("{scheme}://{}/v2/{}/", access.address(), reference.repository);
        let root = Url::parse(&root).map_err(|error| OciError::Request {
            what: format!("reach {host}"),
            reason: error.to_string(),
        })?;
        let client = client(access).map_err(failed)?;
        let client =
            client.build().map_err(|source| OciError::Client { registry: host.clone(), source })?;
        Ok(Self {
            client,
            root,
            host,
            repository: reference.repository.clone(),
            plain: access.plain_http,
            actions,
            credentials,
            authorization,
        })
    }

    /// Fetches the manifest of a tag or a digest.
    pub(super) async fn manifest(&mut self, what: &str, tag: &str) -> Result<Vec<u8>, OciError> {
        let answer = self.ask_manifest(what, tag).await?;
        self.expect(what, answer, StatusCode::OK).map(|answer| answer.body)
    }

    /// Fetches the manifest of a tag. Returns `None` if there is none.
    pub(super) async fn manifest_if_any(
        &mut self,
        what: &str,
        tag: &str,
    ) -> Result<Option<Vec<u8>>, OciError> {
        let answer = self.ask_manifest(what, tag).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect(what, answer, StatusCode::OK).map(|answer| Some(answer.body))
    }

    async fn ask_manifest(&mut self, what: &str, tag: &str) -> Result<Answer, OciError> {
        let url = self.url(what, &format!("manifests/{tag}"))?;
        let mut call = Call::get(what, url, MAX_MANIFEST);
        call.accept = Some(MANIFEST);
        self.call(&call, None).await
    }

    /// Fetches a blob of at most `limit` bytes and checks its digest.
    pub(super) async fn blob(
        &mut self,
        what: &str,
        digest: Digest,
        limit: u64,
        progress: Option<&mut Progress>,
    ) -> Result<Vec<u8>, OciError> {
        let url = self.url(what, &format!("blobs/{digest}"))?;
        let answer = self.call(&Call::get(what, url, limit), progress).await?;
        let body = self.expect(what, answer, StatusCode::OK)?.body;
        self.check(what, digest, &body)?;
        Ok(body)
    }

    /// Checks that `bytes` have this digest.
    pub(super) fn check(&self, what: &str, digest: Digest, bytes: &[u8]) -> Result<(), OciError> {
        let found = Digest::of(bytes);
        if found == digest {
            return Ok(());
        }
        let what = format!("{what}: expected {digest}");
        Err(OciError::Digest { what, registry: self.host.clone(), found })
    }

    /// Returns the response, if it has this status.
    pub(super) fn expect(
        &self,
        what: &str,
        answer: Answer,
        status: StatusCode,
    ) -> Result<Answer, OciError> {
        if answer.status == status {
            return Ok(answer);
        }
        let origin = self.credentials.as_ref().map(|(_, origin)| origin);
        Err(OciError::Refused {
            what: what.to_owned(),
            registry: self.host.clone(),
            status: answer.status,
            said: said(&answer.body),
            help: help(answer.status, &self.host, origin),
        })
    }

    /// Returns a URL below the repository's.
    pub(super) fn url(&self, what: &str, path: &str) -> Result<Url, OciError> {
        self.root.join(path).map_err(|error| OciError::Request {
            what: what.to_owned(),
            reason: format!("{path}: {error}"),
        })
    }

    /// Resolves a URL that the registry gave. If it is on the registry's host, it gets the scheme
    /// and port of the registry's URL: a proxy before the registry may have ended TLS.
    pub(super) fn resolve(&self, what: &str, location: &str) -> Result<Url, OciError> {
        let mut url = self.url(what, location)?;
        if url.host() == self.root.host() && url.scheme() != self.root.scheme() {
            let moved = url.set_scheme(self.root.scheme()).and(url.set_port(self.root.port()));
            moved.map_err(|()| OciError::Request {
                what: what.to_owned(),
                reason: format!("{location} is not a location for an upload"),
            })?;
        }
        Ok(url)
    }

    /// Makes a request. Repeats it after a pause if there is no response, or a response of an
    /// outage.
    pub(super) async fn call(
        &mut self,
        call: &Call<'_>,
        mut progress: Option<&mut Progress>,
    ) -> Result<Answer, OciError> {
        let mut pause = PAUSE;
        for _ in 0..RETRIES {
            let result = self.once(call, progress.as_deref_mut()).await;
            let is_outage = match &result {
                Ok(answer) => {
                    answer.status.is_server_error()
                        || answer.status == StatusCode::TOO_MANY_REQUESTS
                }
                Err(error) => error.is_outage(),
            };
            if !is_outage {
                return result;
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
        self.once(call, progress).await
    }

    /// Makes a request. Repeats it after a login if the registry asks for one.
    async fn once(
        &mut self,
        call: &Call<'_>,
        mut progress: Option<&mut Progress>,
    ) -> Result<Answer, OciError> {
        let answer = self.send(call, progress.as_deref_mut()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let mut challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges.find_map(|value| Challenge::parse(value.to_str().ok()?));
        let authorization = match (challenge, &self.credentials) {
            (Some(Challenge::Basic), Some((Credentials::Basic { username, password }, _))) => {
                basic(username, password)
            }
            (
                Some(Challenge::Bearer { realm, service }),
                Some((Credentials::Basic { .. }, _)) | None,
            ) => self.token(&realm, service.as_deref()).await?,
            _ => None,
        };
        if authorization.is_none() || authorization == self.authorization {
            return Ok(answer);
        }
        self.authorization = authorization;
        self.send(call, progress).await
    }

    /// Fetches a token for this repository, with the user's password if there is one.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
    ) -> Result<Option<HeaderValue>, OciError> {
        let what = format!("log in at {realm}");
        let refused = |reason: String| OciError::Request { what: what.clone(), reason };
        let mut url = Url::parse(realm).map_err(|error| refused(error.to_string()))?;
        if url.scheme() != "https" && !self.plain {
            return Err(refused(format!("{} asks for a login without TLS", self.host)));
        }
        let scope = format!("repository:{}:{}", self.repository, self.actions);
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(url);
        if let Some((Credentials::Basic { username, password }, _)) = &self.credentials {
            request = request.basic_auth(username, Some(password));
        }
        let answer = self.receive(&what, request, MAX_TOKEN, None).await?;
        let answer = self.expect(&what, answer, StatusCode::OK)?;
        let token: serde_json::Value = serde_json::from_slice(&answer.body)
            .map_err(|error| refused(format!("the response is not JSON: {error}")))?;
        let text = |name| token.get(name).and_then(serde_json::Value::as_str);
        match text("token").or_else(|| text("access_token")).and_then(bearer) {
            Some(token) => Ok(Some(token)),
            None => Err(refused("the response has no token".to_owned())),
        }
    }

    async fn send(
        &self,
        call: &Call<'_>,
        progress: Option<&mut Progress>,
    ) -> Result<Answer, OciError> {
        let mut request = self.client.request(call.method.clone(), call.url.clone());
        if let Some(accept) = call.accept {
            request = request.header(ACCEPT, accept);
        }
        // An upload may continue at another host. The credentials are not for that host.
        let is_here = call.url.origin() == self.root.origin();
        if let Some(authorization) = self.authorization.as_ref().filter(|_| is_here) {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some((media_type, body)) = &call.content {
            request = request.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        self.receive(call.what, request, call.limit, progress).await
    }

    async fn receive(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
        limit: u64,
        mut progress: Option<&mut Progress>,
    ) -> Result<Answer, OciError> {
        let registry = || self.host.clone();
        let failed =
            |source| OciError::Unreachable { what: what.to_owned(), registry: registry(), source };
        let mut response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { limit } else { MAX_ERROR };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if (body.len() + chunk.len()) as u64 > limit {
                if !status.is_success() {
                    break;
                }
                return Err(OciError::TooLarge { what: what.to_owned(), limit });
            }
            body.extend_from_slice(&chunk);
            if let Some(progress) = &mut progress {
                progress.tell(body.len() as u64);
            }
        }
        Ok(Answer { status, headers, body })
    }
}

impl<'a> Call<'a> {
    pub(super) fn get(what: &'a str, url: Url, limit: u64) -> Self {
        Self { what, method: Method::GET, url, accept: None, content: None, limit }
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Every registry takes manifests of this size (distribution specification), so no client makes
/// larger ones.
pub(super) const MAX_MANIFEST: u64 = 4 << 20;

/// Tokens are 1 to 5 KiB.
const MAX_TOKEN: u64 = 64 << 10;

/// The most bytes of an error's text.
const MAX_ERROR: u64 = 64 << 10;

/// Attempts after the first. The first of them follows this pause, the next a pause four times as
/// long.
const RETRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(250);
