//! A bounded queue of many writers and one reader that has no memory for what is not there: each session has one, each
//! call has two, and most never have anything in them. (A channel of tokio's allocates its first 32 places at once: 9 KB
//! for events.) A writer that waits keeps no place in line: queues whose order matters have one writer at a time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc::error::{SendError, TryRecvError, TrySendError};

/// Makes a queue that holds at most `capacity`, which is at least one.
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        capacity: capacity.max(1),
        senders: AtomicUsize::new(1),
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            closed: false,
            reader: None,
            writers: Vec::new(),
        }),
    });
    (Sender(shared.clone()), Receiver(shared))
}

/// Puts in. Once the last clone is gone, the reader gets what is left, and then the end.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// Takes out, in the order that things came.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    capacity: usize,
    senders: AtomicUsize,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    /// Nobody reads any more.
    closed: bool,
    /// The reader, while it waits.
    reader: Option<Waker>,
    /// Who waits for room.
    writers: Vec<Waker>,
}

impl<T> Sender<T> {
    /// Puts something in.
    ///
    /// # Errors
    /// When there is no room now, or nobody reads any more; it comes back with the error.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let mut state = self.0.state();
        self.0.put(&mut state, item)?;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Puts something in; waits for room. Dropping the future loses it.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn send(&self, item: T) -> Result<(), SendError<T>> {
        let mut held = Some(item);
        poll_fn(|cx| {
            let Some(item) = held.take() else {
                return Poll::Ready(Ok(()));
            };
            let mut state = self.0.state();
            match self.0.put(&mut state, item) {
                Ok(()) => {}
                Err(TrySendError::Closed(item)) => return Poll::Ready(Err(SendError(item))),
                Err(TrySendError::Full(item)) => {
                    held = Some(item);
                    state.wants_room(cx.waker());
                    return Poll::Pending;
                }
            }
            let reader = state.reader.take();
            drop(state);
            reader.into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Tells whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.state().closed
    }

    /// Tells whether two lead into the same queue.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Receiver<T> {
    /// Waits for the next; `None` once nothing can come any more. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Returns the next, or has the task woken when there is one, or when nothing can come any more.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.state();
        let Some(item) = state.waiting.pop_front() else {
            if self.0.has_ended() {
                return Poll::Ready(None);
            }
            state.waiting = VecDeque::new();
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let writers = mem::take(&mut state.writers);
        drop(state);
        writers.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(item))
    }

    /// Returns what is there already. Who waited before is not woken any more: it is awake, and looks again.
    ///
    /// # Errors
    /// When there is nothing: now, or ever.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut state = self.0.state();
        state.reader = None;
        let Some(item) = state.waiting.pop_front() else {
            return Err(if self.0.has_ended() {
                TryRecvError::Disconnected
            } else {
                TryRecvError::Empty
            });
        };
        let writers = mem::take(&mut state.writers);
        drop(state);
        writers.into_iter().for_each(Waker::wake);
        Ok(item)
    }

    /// Tells whether nothing is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.state().waiting.is_empty()
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, state: &mut State<T>, item: T) -> Result<(), TrySendError<T>> {
        if state.closed {
            return Err(TrySendError::Closed(item));
        }
        if state.waiting.len() >= self.capacity {
            return Err(TrySendError::Full(item));
        }
        state.waiting.push_back(item);
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.senders.load(Ordering::Acquire) == 0
    }
}

impl<T> State<T> {
    /// Remembers who waits for room: each task once, until there is some.
    fn wants_room(&mut self, writer: &Waker) {
        if !self.writers.iter().any(|known| known.will_wake(writer)) {
            self.writers.push(writer.clone());
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            let reader = self.0.state().reader.take();
            reader.into_iter().for_each(Waker::wake);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.reader = None;
        let (left, writers) = (mem::take(&mut state.waiting), mem::take(&mut state.writers));
        drop(state);
        drop(left);
        writers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use tokio::task::JoinSet;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_was_put_in_comes_out_in_order_and_then_the_end() {
        let (sender, mut receiver) = bounded(3);
        let other = sender.clone();
        sender.try_send(1).unwrap();
        other.try_send(2).unwrap();
        drop(sender);
        assert_eq!(receiver.recv().await, Some(1));
        other.try_send(3).unwrap();
        drop(other);
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(2), Some(3)));
        assert_eq!(receiver.recv().await, None);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[tokio::test]
    async fn a_writer_waits_while_the_queue_is_full() {
        let (sender, mut receiver) = bounded(1);
        sender.try_send(1).unwrap();
        assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
        let write = async {
            sender.send(2).await.unwrap();
            sender.send(3).await.unwrap();
            drop(sender);
        };
        let read = async {
            let mut heard = Vec::new();
            while let Some(item) = receiver.recv().await {
                heard.push(item);
                tokio::task::yield_now().await;
            }
            heard
        };
        let ((), heard) = tokio::join!(write, read);
        assert_eq!(heard, [1, 2, 3]);
    }

    #[tokio::test]
    async fn every_writer_of_a_crowd_gets_its_turn() {
        const WRITERS: usize = 24;
        let (sender, mut receiver) = bounded(1);
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let sender = sender.clone();
            writers.spawn(async move { sender.send(number).await.unwrap() });
        }
        drop(sender);
        tokio::task::yield_now().await;
        let mut heard = Vec::new();
        while let Some(number) = receiver.recv().await {
            heard.push(number);
        }
        heard.sort_unstable();
        assert_eq!(heard, (0..WRITERS).collect::<Vec<_>>());
    }

    #[test]
    fn a_crowd_of_writers_waits_without_waking_each_other() {
        const WRITERS: usize = 24;
        let (sender, mut receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let wakers: Vec<_> = (0..WRITERS).map(|_| Arc::new(Counted::default())).collect();
        let woken = || {
            wakers
                .iter()
                .map(|waker| waker.0.load(Ordering::Relaxed))
                .sum::<usize>()
        };
        let mut sends: Vec<_> = (1..=WRITERS)
            .map(|number| Box::pin(sender.send(number)))
            .collect();
        for _ in 0..2 {
            for (send, waker) in sends.iter_mut().zip(&wakers) {
                let waker = Waker::from(waker.clone());
                assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        assert_eq!(woken(), 0);
        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!(woken(), WRITERS, "each of them once");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_lost_between_threads() {
        let (sender, mut receiver) = bounded(4);
        let mut writers = JoinSet::new();
        for writer in [0_u32, 1] {
            let sender = sender.clone();
            writers.spawn(async move {
                for number in 0..20_000 {
                    sender.send((writer, number)).await.unwrap();
                }
            });
        }
        drop(sender);
        let mut next = [0, 0];
        while let Some((writer, number)) = receiver.recv().await {
            assert_eq!(number, next[writer as usize], "in order");
            next[writer as usize] += 1;
        }
        assert_eq!(next, [20_000, 20_000]);
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    }

    #[tokio::test]
    async fn who_writes_hears_that_nobody_reads() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        let waits = async { sender.send(2).await };
        let leaves = async {
            tokio::task::yield_now().await;
            drop(receiver);
        };
        assert_eq!(tokio::join!(waits, leaves).0, Err(SendError(2)));
        assert!(sender.is_closed());
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    }

    #[test]
    fn who_waits_is_woken_and_who_looked_since_is_not() {
        let (sender, mut receiver) = bounded(2);
        let woken = Arc::new(Counted::default());
        let times = || woken.0.load(Ordering::Relaxed);
        let waker = Waker::from(woken.clone());
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        sender.try_send(1).unwrap();
        assert_eq!(times(), 1);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sender.try_send(2).unwrap();
        drop(sender);
        assert_eq!(times(), 1, "it is awake and looks again");
    }

    #[test]
    fn who_waits_holds_no_memory() {
        let (sender, mut receiver) = bounded(64);
        for number in 0..64 {
            sender.try_send(number).unwrap();
        }
        while receiver.try_recv().is_ok() {}
        assert!(
            receiver
                .poll_recv(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(receiver.0.state().waiting.capacity(), 0);
    }
}
