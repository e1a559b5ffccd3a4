//! Streams that survive their connection (legacy; 2025-11-25, Transports, "Resumability and Redelivery"). A stream of
//! a session is written into a bounded log; whoever reads it, the first response or a GET with `Last-Event-ID`, reads
//! from there. Replays nothing but what was on that very stream of that very session.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::sync::Notify;

use super::Text;
use crate::clock::{self, Instant};
use crate::limits::{
    KEEP_ALIVE_INTERVAL, REPLAY_KEPT_MAX, STREAM_BUFFER_BYTES_MAX, STREAM_QUEUE_EVENTS_MAX,
    STREAMS_PER_SESSION_MAX,
};
use crate::protocol::sse::{self, EVENT_BYTES_AROUND};

/// As much of a stream goes out in one piece at most.
const CHUNK_BYTES: usize = 64 * 1024;
/// Room for the id of an event.
const ID_BYTES_USUAL: usize = 16;
/// Tells clients how soon to come back.
const RETRY_MS: u32 = 1_000;

/// What was written to one stream.
#[derive(Debug)]
pub(super) struct Log {
    number: u64,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the first event that is kept; events count from 1, 0 is the priming event.
    first: u64,
    kept: VecDeque<Text>,
    kept_bytes: usize,
    /// Number of the last event that somebody has read.
    read: u64,
    /// Bytes of the events behind it, as long as somebody reads.
    unread_bytes: usize,
    /// Whoever reads now; a newer reader takes over.
    reader: u64,
    /// It went away. Nobody is waited for then: what is beyond the bounds is lost.
    gone: bool,
    ended: Option<Instant>,
}

impl State {
    fn last(&self) -> u64 {
        self.first + self.kept.len() as u64 - 1
    }

    /// Tells whether another event fits behind those that nobody has read.
    fn has_room(&self) -> bool {
        let unread = self.last().saturating_sub(self.read) as usize;
        self.gone || (unread < STREAM_QUEUE_EVENTS_MAX && self.unread_bytes < STREAM_BUFFER_BYTES_MAX)
    }

    /// Appends an event that there is room for.
    fn append(&mut self, text: Text) {
        self.kept_bytes += text.len();
        self.unread_bytes += text.len();
        self.kept.push_back(text);
        self.trim();
    }

    /// Begins to read behind an event that is kept.
    fn read_from(&mut self, after: u64) {
        self.read = after;
        self.reader += 1;
        self.gone = false;
        let unread = self.last().saturating_sub(after) as usize;
        self.unread_bytes = self.kept.iter().rev().take(unread).map(Bytes::len).sum();
    }

    /// Writes what comes behind an event, and counts it as read; `None` when that is no longer kept.
    fn take_chunk(&mut self, stream: u64, after: &mut u64) -> Option<BytesMut> {
        let index = (*after + 1).checked_sub(self.first)? as usize;
        let (mut bytes, mut events) = (0, 0);
        for text in self.kept.iter().skip(index) {
            if bytes >= CHUNK_BYTES {
                break;
            }
            bytes += text.len() + EVENT_BYTES_AROUND + ID_BYTES_USUAL;
            events += 1;
        }
        if events == 0 {
            return Some(BytesMut::new());
        }
        let mut out = BytesMut::with_capacity(bytes);
        let mut id = format!("{stream}-");
        let prefix = id.len();
        for text in self.kept.iter().skip(index).take(events) {
            *after += 1;
            id.truncate(prefix);
            push_decimal(&mut id, *after);
            sse::write_event(&mut out, Some(&id), text);
            self.unread_bytes = self.unread_bytes.saturating_sub(text.len());
        }
        self.read = *after;
        self.trim();
        Some(out)
    }

    /// Forgets the oldest events that were read, or that nobody reads, beyond what may be asked for again.
    fn trim(&mut self) {
        let over = |state: &Self| {
            state.kept.len() > STREAM_QUEUE_EVENTS_MAX || state.kept_bytes > STREAM_BUFFER_BYTES_MAX
        };
        while over(self) && (self.gone || self.first <= self.read) {
            let Some(text) = self.kept.pop_front() else { return };
            self.kept_bytes -= text.len();
            self.first += 1;
        }
    }
}

impl Log {
    fn new(number: u64) -> Self {
        let state = State {
            first: 1,
            ..State::default()
        };
        Self {
            number,
            state: Mutex::new(state),
            news: Notify::new(),
        }
    }

    /// Appends events; waits while too many are unread, so that a slow reader slows its own call down.
    pub(super) async fn write(&self, texts: &mut Vec<Text>) {
        let mut texts = texts.drain(..).peekable();
        while texts.peek().is_some() {
            let room = self.news.notified();
            let mut untold = false;
            {
                let mut state = self.state();
                while state.has_room()
                    && let Some(text) = texts.next()
                {
                    state.append(text);
                    untold = true;
                }
            }
            // The reader may wait for what was just written: it makes no room before it knows.
            if untold {
                self.news.notify_waiters();
            } else {
                room.await;
            }
        }
    }

    /// Ends the stream: what is kept can be asked for until [`REPLAY_KEPT_MAX`] has passed.
    pub(super) fn end(&self) {
        self.state().ended = Some(clock::now());
        self.news.notify_waiters();
    }

    /// Reads on behind an event. Ends with the stream, or when a newer reader takes over. `None`: what follows that
    /// event is no longer kept, or it never was.
    pub(super) fn read(
        self: &Arc<Self>,
        after: u64,
        prime: bool,
    ) -> Option<impl Stream<Item = Bytes> + use<>> {
        let reader = {
            let mut state = self.state();
            if after > state.last() || after + 1 < state.first {
                return None;
            }
            state.read_from(after);
            Reader {
                log: self.clone(),
                number: state.reader,
            }
        };
        self.news.notify_waiters();
        let first = prime.then(|| self.priming());
        Some(stream::unfold(
            (reader, after, first),
            move |(reader, mut after, first)| async move {
                if let Some(first) = first {
                    return Some((first, (reader, after, None)));
                }
                let chunk = reader.log.next(reader.number, &mut after).await?;
                Some((chunk, (reader, after, None)))
            },
        ))
    }

    async fn next(&self, reader: u64, after: &mut u64) -> Option<Bytes> {
        let quiet_until = clock::now() + KEEP_ALIVE_INTERVAL;
        loop {
            let news = self.news.notified();
            {
                let mut state = self.state();
                if state.reader != reader {
                    return None;
                }
                let out = state.take_chunk(self.number, after)?;
                if !out.is_empty() {
                    drop(state);
                    self.news.notify_waiters();
                    return Some(out.freeze());
                }
                if state.ended.is_some() {
                    return None;
                }
            }
            if tokio::time::timeout_at(quiet_until, news).await.is_err() {
                return Some(Bytes::from_static(sse::KEEP_ALIVE));
            }
        }
    }

    fn priming(&self) -> Bytes {
        Bytes::from(format!("id: {}-0\nretry: {RETRY_MS}\ndata: \n\n", self.number))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a number; each event has one, and what formats anything costs as much as all the rest of it.
fn push_decimal(out: &mut String, number: u64) {
    if number >= 10 {
        push_decimal(out, number / 10);
    }
    out.push(char::from_digit((number % 10) as u32, 10).unwrap_or('0'));
}

/// Whoever reads a stream, until this is dropped.
#[derive(Debug)]
struct Reader {
    log: Arc<Log>,
    number: u64,
}

impl Drop for Reader {
    fn drop(&mut self) {
        {
            let mut state = self.log.state();
            if state.reader != self.number {
                return;
            }
            state.gone = true;
            state.trim();
        }
        self.log.news.notify_waiters();
    }
}

/// The streams of one session that can be asked for again.
#[derive(Debug, Default)]
pub(super) struct Replays(Mutex<(u64, VecDeque<Arc<Log>>)>);

impl Replays {
    /// Opens a stream. The oldest one that has ended is forgotten when there are too many; `None` when all go on.
    pub(super) fn open(&self) -> Option<Arc<Log>> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logs.1.len() >= STREAMS_PER_SESSION_MAX {
            let ended = logs.1.iter().position(|log| log.state().ended.is_some())?;
            logs.1.remove(ended);
        }
        logs.0 += 1;
        let log = Arc::new(Log::new(logs.0));
        logs.1.push_back(log.clone());
        Some(log)
    }

    /// Finds the stream of an event and the event's place on it.
    pub(super) fn find(&self, event_id: &str) -> Option<(Arc<Log>, u64)> {
        let (number, event) = event_id.split_once('-')?;
        let (number, event): (u64, u64) = (number.parse().ok()?, event.parse().ok()?);
        let logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.1
            .iter()
            .find(|log| log.number == number)
            .map(|log| (log.clone(), event))
    }

    /// Forgets streams that ended long enough ago.
    pub(super) fn sweep(&self) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.1
            .retain(|log| log.state().ended.is_none_or(|at| at.elapsed() < REPLAY_KEPT_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::sse::{Event, Framer};
    use futures_util::StreamExt;

    fn text(n: usize) -> Text {
        Bytes::from(format!("{{\"n\":{n}}}"))
    }

    async fn events(stream: impl Stream<Item = Bytes>) -> Vec<Event> {
        let mut framer = Framer::new();
        let chunks: Vec<Bytes> = stream.collect().await;
        for chunk in chunks {
            framer.push(chunk);
        }
        std::iter::from_fn(|| framer.next_event().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice() {
        let replays = Replays::default();
        let log = replays.open().unwrap();
        log.write(&mut (1..=5).map(text).collect()).await;
        log.end();
        let all = events(log.read(0, true).unwrap()).await;
        assert_eq!(all.len(), 6);
        assert!(all[0].data.is_empty() && all[0].retry_ms.is_some());
        let (again, after) = replays.find(all[2].id.as_deref().unwrap()).unwrap();
        let rest = events(again.read(after, false).unwrap()).await;
        let data: Vec<&Bytes> = rest.iter().map(|event| &event.data).collect();
        assert_eq!(data, [&text(3), &text(4), &text(5)]);
    }

    #[tokio::test]
    async fn what_is_no_longer_kept_cannot_be_read() {
        let replays = Replays::default();
        let log = replays.open().unwrap();
        let mut reader = Box::pin(log.read(0, false).unwrap());
        for n in 0..3 * STREAM_QUEUE_EVENTS_MAX {
            log.write(&mut vec![text(n)]).await;
            reader.next().await.unwrap();
        }
        assert!(log.read(1, false).is_none());
        assert!(log.read(9_999, false).is_none());
        assert!(log.state().kept.len() <= STREAM_QUEUE_EVENTS_MAX);
        assert!(replays.find("7-1").is_none() && replays.find("x").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_waits_for_its_reader() {
        let log = Arc::new(Log::new(1));
        let mut many: Vec<Text> = (0..=STREAM_QUEUE_EVENTS_MAX).map(text).collect();
        let write = tokio::time::timeout(KEEP_ALIVE_INTERVAL, log.write(&mut many));
        assert!(write.await.is_err(), "nobody reads");
        let mut reader = Box::pin(log.read(0, false).unwrap());
        reader.next().await.unwrap();
        log.write(&mut vec![text(0)]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_reaches_a_reader_that_waits_without_delay() {
        let log = Arc::new(Log::new(1));
        let reader = log.read(0, false).unwrap();
        let started = clock::now();
        let write = async {
            tokio::task::yield_now().await;
            log.write(&mut (0..3 * STREAM_QUEUE_EVENTS_MAX).map(text).collect())
                .await;
            log.end();
        };
        let ((), found) = tokio::join!(write, events(reader));
        assert_eq!(found.len(), 3 * STREAM_QUEUE_EVENTS_MAX);
        assert_eq!(started.elapsed(), std::time::Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_reader_went_away_writes_on_within_bounds() {
        let log = Arc::new(Log::new(1));
        let mut reader = Box::pin(log.read(0, false).unwrap());
        log.write(&mut vec![text(1)]).await;
        reader.next().await.unwrap();
        let mut many: Vec<Text> = (2..=1_000).map(text).collect();
        let gone = async {
            tokio::task::yield_now().await;
            drop(reader);
        };
        let write = tokio::time::timeout(KEEP_ALIVE_INTERVAL, log.write(&mut many));
        let (written, ()) = tokio::join!(write, gone);
        assert!(written.is_ok(), "nobody reads, nobody is waited for");
        assert!(log.state().kept.len() <= STREAM_QUEUE_EVENTS_MAX);
        let missed = log.read(990, false).unwrap();
        log.end();
        let missed = events(missed).await;
        assert_eq!((missed.len(), &missed[9].data), (10, &text(1_000)));
        log.write(&mut vec![Bytes::from(vec![b'x'; 2 * STREAM_BUFFER_BYTES_MAX])])
            .await;
        assert!(log.state().kept_bytes <= STREAM_BUFFER_BYTES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_with_nothing_to_say_does_not_put_off_the_keep_alive() {
        let log = Arc::new(Log::new(1));
        let mut reader = Box::pin(log.read(0, false).unwrap());
        let idle = async {
            loop {
                tokio::time::sleep(KEEP_ALIVE_INTERVAL / 2).await;
                log.write(&mut Vec::new()).await;
            }
        };
        tokio::select! {
            () = idle => {}
            chunk = tokio::time::timeout(KEEP_ALIVE_INTERVAL * 2, reader.next()) => {
                assert_eq!(chunk.unwrap().unwrap(), sse::KEEP_ALIVE);
            }
        }
    }

    #[tokio::test]
    async fn an_event_beyond_all_numbers_is_no_longer_kept() {
        let log = Arc::new(Log::new(1));
        assert!(log.read(u64::MAX, false).is_none());
    }

    #[tokio::test]
    async fn a_newer_reader_takes_over() {
        let log = Arc::new(Log::new(1));
        let mut first = Box::pin(log.read(0, false).unwrap());
        let mut second = Box::pin(log.read(0, false).unwrap());
        assert!(first.next().await.is_none());
        log.write(&mut vec![text(1)]).await;
        assert!(second.next().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_bounded_and_forgotten() {
        let replays = Replays::default();
        let logs: Vec<_> = (0..STREAMS_PER_SESSION_MAX)
            .map(|_| replays.open().unwrap())
            .collect();
        assert!(replays.open().is_none(), "all go on");
        logs[3].end();
        assert!(replays.open().is_some());
        assert!(replays.find("4-0").is_none());
        logs[0].end();
        tokio::time::sleep(REPLAY_KEPT_MAX).await;
        replays.sweep();
        assert!(replays.find("1-0").is_none());
        assert!(replays.find("2-0").is_some());
    }
}
