//! What a node does beside answering: no task outlives it.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Longest wait at the stop for what is written down then.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

/// The tasks of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Tasks that end with `stop`.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stop }
    }

    /// Does `work` to its end, although the node may stop meanwhile: what is written down of what has happened. It must end
    /// soon by itself.
    pub fn carry_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn(work)
    }

    /// For what is written down when it ends, such as a read: the stop waits for it.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held(self.tracker.token())
    }

    /// Does `work` until the node stops.
    pub fn until_stop(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Waits until all have ended; call it after the stop.
    pub async fn ended(&self) {
        self.tracker.close();
        if tokio::time::timeout(WRITTEN_WITHIN, self.tracker.wait()).await.is_err() {
            tracing::error!(
                tasks = self.tracker.len(),
                "something of what happened last is not written down, for the store takes too long"
            );
        }
    }
}

/// That something goes on which will be written down: as long as it is there, its node's stop waits.
#[derive(Debug)]
pub struct Held(TaskTrackerToken);

impl Held {
    /// Does `work` to its end, as [`Tasks::carry_through`] does.
    pub fn carry_through(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.task_tracker().spawn(work);
    }
}
