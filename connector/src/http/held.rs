//! What a key opened ends with it: an answer that still runs when its key is revoked is cut at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::response::Response;
use dataplane::StreamError;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::engine::{Engine, Holder};

/// An answer that ends when the key of `holder` is revoked.
pub(super) fn answer(engine: &Arc<Engine>, holder: &Holder, response: Response) -> Response {
    match Held::new(engine, holder) {
        None => response,
        Some(held) => response.map(|body| Body::new(held(body))),
    }
}

/// The same for the data of a web socket, which outlives its answer.
pub(super) fn data(engine: &Arc<Engine>, holder: &Holder, body: dataplane::Body) -> dataplane::Body {
    match Held::new(engine, holder) {
        None => body,
        Some(held) => held(body)
            .map_err(|error| match error.downcast::<StreamError>() {
                Ok(error) => *error,
                Err(error) => StreamError::Source(error),
            })
            .boxed_unsync(),
    }
}

struct Held<B> {
    inner: B,
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl<B> Held<B> {
    /// `None` for the node's own key, which is not revoked while it runs.
    fn new(engine: &Arc<Engine>, holder: &Holder) -> Option<impl FnOnce(B) -> Self> {
        let Holder::Key { id, .. } = holder else { return None };
        let (engine, id) = (Arc::clone(engine), id.clone());
        let revoked = Box::pin(async move { engine.until_revoked(&id).await });
        Some(move |inner| Self { inner, revoked, over: false })
    }
}

impl<B> http_body::Body for Held<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if this.revoked.as_mut().poll(cx).is_ready() {
            this.over = true;
            return Poll::Ready(Some(Err(Box::new(StreamError::Cut("its key was revoked".to_owned())))));
        }
        Pin::new(&mut this.inner).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
