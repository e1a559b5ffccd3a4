//! The request that a thread is working on, for the lines that it logs. It is set around each poll of the request's work,
//! and costs what that takes: nothing is formatted, and no span is made, unless a line is written or spans are wanted.

use std::borrow::Cow;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::Method;

use crate::ids::RequestId;

thread_local! {
    static CURRENT: RefCell<Option<Arc<About>>> = const { RefCell::new(None) };
}

/// Whether somebody looks at spans: a collector, or a person who reads pretty lines.
static SPANS: AtomicBool = AtomicBool::new(true);

/// What is told of a request.
#[derive(Debug)]
pub struct About {
    /// Its id.
    pub id: RequestId,
    /// The HTTP method.
    pub method: Method,
    /// The path as it may be logged.
    pub path: Cow<'static, str>,
}

/// Tells whether spans of requests are to be made.
#[must_use]
pub fn spans_are_made() -> bool {
    SPANS.load(Ordering::Relaxed)
}

pub(super) fn make_spans(wanted: bool) {
    SPANS.store(wanted, Ordering::Relaxed);
}

/// Gives what is known of the request that this thread is working on.
pub(super) fn with_current<T>(use_it: impl FnOnce(&About) -> T) -> Option<T> {
    CURRENT.with_borrow(|current| current.as_deref().map(use_it))
}

/// Does something as the work of a request.
pub fn within<T>(about: &Arc<About>, work: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(Some(Arc::clone(about)));
    work()
}

pin_project_lite::pin_project! {
    /// Work of a request: what it logs says so, wherever it is polled.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct InRequest<F> {
        about: Option<Arc<About>>,
        #[pin]
        work: F,
    }
}

impl<F> InRequest<F> {
    /// Makes work part of a request.
    pub fn new(about: Arc<About>, work: F) -> Self {
        Self {
            about: Some(about),
            work,
        }
    }

    /// Makes work part of the request that this thread is working on, if any.
    pub fn current(work: F) -> Self {
        let about = CURRENT.with_borrow(Clone::clone);
        Self { about, work }
    }
}

impl<F: Future> Future for InRequest<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = Entered::new(this.about.clone());
        this.work.poll(cx)
    }
}

/// Until this is dropped the thread works on the request; then on what it was working on before.
struct Entered(Option<Arc<About>>);

impl Entered {
    fn new(about: Option<Arc<About>>) -> Self {
        Self(CURRENT.replace(about))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(id: &str) -> Arc<About> {
        Arc::new(About {
            id: RequestId::new(id),
            method: Method::POST,
            path: "/mcp".into(),
        })
    }

    fn current() -> Option<String> {
        with_current(|about| about.id.to_string())
    }

    #[tokio::test]
    async fn work_knows_its_request_wherever_it_is_polled_and_leaves_nothing_behind() {
        let seen = || Box::pin(async { current() });
        let outer = InRequest::new(
            about("outer"),
            Box::pin(async move {
                let inner = InRequest::new(about("inner"), seen()).await;
                let kept = InRequest::current(seen());
                (inner, current(), kept)
            }),
        );
        let (inner, again, kept) = outer.await;
        assert_eq!(
            (inner.as_deref(), again.as_deref()),
            (Some("inner"), Some("outer"))
        );
        assert_eq!(current(), None);
        assert_eq!(kept.await.as_deref(), Some("outer"));
        assert_eq!(InRequest::current(seen()).await, None);
        assert_eq!(within(&about("r"), current).as_deref(), Some("r"));
    }

    #[test]
    fn a_panic_leaves_no_request_behind() {
        let caught = std::panic::catch_unwind(|| within(&about("r"), || panic!("of the test")));
        assert!(caught.is_err());
        assert_eq!(current(), None);
    }
}
