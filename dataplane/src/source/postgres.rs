//! A fixed query of a PostgreSQL database, its parameters typed and bound, its rows streamed.
//!
//! The session is read-only and its statements are bounded in time; a superuser is refused. The database writes each row
//! as JSON, so that every type it knows is told as it tells it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream as _, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use jiff::civil::Date;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, Row, RowStream};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::{DataRequest, DataResponse, Opening, Source, nothing};
use crate::error::{SourceError, StreamError};
use crate::rows::{Form, Pipe, Shape, View, in_columns, pipe};
use crate::source::Body;

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for a place among the connections of a database.
const WAIT: Duration = Duration::from_secs(10);
/// When a reader that found no place may ask again, in seconds.
const AGAIN: HeaderValue = HeaderValue::from_static("10");
/// How long a connection is kept that nobody needs.
const KEPT: Duration = Duration::from_secs(60);
/// Rows that are written together.
const TOGETHER: usize = 32 * 1024;

/// In which form rows are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlForm {
    /// Arrow's streaming format.
    Arrow,
    /// A table with a line of names.
    Csv,
    /// An object a line.
    JsonLines,
}

impl SqlForm {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Arrow => View::ArrowStream.media_type(),
            Self::Csv => Form::Csv.media_type(),
            Self::JsonLines => Form::JsonLines.media_type(),
        }
    }
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// `true` or `false`.
    Boolean,
    /// A day, such as 2026-01-31.
    Date,
    /// A point in time with its zone.
    DateTime,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Any text.
    Text,
}

/// A parameter of a query: the n-th stands for `$n`.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name, as readers give it.
    pub name: String,
    /// What it may be.
    pub kind: ParameterKind,
    /// Taken where the reader does not say; NULL where there is none.
    pub default: Option<String>,
}

/// The connections to one database: so many at once, and those that no read needs are kept for the next one for a while.
/// Clones share them.
#[derive(Debug, Clone)]
pub struct PostgresPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    places: Arc<Semaphore>,
    unused: Mutex<Unused>,
}

#[derive(Debug, Default)]
struct Unused {
    open: Vec<(Instant, Open)>,
    /// Closes what nobody needs.
    closing: Option<AbortOnDropHandle<()>>,
}

/// A connection.
struct Open {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

/// A connection that a read has, with its place.
struct Connection {
    open: Open,
    place: OwnedSemaphorePermit,
}

impl PostgresPool {
    /// At most `most` connections at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Pool { places, unused: Mutex::default() }))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, SourceError> {
        let place = tokio::time::timeout(WAIT, Arc::clone(&self.0.places).acquire_owned()).await;
        place
            .ok()
            .and_then(Result::ok)
            .ok_or(SourceError::Busy { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(AGAIN) })
    }

    fn unused(&self) -> std::sync::MutexGuard<'_, Unused> {
        self.0.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last.
    fn kept(&self) -> Option<Open> {
        self.unused().open.pop().map(|(_, open)| open)
    }

    fn keep(&self, Connection { open, place }: Connection) {
        let mut unused = self.unused();
        if open.client.is_closed() {
            return;
        }
        unused.open.push((Instant::now(), open));
        // Only now: whoever takes the place finds the connection.
        drop(place);
        if unused.closing.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let pool = Arc::downgrade(&self.0);
            unused.closing = Some(AbortOnDropHandle::new(tokio::spawn(close_unused(pool))));
        }
    }
}

/// The pools of databases, by how each is reached.
#[derive(Debug)]
pub struct PostgresPools {
    most: usize,
    pools: Mutex<HashMap<String, PostgresPool>>,
}

impl PostgresPools {
    /// Pools of at most `most` connections each.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, pools: Mutex::default() }
    }

    /// The pool of the database that is reached as `key` says.
    pub fn of(&self, key: &str) -> PostgresPool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if !pools.contains_key(key) {
            // Those of databases that are reached otherwise by now.
            pools.retain(|_, pool| Arc::strong_count(&pool.0) > 1 || !pool.unused().open.is_empty());
        }
        pools.entry(key.to_owned()).or_insert_with(|| PostgresPool::new(self.most)).clone()
    }
}

/// Closes connections that nobody has needed for [`KEPT`], until there are none.
async fn close_unused(pool: Weak<Pool>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut unused = pool.unused.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            unused.open.retain(|(since, _)| *since + KEPT > now);
            // The oldest stands first.
            let Some((since, _)) = unused.open.first() else {
                // Whoever keeps another one from here on begins anew.
                unused.closing = None;
                return;
            };
            *since + KEPT
        };
        tokio::time::sleep_until(next).await;
    }
}

/// A query of a database.
#[derive(Debug)]
pub struct PostgresSource {
    config: Config,
    tls: rustls::ClientConfig,
    query: String,
    parameters: Vec<Parameter>,
    form: SqlForm,
    longest: Duration,
    pool: PostgresPool,
}

impl PostgresSource {
    /// The rows of `query` in the database that `connection` names (`postgres://…`). A statement may take `longest`; each read
    /// takes a connection of `pool`, which the sources of one database share, for as long as it lasts.
    ///
    /// # Errors
    /// The connection or the query cannot be used.
    pub fn new(
        connection: &str,
        tls: rustls::ClientConfig,
        query: String,
        parameters: Vec<Parameter>,
        form: SqlForm,
        longest: Duration,
        pool: PostgresPool,
    ) -> Result<Self, SourceError> {
        // The error may repeat the password.
        let mut config: Config = connection
            .trim()
            .parse()
            .map_err(|_| SourceError::Address("the connection to the database cannot be read".to_owned()))?;
        config.application_name("concordat").connect_timeout(CONNECT);
        for parameter in &parameters {
            if let Some(default) = &parameter.default {
                Bound::read(parameter, default)?;
            }
        }
        let query = query.trim().trim_end_matches(';').to_owned();
        Ok(Self { config, tls, query, parameters, form, longest, pool })
    }

    fn bind(&self, asked: &[(String, String)]) -> Result<Vec<Bound>, SourceError> {
        let given = |parameter: &Parameter| {
            let asked = asked.iter().rev().find(|(name, _)| *name == parameter.name).map(|(_, value)| value);
            asked
                .or(parameter.default.as_ref())
                .map_or(Ok(Bound::Null), |value| Bound::read(parameter, value))
        };
        self.parameters.iter().map(given).collect()
    }

    /// A connection that is as if it were new.
    async fn connect(&self) -> Result<Connection, SourceError> {
        let place = self.pool.place().await?;
        let setup = format!(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET default_transaction_read_only = on; \
             SET statement_timeout = {}; SET TimeZone = 'UTC'",
            self.longest.as_millis()
        );
        while let Some(kept) = self.pool.kept() {
            // The database may have ended it meanwhile.
            let clear = async {
                // By itself: it runs in no transaction, and several statements together are one.
                kept.client.batch_execute("DISCARD ALL").await?;
                kept.client.batch_execute(&setup).await
            };
            if let Ok(Ok(())) = tokio::time::timeout(CONNECT, clear).await {
                return Ok(Connection { open: reads_only(kept).await?, place });
            }
        }
        let connecting = self.config.connect(MakeRustlsConnect::new(self.tls.clone()));
        let connected = tokio::time::timeout(CONNECT, connecting).await;
        let connected =
            connected.map_err(|_| SourceError::Failed("the database does not answer".to_owned()))?;
        let (client, connection) = connected.map_err(|error| failed(&error))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "a connection to a database ended");
            }
        }));
        client.batch_execute(&setup).await.map_err(|error| failed(&error))?;
        Ok(Connection { open: reads_only(Open { client, _driver: driver }).await?, place })
    }
}

/// Who could do more than read is not used.
async fn reads_only(open: Open) -> Result<Open, SourceError> {
    let role = open.client.query_one("SELECT current_setting('is_superuser') = 'on'", &[]).await;
    if role.map_err(|error| failed(&error))?.get::<_, bool>(0) {
        return Err(SourceError::Address(
            "the database is reached as a superuser; make a role that may only read what is shared"
                .to_owned(),
        ));
    }
    Ok(open)
}

/// Without the text of the query: readers do not see it.
fn failed(error: &tokio_postgres::Error) -> SourceError {
    SourceError::Failed(match error.as_db_error() {
        Some(said) => format!("the database says: {} ({})", said.message(), said.code().code()),
        None => format!("the database: {error}"),
    })
}

/// As [`failed`]; what a value of the reader does not fit is for the reader to mend (SQLSTATE class 22, data exceptions).
fn failed_with(error: &tokio_postgres::Error, asked: bool) -> SourceError {
    match error.as_db_error() {
        Some(said) if asked && said.code().code().starts_with("22") => {
            SourceError::Asked("a parameter has a value that the query cannot work with".to_owned())
        }
        _ => failed(error),
    }
}

impl Source for PostgresSource {
    fn open(&self, request: DataRequest) -> Opening<'_> {
        Box::pin(async move {
            request.expect_read()?;
            if !request.path.is_empty() {
                return Err(SourceError::NotFound(request.path));
            }
            let known: Vec<_> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            request.expect_query(&known)?;
            let bound = self.bind(&request.query)?;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.form.media_type()));
            let connection = self.connect().await?;
            let client = &connection.open.client;
            let query = format!("SELECT row_to_json(shared)::text FROM ({}) AS shared", self.query);
            let statement = client.prepare(&query).await.map_err(|error| failed(&error))?;
            if statement.params().len() != bound.len() {
                return Err(SourceError::Address(format!(
                    "the query has {} parameters, {} are described",
                    statement.params().len(),
                    bound.len()
                )));
            }
            for ((parameter, value), kind) in self.parameters.iter().zip(&bound).zip(statement.params()) {
                if !value.fits(kind) {
                    let text =
                        format!("the parameter `{}` is out of range: the query wants {kind}", parameter.name);
                    return Err(SourceError::Asked(text));
                }
            }
            let asked = !request.query.is_empty();
            let body = if request.method == Method::HEAD {
                drop(statement);
                self.pool.keep(connection);
                nothing()
            } else {
                let rows = client.query_raw(&statement, bound).await;
                let mut rows = Box::pin(rows.map_err(|error| failed_with(&error, asked))?);
                // A query that fails before its first row has given nothing: that is said in place of data.
                let first = rows.next().await.transpose().map_err(|error| failed_with(&error, asked))?;
                let ended = first.is_none().then_some(None);
                let at_its_end = Some((self.pool.clone(), connection));
                let lines = Lines { rows, first, ended, at_its_end }.boxed_unsync();
                match self.form {
                    SqlForm::Arrow => in_columns(lines),
                    SqlForm::Csv => as_csv(lines),
                    SqlForm::JsonLines => lines,
                }
            };
            Ok(DataResponse { status: StatusCode::OK, headers, body })
        })
    }
}

fn as_csv(lines: Body) -> Body {
    let laid = Pipe { from: Shape::plain(Form::JsonLines), to: Form::Csv, stage: None };
    pipe(lines, laid, Arc::default())
}

/// Rows as lines; the connection is held as long, and kept for another read if it came to its end.
struct Lines {
    rows: Pin<Box<RowStream>>,
    /// Read already.
    first: Option<Row>,
    /// How it ended, to be told once what was read is handed on.
    ended: Option<Option<SourceError>>,
    at_its_end: Option<(PostgresPool, Connection)>,
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let mut out = BytesMut::new();
        loop {
            if out.len() >= TOGETHER || (self.ended.is_some() && !out.is_empty()) {
                return Poll::Ready(Some(Ok(Frame::data(out.freeze()))));
            }
            match self.ended.take() {
                None => {}
                Some(None) => {
                    self.ended = Some(None);
                    if let Some((pool, connection)) = self.at_its_end.take() {
                        pool.keep(connection);
                    }
                    return Poll::Ready(None);
                }
                Some(Some(error)) => {
                    self.ended = Some(None);
                    return Poll::Ready(Some(Err(StreamError::Source(Box::new(error)))));
                }
            }
            let polled = match self.first.take() {
                Some(first) => Poll::Ready(Some(Ok(first))),
                None => self.rows.as_mut().poll_next(cx),
            };
            match polled {
                Poll::Ready(Some(Ok(row))) => match row.try_get::<_, &str>(0) {
                    Ok(line) => {
                        out.extend_from_slice(line.as_bytes());
                        out.put_u8(b'\n');
                    }
                    Err(error) => self.ended = Some(Some(failed(&error))),
                },
                Poll::Ready(Some(Err(error))) => self.ended = Some(Some(failed(&error))),
                Poll::Ready(None) => self.ended = Some(None),
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(Ok(Frame::data(out.freeze())))),
            }
        }
    }
}

/// A value that was checked against its type.
#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Boolean(bool),
    Date(Date),
    Instant(Timestamp),
    Integer(i64),
    Null,
    Number(f64),
    Text(String),
}

impl Bound {
    /// Whether it is within what `kind` can hold; what it is of another kind is not for it to say.
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "real is what the query wants"
    )]
    fn fits(&self, kind: &Type) -> bool {
        match (self, kind) {
            (Self::Integer(number), &Type::INT2) => i16::try_from(*number).is_ok(),
            (Self::Integer(number), &Type::INT4) => i32::try_from(*number).is_ok(),
            (Self::Number(number), &Type::FLOAT4) => (*number as f32).is_finite(),
            _ => true,
        }
    }

    fn read(parameter: &Parameter, text: &str) -> Result<Self, SourceError> {
        let read = match parameter.kind {
            ParameterKind::Boolean => text.parse().ok().map(Self::Boolean),
            ParameterKind::Date => text.parse().ok().map(Self::Date),
            ParameterKind::DateTime => crate::obligations::instant(text).map(Self::Instant),
            ParameterKind::Integer => text.parse().ok().map(Self::Integer),
            ParameterKind::Number => {
                text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Number)
            }
            ParameterKind::Text => (!text.contains('\0')).then(|| Self::Text(text.to_owned())),
        };
        let kind = format!("{:?}", parameter.kind).to_lowercase();
        read.ok_or_else(|| SourceError::Asked(format!("the parameter `{}` is not a {kind}", parameter.name)))
    }
}

impl ToSql for Bound {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let misfit = || format!("the query wants {kind} here");
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Boolean(flag) => flag.to_sql(kind, out),
            Self::Date(date) => date.to_sql(kind, out),
            Self::Instant(at) if *kind == Type::TIMESTAMP => {
                jiff::tz::TimeZone::UTC.to_datetime(*at).to_sql(kind, out)
            }
            Self::Instant(at) => at.to_sql(kind, out),
            Self::Integer(number) => match *kind {
                Type::INT2 => i16::try_from(*number)?.to_sql(kind, out),
                Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
                Type::INT8 => number.to_sql(kind, out),
                _ => Err(misfit().into()),
            },
            #[expect(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                reason = "real is what the query wants"
            )]
            Self::Number(number) => match *kind {
                Type::FLOAT4 => (*number as f32).to_sql(kind, out),
                Type::FLOAT8 => number.to_sql(kind, out),
                _ => Err(misfit().into()),
            },
            Self::Text(text) => text.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [
            Type::BOOL,
            Type::DATE,
            Type::TIMESTAMP,
            Type::TIMESTAMPTZ,
            Type::INT2,
            Type::INT4,
            Type::INT8,
            Type::FLOAT4,
            Type::FLOAT8,
        ]
        .contains(kind)
            || <String as ToSql>::accepts(kind)
    }

    fn encode_format(&self, _kind: &Type) -> Format {
        Format::Binary
    }

    to_sql_checked!();
}
