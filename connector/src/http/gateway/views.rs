//! Data of the gateway in another form. The whole table is read and looked at before the first byte is handed on, so that a
//! column has one type, and a view that cannot be made is an answer that says why. It waits on disk for whoever asks for its
//! length and then for parts of it (DuckDB, polars and others do), for a minute after the last of them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dataplane::rows::{RowError, Shape, Survey, Surveyor, View, Viewer, recognised};
use dataplane::{DataResponse, Signal, StreamError, WantedRange, wanted_range};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::{OnceCell, Semaphore, oneshot, watch};
use tokio::time::Instant;

use super::spool::{Room, Spool, Writer};
use super::{Fetched, Refused, Request, fetch};
use crate::clock;
use crate::http::management::Management;
use crate::ids::hex;
use crate::reading::Unread;
use crate::tables::Event;

/// Most tables that are kept, and most views of one.
const MOST: usize = 64;
/// For how long after somebody asked for it last.
const KEPT: Duration = Duration::from_secs(60);
/// For how long in all.
const KEPT_AT_MOST: Duration = Duration::from_secs(900);
/// Longest header of it, in bytes.
const LONGEST_TOLD: usize = 2000;
/// Most views that are written at once.
const AT_ONCE: usize = 4;
/// How the data was read where that does not go without saying.
const READ_AS: HeaderName = HeaderName::from_static("concordat-read-as");

/// Tables that were read, and their views.
#[derive(Debug)]
pub(crate) struct Views {
    room: Arc<Room>,
    folder: PathBuf,
    tables: Arc<Mutex<HashMap<Asked, Kept>>>,
    /// Views that are written at once: each takes a core.
    writing: Semaphore,
    /// Whether a task lets go of what is kept for too long.
    is_tidied: AtomicBool,
}

/// What was asked for: the same data, read in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    transfer: String,
    path: String,
    query: Vec<(String, String)>,
    body: Bytes,
    is_filled: bool,
    as_text: bool,
    limit: Option<u64>,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    last: Instant,
    /// The entity tag that the data has at its source.
    tag: Option<String>,
    slot: Arc<Slot>,
}

/// A table that is read once, whoever waits for it.
#[derive(Debug, Default)]
struct Slot {
    table: OnceCell<Result<Arc<Table>, Arc<Refused>>>,
    views: Mutex<HashMap<View, Made>>,
}

/// A view that is made once, whoever waits for it.
type Made = Arc<OnceCell<Result<Arc<Spool>, Arc<Refused>>>>;

#[derive(Debug)]
struct Table {
    data: Spool,
    survey: Survey,
    headers: HeaderMap,
    /// What tells it from others where the source has no entity tag.
    id: String,
}

impl Slot {
    fn made(&self, view: View) -> Made {
        Arc::clone(self.views.lock().unwrap_or_else(PoisonError::into_inner).entry(view).or_default())
    }

    /// Whether nobody waits for it, makes a view of it or reads one.
    fn is_idle(self: &Arc<Self>) -> bool {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = |made: &Made| match made.get() {
            Some(Ok(spool)) => Arc::strong_count(spool) == 1,
            Some(Err(_)) => true,
            None => false,
        };
        Arc::strong_count(self) == 1 && views.values().all(unread)
    }

    /// What failed is tried again by whoever asks next.
    fn forget(&self, view: View, made: &Made) {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if views.get(&view).is_some_and(|known| Arc::ptr_eq(known, made)) {
            views.remove(&view);
        }
    }
}

impl Views {
    /// Views that wait in `folder`, and take so many megabytes at most.
    pub(crate) fn new(folder: PathBuf, megabytes: u32) -> Self {
        let tables = Arc::new(Mutex::new(HashMap::new()));
        let idle = Arc::clone(&tables);
        Self {
            room: Room::new(megabytes, move || let_go_of_one(&idle)),
            folder,
            tables,
            writing: Semaphore::new(AT_ONCE),
            is_tidied: AtomicBool::new(false),
        }
    }

    /// The place of a table: `fresh` wants one that the source still has, with this entity tag.
    fn slot(&self, asked: &Asked, fresh: Option<Option<&str>>) -> Arc<Slot> {
        let now = Instant::now();
        let mut tables = self.kept(now);
        if let Some(kept) = tables.get_mut(asked) {
            let is_same = match fresh {
                None => true,
                // One that is being read now is new enough.
                Some(tag) => tag.is_some() && tag == kept.tag.as_deref() || !kept.slot.table.initialized(),
            };
            if is_same {
                kept.last = now;
                return Arc::clone(&kept.slot);
            }
        }
        if tables.len() >= MOST
            && let Some(oldest) =
                tables.iter().min_by_key(|(_, kept)| kept.last).map(|(asked, _)| asked.clone())
        {
            tables.remove(&oldest);
        }
        let slot = Arc::new(Slot::default());
        let tag = fresh.flatten().map(str::to_owned);
        tables.insert(asked.clone(), Kept { since: now, last: now, tag, slot: Arc::clone(&slot) });
        slot
    }

    /// The tables whose time is not over.
    fn kept(&self, now: Instant) -> MutexGuard<'_, HashMap<Asked, Kept>> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|_, kept| now - kept.last < KEPT && now - kept.since < KEPT_AT_MOST);
        tables
    }

    /// Whether a table is there, or is being read.
    fn has(&self, asked: &Asked) -> bool {
        self.kept(Instant::now()).contains_key(asked)
    }

    /// What failed is tried again by whoever asks next.
    fn forget(&self, asked: &Asked, slot: &Arc<Slot>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.get(asked).is_some_and(|kept| Arc::ptr_eq(&kept.slot, slot)) {
            tables.remove(asked);
        }
    }

    /// Lets go of what nobody asked for lately; whether nothing is left.
    fn tidy(&self) -> bool {
        let tables = self.kept(Instant::now());
        if tables.is_empty() {
            self.is_tidied.store(false, Ordering::Release);
        }
        tables.is_empty()
    }

    fn writer(&self) -> Result<Writer, Refused> {
        Writer::new(&self.room, &self.folder).map_err(|error| Refused::Storage(error.to_string()))
    }
}

/// Lets go of the table that was asked for longest ago, of those that nobody reads, and whose views nobody reads; whether there
/// was one.
fn let_go_of_one(tables: &Mutex<HashMap<Asked, Kept>>) -> bool {
    let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
    let idle = tables.iter().filter(|(_, kept)| kept.slot.is_idle());
    let oldest = idle.min_by_key(|(_, kept)| kept.last).map(|(asked, _)| asked.clone());
    oldest.is_some_and(|oldest| tables.remove(&oldest).is_some())
}

/// Reads data that is used, in the form `view`.
pub(super) async fn read(
    management: &Arc<Management>,
    mut request: Request,
    view: View,
) -> Result<DataResponse, Arc<Refused>> {
    let name = request.name.clone();
    let result = shown(management, &mut request, view).await;
    if let Err(refused) = &result {
        match &**refused {
            Refused::Unread(_) => {}
            refused => {
                let text = format!("{name}.{} was not shown: {refused}", view.ending());
                let event = Event::new("stream", clock::now(), text).about(&name);
                management.faces.engine.record_refusal(&format!("{name} was not shown"), event).await;
            }
        }
    }
    result
}

async fn shown(
    management: &Arc<Management>,
    request: &mut Request,
    view: View,
) -> Result<DataResponse, Arc<Refused>> {
    let engine = &management.faces.engine;
    let (used, transfer) =
        engine.transfer_for_use(&request.name).await.map_err(Unread::from).map_err(unread)?;
    let cut = engine.streams().watch(&transfer);
    let headers = std::mem::take(&mut request.wanted.headers);
    let is_head = request.wanted.method == Method::HEAD;
    let is_part = request.wanted.method == Method::GET && headers.contains_key(header::RANGE);
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request.wanted.headers.insert(header::CONTENT_TYPE, kind.clone());
    }
    let mut query = request.wanted.query.clone();
    query.extend(used.distribution.map(|one| ("distribution".to_owned(), one)));
    let asked = Asked {
        transfer,
        path: request.path.clone(),
        query,
        body: request.wanted.body.clone(),
        is_filled: request.is_filled,
        as_text: request.as_text,
        limit: request.limit,
    };
    let may_be_asked = matches!(request.wanted.method, Method::GET | Method::HEAD);
    let mut fresh = None;
    if may_be_asked && !(is_part && management.views.has(&asked)) {
        // Asking for the head alone is no use of the data: what has no rows is refused without one, and what is known is not
        // read again.
        match fetch(management, request, Method::HEAD).await {
            Ok(found) => {
                let tag = found.tag();
                if found.status.is_success() {
                    shape(request, view, &found.headers)?;
                }
                let own = tag.as_deref().and_then(|tag| of_view(tag, view));
                if let Some(own) = own.filter(|own| is_known(&headers, own)) {
                    return Ok(unchanged(&own));
                }
                fresh = if is_head && tag.is_none() { None } else { Some(tag) };
            }
            // A source may have no heads.
            Err(Refused::Unread(Unread::Refused {
                status: StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED,
                ..
            })) => {
                fresh = (!is_head).then_some(None);
            }
            Err(refused) => return Err(Arc::new(refused)),
        }
    } else if !may_be_asked {
        fresh = Some(None);
    }
    let slot = management.views.slot(&asked, fresh.as_ref().map(Option::as_deref));
    let read = {
        let (management, slot, request) = (Arc::clone(management), Arc::clone(&slot), request.clone());
        let method = if may_be_asked { Method::GET } else { request.wanted.method.clone() };
        async move {
            let read =
                async || table(&management, &request, method, view).await.map(Arc::new).map_err(Arc::new);
            slot.table.get_or_init(read).await.clone()
        }
    };
    let table = match going_on(management, read).await {
        Ok(table) => table,
        Err(refused) => {
            management.views.forget(&asked, &slot);
            return Err(refused);
        }
    };
    keep_tidy(management);
    let made = slot.made(view);
    let write = {
        let (management, table, limit) = (Arc::clone(management), Arc::clone(&table), request.limit);
        let made = Arc::clone(&made);
        async move {
            let write = async || make(&management, &table, view, limit).await.map(Arc::new).map_err(Arc::new);
            made.get_or_init(write).await.clone()
        }
    };
    let spool = going_on(management, write).await.inspect_err(|_| slot.forget(view, &made))?;
    Ok(served(&table, &spool, view, (&headers, if is_head { Method::HEAD } else { Method::GET }), cut))
}

/// Work that goes on if whoever asked for it does not wait: the next one finds it done, and no read is used up for nothing.
async fn going_on<T: Send + 'static>(
    management: &Arc<Management>,
    work: impl Future<Output = Result<T, Arc<Refused>>> + Send + 'static,
) -> Result<T, Arc<Refused>> {
    let (told, tells) = oneshot::channel();
    management.faces.engine.tasks().until_stop(async move {
        // Nobody may wait for it any more.
        let _ = told.send(work.await);
    });
    tells.await.unwrap_or_else(|_| Err(Arc::new(Refused::Broke("this node is stopping".to_owned()))))
}

fn unread(unread: Unread) -> Arc<Refused> {
    Arc::new(Refused::Unread(unread))
}

/// How the data is to be read.
fn shape(request: &Request, view: View, headers: &HeaderMap) -> Result<Shape, Refused> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text(header::CONTENT_TYPE);
    let below = if request.path.is_empty() { String::new() } else { format!("/{}", request.path) };
    let Some(shape) = Shape::of(media_type) else {
        return Err(Refused::View(format!(
            "`{}` is `{media_type}`, which has no rows to show as {}; read it as it is: /d/{0}{below}",
            request.name,
            view.ending()
        )));
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refused::View("the provider packs the data although it was not asked to".to_owned()));
    }
    let mut shape = shape.map_err(|error| Refused::View(error.to_string()))?;
    if request.is_filled {
        shape = shape.filled();
    }
    if request.as_text {
        shape = shape.as_text();
    }
    Ok(shape)
}

/// The entity tag of a view, from that of the data.
fn of_view(tag: &str, view: View) -> Option<String> {
    Some(format!("{}-{}\"", tag.strip_suffix('"')?, view.ending()))
}

/// Whether the reader has it already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let all = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|one| one.trim() == "*" || weak(one) == weak(tag))
}

fn unchanged(tag: &str) -> DataResponse {
    let mut headers = HeaderMap::new();
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    DataResponse { status: StatusCode::NOT_MODIFIED, headers, body: nothing() }
}

fn nothing() -> dataplane::Body {
    http_body_util::Empty::new().map_err(|impossible| match impossible {}).boxed_unsync()
}

/// Work that blocks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Refused::Storage("making the view failed".to_owned())))
}

fn stored(error: &io::Error) -> Refused {
    Refused::Storage(error.to_string())
}

/// Reads a table, and looks at it while it comes.
async fn table(
    management: &Arc<Management>,
    request: &Request,
    method: Method,
    view: View,
) -> Result<Table, Refused> {
    let Fetched { status, headers, mut body, counted } = fetch(management, request, method).await?;
    if status != StatusCode::OK {
        return Err(Refused::Broke(format!(
            "the provider answers {status} where all of the data is asked for"
        )));
    }
    let shape = shape(request, view, &headers)?;
    let mut state = (management.views.writer()?, Some(Surveyor::new(shape, request.limit)));
    let is_full = |state: &(Writer, Option<Surveyor>)| state.1.as_ref().is_some_and(Surveyor::is_full);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refused::Broke(crate::telemetry::chain(&error)))?;
        let Ok(bytes) = frame.into_data() else { continue };
        state = blocking(move || {
            let (mut writer, mut surveyor) = state;
            // Behind the rows that are wanted only the reference system of their coordinates is.
            if !surveyor.as_ref().is_some_and(Surveyor::has_rows) {
                writer.push(&bytes).map_err(|error| stored(&error))?;
            }
            if let Some(seen) = &mut surveyor
                && let Err(error) = seen.push(&bytes)
            {
                // What is in another encoding is looked at again, once all of it tells which.
                if !seen.is_other() {
                    return Err(unfit(error));
                }
                surveyor = None;
            }
            Ok((writer, surveyor))
        })
        .await?;
        if is_full(&state) {
            break;
        }
    }
    let limit = request.limit;
    let (data, survey) = blocking(move || {
        let (writer, surveyor) = state;
        let data = writer.finish().map_err(|error| stored(&error))?;
        let seen =
            surveyor.map(|mut surveyor| surveyor.finish().map_err(|error| (surveyor.is_other(), error)));
        let survey = match seen {
            Some(Ok(survey)) => survey,
            Some(Err((false, error))) => return Err(unfit(error)),
            Some(Err((true, _))) | None => again(&data, shape, limit)?,
        };
        Ok((data, survey))
    })
    .await?;
    counted.count_rows(survey.rows());
    drop(body);
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(|error| Refused::Storage(error.to_string()))?;
    Ok(Table { data, survey, headers, id: hex(&id) })
}

/// Looks at data again in the encoding that it is probably in.
fn again(data: &Spool, shape: Shape, limit: Option<u64>) -> Result<Survey, Refused> {
    let mut failed = None;
    let chunks = data.chunks().map_while(|chunk| chunk.map_err(|error| failed = Some(error)).ok());
    let encoding = recognised(chunks);
    if let Some(error) = failed {
        return Err(stored(&error));
    }
    let mut surveyor = Surveyor::new(shape.encoded(encoding), limit);
    for chunk in data.chunks() {
        surveyor.push(&chunk.map_err(|error| stored(&error))?).map_err(unfit)?;
        if surveyor.is_full() {
            break;
        }
    }
    surveyor.finish().map_err(unfit)
}

fn unfit(error: RowError) -> Refused {
    Refused::Rows(error.to_string())
}

/// Writes a view.
async fn make(
    management: &Arc<Management>,
    table: &Arc<Table>,
    view: View,
    limit: Option<u64>,
) -> Result<Spool, Refused> {
    let _place =
        management.views.writing.acquire().await.map_err(|error| Refused::Broke(error.to_string()))?;
    let (writer, table) = (management.views.writer()?, Arc::clone(table));
    blocking(move || written(&table, view, limit, writer)).await
}

/// Writes a view, little of which is held at once. Blocks.
fn written(table: &Table, view: View, limit: Option<u64>, mut writer: Writer) -> Result<Spool, Refused> {
    let mut viewer = Viewer::new(&table.survey, view, limit).map_err(unfit)?;
    let mut full = None;
    let mut drain = |out: &mut Vec<u8>| {
        let pushed = writer.push(out);
        out.clear();
        pushed.map_err(|error| {
            let told = RowError(error.to_string());
            full = Some(error);
            told
        })
    };
    let write = || {
        let mut out = Vec::new();
        for chunk in table.data.chunks() {
            let chunk = chunk.map_err(|error| stored(&error))?;
            viewer.push(&chunk, &mut out, &mut drain).map_err(unfit)?;
            drain(&mut out).map_err(unfit)?;
            if viewer.is_full() {
                break;
            }
        }
        viewer.finish(&mut out, &mut drain).map_err(unfit)?;
        drain(&mut out).map_err(unfit)
    };
    let result = write();
    // No row is at fault where there is no room.
    match full {
        Some(error) => return Err(stored(&error)),
        None => result?,
    }
    writer.finish().map_err(|error| stored(&error))
}

/// Lets go of what is kept when its time is over, also if nobody asks for anything any more.
fn keep_tidy(management: &Arc<Management>) {
    if management.views.is_tidied.swap(true, Ordering::AcqRel) {
        return;
    }
    let held = Arc::downgrade(management);
    management.faces.engine.tasks().until_stop(async move {
        loop {
            tokio::time::sleep_until(Instant::now() + KEPT).await;
            let Some(management) = held.upgrade() else { return };
            if management.views.tidy() {
                return;
            }
        }
    });
}

/// The answer: all of a view, or a part of it.
fn served(
    table: &Table,
    spool: &Arc<Spool>,
    view: View,
    (asked, method): (&HeaderMap, Method),
    cut: watch::Receiver<Signal>,
) -> DataResponse {
    let mut headers = table.headers.clone();
    for name in [header::CONTENT_LENGTH, header::CONTENT_RANGE] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(view.media_type()));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let source = headers.get(header::ETAG).and_then(|value| value.to_str().ok());
    let tag = source.and_then(|tag| of_view(tag, view));
    let tag = tag.unwrap_or_else(|| format!("\"{}-{}\"", table.id, view.ending()));
    if let Ok(value) = HeaderValue::try_from(&tag) {
        headers.insert(header::ETAG, value);
    }
    if let Ok(value) = HeaderValue::try_from(told(table.survey.notes()))
        && !value.is_empty()
    {
        headers.insert(READ_AS, value);
    }
    let length = spool.length();
    let (status, range) = match wanted_range(&method, asked, &tag, None, length) {
        WantedRange::Whole => (StatusCode::OK, 0..length),
        WantedRange::Part(from, to) => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes {from}-{to}/{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            (StatusCode::PARTIAL_CONTENT, from..to.saturating_add(1))
        }
        WantedRange::Unsatisfiable => {
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
        }
    };
    headers.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let body = if method == Method::HEAD { nothing() } else { body(Arc::clone(spool), range, cut) };
    DataResponse { status, headers, body }
}

/// What was noted, as far as it fits a header.
fn told(notes: &[String]) -> String {
    let mut told = String::new();
    for (at, note) in notes.iter().enumerate() {
        if told.len() + note.len() > LONGEST_TOLD {
            told.push_str(&format!("; further={}", notes.len() - at));
            break;
        }
        if at > 0 {
            told.push_str("; ");
        }
        told.push_str(note);
    }
    told
}

/// A part of a view, until its transfer is cut.
fn body(spool: Arc<Spool>, range: std::ops::Range<u64>, cut: watch::Receiver<Signal>) -> dataplane::Body {
    let state = Some((spool, range, cut));
    let frames = stream::unfold(state, |state| async move {
        let (spool, mut range, mut cut) = state?;
        if range.is_empty() {
            return None;
        }
        if let Signal::Cut(reason) = &*cut.borrow_and_update() {
            return Some((Err(StreamError::Cut(reason.clone())), None));
        }
        let (from, wanted) = (Arc::clone(&spool), range.clone());
        let read = tokio::task::spawn_blocking(move || from.read(&wanted)).await.map_err(io::Error::other);
        match read.and_then(|read| read) {
            Ok(bytes) if !bytes.is_empty() => {
                range.start += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Some((Ok(http_body::Frame::data(Bytes::from(bytes))), Some((spool, range, cut))))
            }
            Ok(_) => Some((Err(StreamError::Cut("the view is shorter than it was".to_owned())), None)),
            Err(error) => Some((Err(StreamError::Source(Box::new(error))), None)),
        }
    });
    StreamBody::new(frames.fuse()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(room: &Arc<Room>, folder: &std::path::Path, media_type: &str, text: &str) -> Table {
        let mut surveyor = Surveyor::new(Shape::of(media_type).unwrap().unwrap(), None);
        surveyor.push(text.as_bytes()).unwrap();
        let mut writer = Writer::new(room, folder).unwrap();
        writer.push(text.as_bytes()).unwrap();
        Table {
            data: writer.finish().unwrap(),
            survey: surveyor.finish().unwrap(),
            headers: HeaderMap::new(),
            id: "id".to_owned(),
        }
    }

    #[test]
    fn a_view_that_grows_ends_where_its_room_does() {
        let (room, folder) = (Room::new(2, || false), tempfile::tempdir().unwrap());
        let names: Vec<_> = (0..16_000).map(|one| format!("\"member{one}\":1")).collect();
        let text = format!("{{{}}}\n{}", names.join(","), "{}\n".repeat(500));
        let table = table(&room, folder.path(), "application/x-ndjson", &text);
        let made = |view: View| {
            let writer = Writer::new(&room, folder.path()).unwrap();
            written(&table, view, None, writer)
        };
        let refused = made(View::Csv).unwrap_err();
        assert!(matches!(&refused, Refused::Storage(why) if why.contains("views_megabytes")), "{refused}");
        assert_eq!(made(View::JsonLines).unwrap().length(), u64::try_from(text.len()).unwrap());
    }

    #[tokio::test]
    async fn a_part_is_given_only_of_what_the_reader_has() {
        let (room, folder) = (Room::new(2, || false), tempfile::tempdir().unwrap());
        let table = table(&room, folder.path(), "text/csv", "a\n1\n2\n");
        let writer = Writer::new(&room, folder.path()).unwrap();
        let spool = Arc::new(written(&table, View::Csv, None, writer).unwrap());
        let (_cuts, cut) = watch::channel(Signal::Run);
        let status = |condition: &'static str| {
            let mut asked = HeaderMap::new();
            asked.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
            asked.insert(header::IF_RANGE, HeaderValue::from_static(condition));
            served(&table, &spool, View::Csv, (&asked, Method::GET), cut.clone()).status
        };
        assert_eq!(status("\"id-csv\""), StatusCode::PARTIAL_CONTENT);
        assert_eq!(status("Sun, 06 Nov 1994 08:49:37 GMT"), StatusCode::OK, "nothing is known of times");
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_or_is_over_is_made_anew() {
        let slot = Slot::default();
        let made = slot.made(View::Csv);
        let full = async || Err(Arc::new(Refused::Storage("there is no room".to_owned())));
        assert!(made.get_or_init(full).await.is_err());
        slot.forget(View::Csv, &made);
        assert!(!slot.made(View::Csv).initialized(), "there may be room now");

        let views = Views::new(std::env::temp_dir(), 1);
        let asked = Asked {
            transfer: "urn:t".to_owned(),
            path: String::new(),
            query: Vec::new(),
            body: Bytes::new(),
            is_filled: false,
            as_text: false,
            limit: None,
        };
        let first = views.slot(&asked, Some(Some("\"v1\"")));
        let _ = first.table.set(Err(Arc::new(Refused::Broke("gone".to_owned()))));
        assert!(views.has(&asked) && Arc::ptr_eq(&first, &views.slot(&asked, Some(Some("\"v1\"")))));
        assert!(!Arc::ptr_eq(&first, &views.slot(&asked, Some(Some("\"v2\"")))), "the source has another");
        tokio::time::advance(KEPT).await;
        assert!(!views.has(&asked) && views.tidy());
    }
}
