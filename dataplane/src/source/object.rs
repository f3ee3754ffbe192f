//! Objects in S3, Azure or Google stores, by Range like files; over the client that this node has anyway.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, ObjectStore, ObjectStoreExt as _};
use serde_json::json;

use super::file::{Wanted, media_type_of, wanted_range};
use super::{DataRequest, DataResponse, Opening, Source, below, nothing, streamed, whole};
use crate::error::{SourceError, StreamError};
use crate::requests::{Requests, Unsent};

/// Most objects in a list.
const MAX_LISTED: usize = 10_000;

/// The client that reaches object stores.
#[derive(Debug, Clone)]
pub struct ObjectClient(Arc<dyn Requests>);

impl ObjectClient {
    /// Over `requests`, which decide where they go: regions and names of accounts become parts of addresses.
    #[must_use]
    pub fn new(requests: Arc<dyn Requests>) -> Self {
        Self(requests)
    }
}

#[async_trait::async_trait]
impl HttpService for ObjectClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let failed =
            |kind: HttpErrorKind| move |error: reqwest::Error| HttpError::new(kind, error.without_url());
        let url = url::Url::parse(&parts.uri.to_string())
            .map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let body =
            body.collect().await.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?.to_bytes();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(body.into());
        let answer = self.0.send(request).await.map_err(|error| {
            let kind = match &error {
                Unsent::Forbidden(_) => HttpErrorKind::Unknown,
                error if error.is_connect() => HttpErrorKind::Connect,
                Unsent::Failed(_) => HttpErrorKind::Request,
            };
            HttpError::new(kind, error.without_url())
        })?;
        let mut response = http::Response::new(());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        let chunks =
            answer.bytes_stream().map_ok(http_body::Frame::data).map_err(failed(HttpErrorKind::Interrupted));
        let body = http_body_util::StreamBody::new(chunks);
        Ok(response.map(|()| object_store::client::HttpResponseBody::new(body)))
    }
}

impl HttpConnector for ObjectClient {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// An object, or all below a prefix.
#[derive(Debug)]
pub struct ObjectSource {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Whether `path` is a prefix of what is shared.
    is_prefix: bool,
    media_type: Option<String>,
}

impl ObjectSource {
    /// What `url` names (`s3://bucket/key`, `az://container/key`, `gs://bucket/key`); a key that ends with `/` is a prefix.
    /// `options` are those of the store, by the names of its own environment variables, with what is secret among them.
    ///
    /// # Errors
    /// No such kind of store, or its options do not fit.
    pub fn new(
        url: &url::Url,
        options: Vec<(String, String)>,
        client: ObjectClient,
        media_type: Option<String>,
    ) -> Result<Self, SourceError> {
        let path =
            Path::from_url_path(url.path()).map_err(|error| SourceError::Address(error.to_string()))?;
        let bucket = url.host_str().unwrap_or_default();
        let wrong = |error: object_store::Error| SourceError::Address(error.to_string());
        macro_rules! build {
            ($builder:expr) => {{
                let mut builder = $builder.with_http_connector(client);
                for (name, value) in options {
                    let key = name.to_ascii_lowercase().parse().map_err(wrong)?;
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.build().map_err(wrong)?)
            }};
        }
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" => build!(object_store::aws::AmazonS3Builder::new().with_bucket_name(bucket)),
            "az" => build!(object_store::azure::MicrosoftAzureBuilder::new().with_container_name(bucket)),
            "gs" => build!(object_store::gcp::GoogleCloudStorageBuilder::new().with_bucket_name(bucket)),
            other => return Err(SourceError::Address(format!("`{other}` is no object store: s3, az or gs"))),
        };
        Ok(Self { store, path, is_prefix: url.path().ends_with('/'), media_type })
    }

    /// The store itself, for what is pushed into it.
    pub(crate) fn store(&self) -> (&Arc<dyn ObjectStore>, &Path) {
        (&self.store, &self.path)
    }

    async fn list(&self) -> Result<DataResponse, SourceError> {
        let mut files = Vec::new();
        let mut found = self.store.list(Some(&self.path));
        while let Some(meta) = found.next().await {
            let meta = meta.map_err(failed)?;
            let path: Vec<_> = meta.location.prefix_match(&self.path).into_iter().flatten().collect();
            let path = path.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join("/");
            files.push(json!({
                "mediaType": media_type_of(std::path::Path::new(&path)), "path": path, "bytes": meta.size,
                "modified": meta.last_modified.to_rfc3339(),
            }));
            if files.len() > MAX_LISTED {
                return Err(SourceError::Failed(format!(
                    "there are more than {MAX_LISTED} objects below the prefix"
                )));
            }
        }
        Ok(whole("application/json", serde_json::to_vec(&files).unwrap_or_default().into()))
    }
}

fn failed(error: object_store::Error) -> SourceError {
    match error {
        // Its path says where the provider keeps it; and one object that is gone is the provider's to answer for.
        object_store::Error::NotFound { .. } => {
            SourceError::Failed("the object is not there any more".to_owned())
        }
        error => SourceError::Failed(format!("the object store: {error}")),
    }
}

impl Source for ObjectSource {
    fn is_folder(&self) -> bool {
        self.is_prefix
    }

    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            request.expect_read()?;
            request.expect_query(&[])?;
            let path = match (self.is_prefix, request.path.as_str()) {
                (false, "") => self.path.clone(),
                (true, "") => return self.list().await,
                (true, below) => {
                    below::names(below)?.into_iter().fold(self.path.clone(), |path, name| path.join(name))
                }
                _ => return Err(SourceError::NotFound(request.path)),
            };
            let meta = match self.store.head(&path).await {
                Err(object_store::Error::NotFound { .. }) if self.is_prefix => {
                    return Err(SourceError::NotFound(request.path));
                }
                found => found.map_err(failed)?,
            };
            let etag = meta.e_tag.clone().unwrap_or_default();
            let modified =
                Timestamp::from_second(meta.last_modified.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH);
            let media_type = self
                .media_type
                .clone()
                .unwrap_or_else(|| media_type_of(std::path::Path::new(path.as_ref())).to_owned());
            let mut headers = HeaderMap::new();
            let mut set = |name, value: String| {
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.insert(name, value);
                }
            };
            set(ACCEPT_RANGES, "bytes".to_owned());
            set(CONTENT_TYPE, media_type);
            set(LAST_MODIFIED, httpdate::fmt_http_date(modified.into()));
            if !etag.is_empty() {
                set(ETAG, etag.clone());
            }
            let known = request.headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
            if !etag.is_empty() && known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
                return Ok(DataResponse { status: StatusCode::NOT_MODIFIED, headers, body: nothing() });
            }
            let (status, start, end) = match wanted_range(
                &request.method,
                &request.headers,
                &etag,
                Some(modified.into()),
                meta.size,
            ) {
                Wanted::Whole => (StatusCode::OK, 0, meta.size),
                Wanted::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to + 1),
                Wanted::Unsatisfiable => {
                    if let Ok(value) = HeaderValue::try_from(format!("bytes */{}", meta.size)) {
                        headers.insert(CONTENT_RANGE, value);
                    }
                    let status = StatusCode::RANGE_NOT_SATISFIABLE;
                    return Ok(DataResponse { status, headers, body: nothing() });
                }
            };
            if status == StatusCode::PARTIAL_CONTENT
                && let Ok(value) = HeaderValue::try_from(format!("bytes {start}-{}/{}", end - 1, meta.size))
            {
                headers.insert(CONTENT_RANGE, value);
            }
            headers.insert(CONTENT_LENGTH, (end - start).into());
            if request.method == Method::HEAD || start == end {
                return Ok(DataResponse { status, headers, body: nothing() });
            }
            // Of exactly that object: one that is replaced meanwhile is an error, not a mixture.
            let options = GetOptions {
                range: Some((start..end).into()),
                if_match: meta.e_tag,
                ..GetOptions::default()
            };
            let found = self.store.get_opts(&path, options).await.map_err(failed)?;
            let chunks = found.into_stream().map_err(|error| StreamError::Source(Box::new(error)));
            Ok(DataResponse { status, headers, body: streamed(chunks) })
        })
    }
}
