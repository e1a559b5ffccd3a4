//! One request of Composio's API: what it is made of, and how often it is sent. What changes something may be sent
//! again only when the one before was certainly not processed; what changes nothing (more) whenever it failed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{ApiError, Composio, KEY_HEADER};
use crate::limits::{
    COMPOSIO_API_ANSWER_BYTES_MAX, COMPOSIO_API_ATTEMPTS_MAX, COMPOSIO_API_RETRY_WAIT_MAX,
    COMPOSIO_API_TIMEOUT,
};

/// The first wait before a request is sent again; doubled each time.
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// Names a request of ours, for Composio's support.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request, its path relative to `/api/v3.1`.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    body: Option<Bytes>,
    repeatable: bool,
    about: Option<About<'a>>,
    request_id: Option<&'a str>,
}

/// What a request is about: 404 and 410 then say that it is not there. Its id is not shown in errors.
#[derive(Clone, Copy, Debug)]
struct About<'a> {
    noun: &'static str,
    id: &'a str,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &[&'a str], repeatable: bool) -> Self {
        Self {
            method,
            path: path.to_vec(),
            query: Vec::new(),
            body: None,
            repeatable,
            about: None,
            request_id: None,
        }
    }

    /// Reads something.
    pub(super) fn get(path: &[&'a str]) -> Self {
        Self::new(Method::GET, path, true)
    }

    /// Deletes something, without a body. Sent again it finds nothing.
    pub(super) fn delete(path: &[&'a str]) -> Self {
        Self::new(Method::DELETE, path, true)
    }

    /// Changes something; sent again only when it was certainly not processed, unless it is [`Self::repeatable`].
    pub(super) fn change(method: Method, path: &[&'a str]) -> Self {
        Self::new(method, path, false)
    }

    /// Whatever it does, doing it twice does no more.
    pub(super) fn repeatable(self) -> Self {
        Self {
            repeatable: true,
            ..self
        }
    }

    /// Adds a query parameter; several values of one are joined by commas, as Composio wants them.
    pub(super) fn query(mut self, key: &'a str, values: &[&str]) -> Self {
        self.query.push((key, values.join(",")));
        self
    }

    /// Adds a JSON body.
    pub(super) fn json(self, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiError::Unusable(error.to_string()))?;
        Ok(Self {
            body: Some(Bytes::from(body)),
            ..self
        })
    }

    /// Says what it is about, such as ("session", id).
    pub(super) fn about(self, noun: &'static str, id: &'a str) -> Self {
        Self {
            about: Some(About { noun, id }),
            ..self
        }
    }

    /// Names the request by an id of ours.
    pub(super) fn named(self, request_id: &'a str) -> Self {
        Self {
            request_id: Some(request_id),
            ..self
        }
    }
}

impl Composio {
    /// Sends a request until it is answered or may not be sent again, and reads the answer; `noun` says what the
    /// answer should be.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        ask: Ask<'_>,
        noun: &'static str,
    ) -> Result<T, ApiError> {
        let answer = self.ask(ask).await?;
        serde_json::from_slice(&answer).map_err(|_| ApiError::Unread(noun))
    }

    /// Sends a request until it is answered or may not be sent again. Returns the body of a success.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Bytes, ApiError> {
        let mut attempt = 1;
        loop {
            let error = match self.ask_once(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may = error.unprocessed() || (ask.repeatable && error.passing());
            if !may || attempt >= COMPOSIO_API_ATTEMPTS_MAX {
                return Err(error);
            }
            let wait = error.retry_after().unwrap_or(RETRY_WAIT * 2_u32.pow(attempt - 1));
            if wait > COMPOSIO_API_RETRY_WAIT_MAX {
                return Err(error);
            }
            tracing::debug!(http.method = %ask.method, reason = %error, "a request of Composio's API is sent again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn ask_once(&self, ask: &Ask<'_>) -> Result<Bytes, ApiError> {
        match tokio::time::timeout(COMPOSIO_API_TIMEOUT, self.exchange(ask)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ApiError::Timeout),
        }
    }

    async fn exchange(&self, ask: &Ask<'_>) -> Result<Bytes, ApiError> {
        let request = self
            .client
            .request(ask.method.clone(), self.url(ask))
            .headers(self.headers(ask));
        let request = match &ask.body {
            Some(body) => request.body(body.clone()),
            None => request,
        };
        let response = request.send().await.map_err(|error| ApiError::of(&error))?;
        self.note_deprecation(response.headers());
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            return Err(ApiError::Redirect(status));
        }
        let answer = read_body(response).await;
        if status.is_success() {
            return answer;
        }
        // A status says enough where its body does not come.
        let answer = answer.unwrap_or_default();
        let mut secrets = vec![self.key.to_str().unwrap_or_default()];
        secrets.extend(ask.about.map(|about| about.id));
        let noun = ask.about.map(|about| about.noun);
        Err(ApiError::of_status(status, &headers, &answer, noun, &secrets))
    }

    fn headers(&self, ask: &Ask<'_>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(HeaderName::from_static(KEY_HEADER), self.key.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if ask.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(Ok(id)) = ask.request_id.map(HeaderValue::from_str) {
            headers.insert(REQUEST_ID, id);
        }
        headers
    }

    fn url(&self, ask: &Ask<'_>) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(["api", "v3.1"]).extend(&ask.path);
        }
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        url
    }

    /// Composio announces by headers what it will take away.
    fn note_deprecation(&self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(deprecation) = text("deprecation") {
            let sunset = text("sunset").unwrap_or_default();
            tracing::warn!(
                server.address = self.base_url.host_str(),
                deprecation,
                sunset,
                "Composio will take this part of its API away"
            );
        }
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::of(&error))? {
        if body.len() + chunk.len() > COMPOSIO_API_ANSWER_BYTES_MAX {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
