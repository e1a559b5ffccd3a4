//! One running server: messages in and out, a line each, until it ends or is ended; then its end, in three steps:
//! stdin is closed, it is told to end, it is killed.

use std::process::ExitStatus;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::lines::{Line, Lines};
use super::places::Place;
use super::stderr::{Tail, printable};
use crate::ids::GatewayId;
use crate::limits::{STDIO_CLOSE_GRACE, STDIO_GARBAGE_LINES_MAX, STDIO_LINE_BYTES_MAX, STDIO_TERM_GRACE};
use crate::upstream::duplex::{Inbox, Outgoing, Port};

/// How long a server that has ended may keep us waiting for the rest of its stderr.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Of a line that is no message, as much goes into the log.
const GARBAGE_SHOWN_BYTES: usize = 200;

/// What one running server is made of.
pub(super) struct Running {
    pub(super) gateway: GatewayId,
    pub(super) child: Child,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) tail: Tail,
    /// Resolves when stderr is read to its end.
    pub(super) drained: oneshot::Receiver<()>,
    pub(super) place: Place,
}

impl Running {
    /// Moves messages until the end, and sees to the end.
    pub(super) async fn run(mut self, port: Port, stopping: CancellationToken) {
        let Port {
            inbox,
            mut outgoing,
            stop,
            ..
        } = port;
        let pid = self.child.id();
        let ended = {
            let reading = read(&self.gateway, self.stdout, &inbox);
            let writing = write(self.stdin, &mut outgoing, &inbox);
            tokio::select! {
                () = stop.cancelled() => None,
                () = stopping.cancelled() => None,
                reason = reading => Some(reason),
                reason = writing => Some(Some(reason)),
            }
        };
        // The pipes are closed by now.
        match ended {
            None => inbox.closed("it was ended"),
            Some(Some(reason)) => inbox.closed(reason),
            Some(None) => {
                let status = tokio::time::timeout(STDIO_CLOSE_GRACE, self.child.wait()).await;
                let status = status.ok().and_then(Result::ok);
                let _ = tokio::time::timeout(LAST_WORDS, self.drained).await;
                inbox.closed(&last_words(status, self.tail.words().as_deref()));
            }
        }
        end(&mut self.child, pid).await;
        tracing::debug!(gateway.id = %self.gateway, "a process has ended");
        drop(self.place);
        // Whoever waits for the end of the pipe may go on now.
        drop(outgoing);
    }
}

/// Reads messages; returns why no more can be read, or `None` at the end of stdout.
async fn read(gateway: &GatewayId, stdout: ChildStdout, inbox: &Inbox) -> Option<&'static str> {
    let mut lines = Lines::new(stdout, STDIO_LINE_BYTES_MAX);
    let mut garbage = 0;
    while let Ok(Some(Line { text, cut })) = lines.next().await {
        if cut {
            return Some("it wrote a line that is longer than any message may be");
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let Err(error) = inbox.message(&text) else {
            continue;
        };
        garbage += 1;
        if garbage > STDIO_GARBAGE_LINES_MAX {
            return Some("it wrote too many lines to stdout that are no messages");
        }
        // What looks like a message may hold arguments or results, which have no place in a log.
        let shown = match text.first() {
            Some(b'{' | b'[') => String::new(),
            _ => printable(text.get(..GARBAGE_SHOWN_BYTES).unwrap_or(&text)),
        };
        tracing::warn!(gateway.id = %gateway, %error, shown, "a line of stdout is no message; it is skipped");
    }
    None
}

/// Writes messages; returns why no more can be written. A server that has ended is reported by [`read`], which gets
/// the time for it.
async fn write(
    mut stdin: ChildStdin,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    inbox: &Inbox,
) -> &'static str {
    while let Some(Outgoing { message, id }) = outgoing.recv().await {
        if stdin.write_all(&one_line(&message)).await.is_ok() {
            continue;
        }
        if let Some(id) = id {
            inbox.undelivered(id, "it closed its stdin", true);
        }
        tokio::time::sleep(STDIO_CLOSE_GRACE).await;
        return "it closed its stdin";
    }
    // Nobody is left to send anything; `stop` ends the server.
    std::future::pending().await
}

/// Makes one line of a message. Line ends can only stand between its tokens, where a blank means the same.
fn one_line(message: &Bytes) -> Bytes {
    let mut line = BytesMut::with_capacity(message.len() + 1);
    line.extend_from_slice(message);
    for byte in line.iter_mut() {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.extend_from_slice(b"\n");
    line.freeze()
}

/// Says how a server ended, in words that follow "gateway x failed".
fn last_words(status: Option<ExitStatus>, words: Option<&str>) -> String {
    let how = match status.map(|status| status.code()) {
        None => "it closed its stdout".to_owned(),
        Some(None) => "its guard was killed".to_owned(),
        // The guard tells of a signal as a shell does.
        Some(Some(code @ 129..)) => format!("it was ended by signal {}", code - 128),
        Some(Some(code)) => format!("it exited with status {code}"),
    };
    match words {
        Some(words) => format!("{how}: {words}"),
        None => how,
    }
}

/// Waits for the end of a server whose stdin is closed; tells it to end, then kills it.
async fn end(child: &mut Child, pid: Option<u32>) {
    if tokio::time::timeout(STDIO_CLOSE_GRACE, child.wait())
        .await
        .is_ok()
    {
        return;
    }
    let Some(guard) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) else {
        return;
    };
    // The guard tells the others, and kills those that stay.
    let _ = kill_process(guard, Signal::TERM);
    if tokio::time::timeout(STDIO_TERM_GRACE * 2, child.wait())
        .await
        .is_ok()
    {
        return;
    }
    let _ = kill_process_group(guard, Signal::KILL);
    let _ = child.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_message_becomes_one_line() {
        let pretty = Bytes::from_static(b"{\r\n  \"a\": \"x\\ny\"\n}");
        assert_eq!(one_line(&pretty), "{    \"a\": \"x\\ny\" }\n");
    }

    #[test]
    fn the_end_of_a_server_is_told_with_its_last_words() {
        let exited = |code: i32| Some(ExitStatus::from_raw(code << 8));
        assert_eq!(
            last_words(exited(1), Some("no key")),
            "it exited with status 1: no key"
        );
        assert_eq!(last_words(exited(0), None), "it exited with status 0");
        assert_eq!(last_words(exited(128 + 9), None), "it was ended by signal 9");
        assert_eq!(
            last_words(Some(ExitStatus::from_raw(9)), None),
            "its guard was killed"
        );
        assert_eq!(last_words(None, None), "it closed its stdout");
    }
}
