//! An upstream over HTTP with its own credentials, which never leave the node.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, AGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;

use super::below::{Readings, below, extended};
use super::folder::pattern_of;
use super::{DataRequest, DataResponse, Opening, Source, refused};
use crate::error::{SourceError, StreamError};

/// Handed to the upstream; nothing else of the reader's request is.
const ASKED: [HeaderName; 9] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_TYPE,
];
/// Handed to the reader; nothing else of the upstream's answer is.
const ANSWERED: [HeaderName; 12] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
    EXPIRES,
    AGE,
    VARY,
    http::header::CACHE_CONTROL,
];

/// What readers may ask of an upstream beyond its address; nothing unless it is named.
#[derive(Debug, Clone, Default)]
pub struct HttpAllowed {
    paths: Vec<glob::Pattern>,
    parameters: Vec<String>,
    methods: Vec<Method>,
    any_path: bool,
    any_parameter: bool,
    /// Whether the reader's method is the upstream's, where [`HttpAsked`] names another.
    own_method: bool,
}

impl HttpAllowed {
    /// Patterns of paths below the address, names of parameters, and methods beside GET and HEAD.
    ///
    /// # Errors
    /// A pattern or a method is none, or the method is not GET, HEAD, POST or PUT.
    pub fn new(paths: &[String], parameters: Vec<String>, methods: &[String]) -> Result<Self, SourceError> {
        let paths = paths.iter().map(|path| pattern_of(path)).collect::<Result<_, _>>();
        let methods = methods.iter().map(|name| match name.as_str() {
            "GET" => Ok(Method::GET),
            "HEAD" => Ok(Method::HEAD),
            "POST" => Ok(Method::POST),
            "PUT" => Ok(Method::PUT),
            other => {
                Err(SourceError::Address(format!("data is not read with `{other}`: GET, HEAD, POST or PUT")))
            }
        });
        Ok(Self {
            paths: paths.map_err(SourceError::Address)?,
            parameters,
            methods: methods.collect::<Result<_, _>>()?,
            ..Self::default()
        })
    }

    /// Also every path below the address.
    #[must_use]
    pub const fn with_any_path(mut self) -> Self {
        self.any_path = true;
        self
    }

    /// Also every parameter but those that the address fixes.
    #[must_use]
    pub const fn with_any_parameter(mut self) -> Self {
        self.any_parameter = true;
        self
    }

    /// The method of the reader is the one that the upstream is asked with, whatever is fixed for it.
    #[must_use]
    pub const fn with_own_method(mut self) -> Self {
        self.own_method = true;
        self
    }

    /// Whether `path`, below the address as it will be sent, is offered: in each way in which an upstream may read it.
    fn offers(&self, path: &str) -> Result<(), SourceError> {
        // A slash at the end is offered only by a pattern that has one.
        let whole = path.strip_suffix('/').filter(|names| !names.is_empty());
        let (names, end) = whole.map_or((path, ""), |names| (names, "/"));
        let readings = Readings::of(names)?;
        if self.any_path {
            return Ok(());
        }
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let fitting =
            || self.paths.iter().filter(|pattern| pattern.as_str().ends_with('/') || end.is_empty());
        let listed = |names: &str| {
            let path = format!("{names}{end}");
            fitting().any(|pattern| pattern.matches_with(&path, options))
        };
        if listed(&readings.by_names) && listed(&readings.decoded) {
            Ok(())
        } else {
            Err(SourceError::NotFound(path.to_owned()))
        }
    }

    fn check(&self, request: &DataRequest) -> Result<(), SourceError> {
        let reads = [Method::GET, Method::HEAD];
        let methods: &[Method] = if self.methods.is_empty() { &reads } else { &self.methods };
        if !methods.contains(&request.method) {
            return Err(SourceError::Method);
        }
        if self.any_parameter {
            return Ok(());
        }
        let known: Vec<_> = self.parameters.iter().map(String::as_str).collect();
        request.expect_query(&known)
    }
}

/// How the operator asks an upstream, beyond its address; what is fixed here no reader changes.
#[derive(Debug, Clone, Default)]
pub struct HttpAsked {
    /// Headers of the operator's own, the credentials among them; all are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Below the address, for readers that name no path.
    pub path: Option<String>,
    /// The method that the upstream is asked with; that of the reader where nothing is said.
    pub method: Option<Method>,
    /// What the upstream is sent, where it is asked with POST; then nothing of the reader's is.
    pub body: Option<Bytes>,
    /// Whether nothing that the reader sends goes on.
    pub without_body: bool,
    /// Of that.
    pub content_type: Option<HeaderValue>,
}

/// An address that the operator chose, behind the operator's credentials.
#[derive(Debug)]
pub struct HttpSource {
    client: reqwest::Client,
    url: url::Url,
    /// What is read where the reader names no path.
    whole: url::Url,
    asked: HttpAsked,
    allowed: HttpAllowed,
}

impl HttpSource {
    /// The upstream at `url`.
    ///
    /// # Errors
    /// The path in `asked` does not lie below the address.
    pub fn new(
        client: reqwest::Client,
        url: url::Url,
        mut asked: HttpAsked,
        allowed: HttpAllowed,
    ) -> Result<Self, SourceError> {
        asked.headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
        let whole = match &asked.path {
            None => url.clone(),
            Some(path) => extended(&url, path.trim_start_matches('/'))?,
        };
        Ok(Self { client, url, whole, asked, allowed })
    }

    /// The address that is asked. What of it is below this source is compared with the list as it will be sent, after
    /// whatever the parser of addresses makes of it.
    fn address(&self, request: &DataRequest) -> Result<url::Url, SourceError> {
        let mut url = self.whole.clone();
        if !request.path.is_empty() {
            url = extended(&self.url, &request.path)?;
            let sent = below(&self.url, &url).ok_or_else(|| SourceError::NotFound(request.path.clone()))?;
            self.allowed.offers(sent)?;
        }
        if !request.query.is_empty() {
            // What the operator wrote into the address stays the only one of its name.
            let fixed = |name: &str| {
                self.url.query_pairs().any(|(fixed, _)| stem(&fixed).eq_ignore_ascii_case(stem(name)))
            };
            if let Some((name, _)) = request.query.iter().find(|(name, _)| name.chars().any(char::is_control))
            {
                return Err(SourceError::Asked(format!(
                    "the parameter {name:?} has characters that none has"
                )));
            }
            if let Some((name, _)) = request.query.iter().find(|(name, _)| fixed(name)) {
                return Err(SourceError::Asked(format!("the parameter `{name}` is fixed by the provider")));
            }
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }
}

/// A parameter as upstreams may read its name: members of it (`a[]`, `a.b`) are it.
fn stem(name: &str) -> &str {
    name.trim().split(['[', '.']).next().unwrap_or_default().trim()
}

impl Source for HttpSource {
    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            self.allowed.check(&request)?;
            let url = self.address(&request)?;
            let mut headers = HeaderMap::new();
            for name in ASKED {
                if let Some(value) = request.headers.get(&name) {
                    headers.insert(name, value.clone());
                }
            }
            if let Some(content_type) = &self.asked.content_type
                && request.body.is_empty()
            {
                headers.insert(CONTENT_TYPE, content_type.clone());
            }
            for (name, value) in &self.asked.headers {
                headers.insert(name, value.clone());
            }
            // What the reader says beyond the address that the operator chose.
            let said = ASKED.iter().any(|name| request.headers.contains_key(name));
            let below = !request.path.is_empty() || !request.query.is_empty();
            let asked = said
                || below
                || !request.body.is_empty()
                || matches!(request.method, Method::POST | Method::PUT);
            let what = match request.query.is_empty() {
                true => request.path.clone(),
                false => {
                    let names: Vec<_> =
                        request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    format!("{}?{}", request.path, names.join("&"))
                }
            };
            // HEAD reads what GET reads.
            let fixed = self.asked.method.as_ref().filter(|fixed| {
                !(self.allowed.own_method || request.method == Method::HEAD && **fixed == Method::GET)
            });
            let method = fixed.cloned().unwrap_or(request.method);
            let body = match &self.asked.body {
                Some(fixed) if method == Method::POST => reqwest::Body::from(fixed.clone()),
                _ if self.asked.without_body => reqwest::Body::from(Bytes::new()),
                _ => request.body.into(),
            };
            let sent = self.client.request(method, url).headers(headers).body(body).send().await;
            let answer = sent.map_err(|error| SourceError::Unreachable(error.without_url()))?;
            let status = answer.status();
            let fine = status.is_success()
                || [
                    StatusCode::NOT_MODIFIED,
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    StatusCode::PRECONDITION_FAILED,
                ]
                .contains(&status);
            if !fine {
                // That nothing is there is about the reader only where the reader chose where.
                let asked = asked && (below || !matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE));
                return Err(refused(status, answer.headers(), asked, what));
            }
            let mut headers = HeaderMap::new();
            for name in ANSWERED {
                if let Some(value) = answer.headers().get(&name) {
                    headers.insert(name, value.clone());
                }
            }
            let body = Streamed { inner: Box::pin(answer.bytes_stream()) }.boxed_unsync();
            Ok(DataResponse { status, headers, body })
        })
    }
}

struct Streamed {
    inner: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.inner.as_mut().poll_next(cx).map(|item| {
            item.map(|chunk| match chunk {
                Ok(bytes) => Ok(Frame::data(bytes)),
                Err(error) => Err(StreamError::Source(Box::new(error.without_url()))),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> HttpSource {
        // Another test may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let paths = ["stations/*".to_owned(), "all/**".to_owned()];
        let allowed = HttpAllowed::new(&paths, vec!["from".to_owned(), "station".to_owned()], &[]).unwrap();
        HttpSource::new(client, address.parse().unwrap(), HttpAsked::default(), allowed).unwrap()
    }

    fn asked(source: &HttpSource, path: &str, query: &[(&str, &str)]) -> Result<String, SourceError> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = DataRequest { path: path.to_owned(), query, ..DataRequest::default() };
        source.allowed.check(&request)?;
        source.address(&request).map(|url| url.to_string())
    }

    #[test]
    fn the_path_that_is_sent_is_the_one_that_is_on_the_list() {
        let source = source("https://upstream.example/api/");
        for (path, sent) in [
            ("stations/7", "https://upstream.example/api/stations/7"),
            ("stations/a%20b", "https://upstream.example/api/stations/a%20b"),
            ("all/a%2Fb", "https://upstream.example/api/all/a%2Fb"),
        ] {
            assert_eq!(asked(&source, path, &[]).unwrap(), sent);
        }
        for path in [
            "stations/.%0a.",
            "stations/.%09.",
            "stations/.%0d.",
            "stations/.\n.",
            "stations/.\t./admin",
            "stations/%2e%2e",
            "stations/..",
            "stations/.",
            "stations/..\\admin",
            "stations/..%5cadmin",
            "all//b",
            "all/./b",
            "all/x/../../admin",
            "all/%2e%2e/%2e%2e/admin",
            "all/..%2f..%2fadmin",
            "all/..;/admin",
            "all/%252e%252e/admin",
            "admin",
            // Upstreams that decode before they look would go deeper than the list does.
            "stations/a%2Fb",
            "/admin",
            "/stations/7",
            "stations/a/b",
            // Of several ways to read them, one is not on the list.
            "all/a/b?c#d",
            "stations/7%252fadmin",
            "stations/7%255cadmin",
            "stations/7%5cadmin",
            "stations/7\\admin",
            "stations/",
            "all/",
            "all/%2f%2f",
            "all//",
            "stations/%ef%bc%8e%ef%bc%8e",
            "all/7\u{ff0f}admin",
            "stations/%e2%80%a5",
            "stations/7%c2%ad",
            "stations/7%3fall",
            "stations/7%23all",
            "stations/7%2500",
            "stations/%2520.",
        ] {
            assert!(matches!(asked(&source, path, &[]), Err(SourceError::NotFound(_))), "{path:?}");
        }
    }

    #[test]
    fn where_every_path_is_offered_none_leads_elsewhere() {
        let mut source = source("https://upstream.example/api?fixed=1");
        source.allowed = HttpAllowed::default().with_any_path().with_any_parameter();
        for (path, query, sent) in [
            ("", [].as_slice(), "https://upstream.example/api?fixed=1"),
            ("a/b.json", &[("x", "1")], "https://upstream.example/api/a/b.json?fixed=1&x=1"),
        ] {
            assert_eq!(asked(&source, path, query).unwrap(), sent);
        }
        for path in
            ["..", "a/../../admin", "a/%2e%2e/admin", "a/..%2fadmin", "a//b", "a/..;/b", "%252e%252e/a"]
        {
            assert!(matches!(asked(&source, path, &[]), Err(SourceError::NotFound(_))), "{path:?}");
        }
        assert!(matches!(asked(&source, "", &[("fixed", "2")]), Err(SourceError::Asked(_))));
    }

    #[test]
    fn the_operators_path_is_read_by_who_names_none() {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url: url::Url = "https://upstream.example/api/".parse().unwrap();
        let at = |path: &str| {
            let asked = HttpAsked { path: Some(path.to_owned()), ..HttpAsked::default() };
            HttpSource::new(client.clone(), url.clone(), asked, HttpAllowed::default().with_any_path())
        };
        let source = at("/rows.json").unwrap();
        assert_eq!(asked(&source, "", &[]).unwrap(), "https://upstream.example/api/rows.json");
        assert_eq!(asked(&source, "other", &[]).unwrap(), "https://upstream.example/api/other");
        assert!(at("../admin").is_err());
    }

    #[test]
    fn a_slash_at_the_end_is_offered_by_a_pattern_that_has_one() {
        let mut source = source("https://upstream.example/api");
        source.allowed = HttpAllowed::new(&["stations/*/".to_owned()], Vec::new(), &[]).unwrap();
        assert_eq!(asked(&source, "stations/7/", &[]).unwrap(), "https://upstream.example/api/stations/7/");
        for path in ["stations/7", "stations/", "stations//", "stations/7//", "stations/7%2F", "/"] {
            assert!(matches!(asked(&source, path, &[]), Err(SourceError::NotFound(_))), "{path:?}");
        }
    }

    #[test]
    fn a_parameter_is_the_one_that_is_on_the_list_and_none_that_is_fixed() {
        let listed = source("https://upstream.example/api?station=7");
        assert!(asked(&listed, "", &[("from", "1\n2")]).unwrap().ends_with("api?station=7&from=1%0A2"));
        let mut open = source("https://upstream.example/api?station=7");
        open.allowed = HttpAllowed::default().with_any_parameter();
        for name in ["station[]", "station[0]", " station", "station\0", "station.x", "STATION", "a\nb"] {
            assert!(matches!(asked(&open, "", &[(name, "8")]), Err(SourceError::Asked(_))), "{name:?}");
        }
        assert!(asked(&open, "", &[("stations", "8")]).is_ok());
        for name in ["station", "from\n", "from%0a", "From", "from[]", "from\0"] {
            assert!(matches!(asked(&listed, "", &[(name, "8")]), Err(SourceError::Asked(_))), "{name:?}");
        }
    }
}
