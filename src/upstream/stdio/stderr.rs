//! What a server writes to stderr goes into the log, line by line, and never further: bounded in length and rate,
//! without control characters. The last lines are kept to name the reason when the server ends.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncRead;

use super::lines::Lines;
use crate::clock::{self, Instant};
use crate::ids::GatewayId;
use crate::limits::{STDERR_LINE_BYTES_MAX, STDERR_LINES_PER_SECOND_MAX, STDERR_TAIL_LINES};

/// As many lines name the reason of an end.
const WORDS_LINES: usize = 2;
const SECOND: Duration = Duration::from_secs(1);

/// The last lines of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Returns the last lines that say something, in one.
    pub(super) fn words(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut telling: Vec<&str> = lines
            .iter()
            .rev()
            .map(|line| line.trim())
            .filter(|line| !is_decoration(line))
            .take(WORDS_LINES)
            .collect();
        telling.reverse();
        (!telling.is_empty()).then(|| telling.join(" | "))
    }

    /// Reads to the end.
    pub(super) async fn drain(self, gateway: GatewayId, stderr: impl AsyncRead + Unpin) {
        let mut lines = Lines::new(stderr, STDERR_LINE_BYTES_MAX);
        let mut rate = Rate::new();
        while let Ok(Some(line)) = lines.next().await {
            let text = printable(&line.text);
            if text.trim().is_empty() {
                continue;
            }
            match rate.admit() {
                Admission::Yes => {
                    tracing::info!(gateway.id = %gateway, cut = line.cut, text, "stderr of a gateway");
                }
                Admission::After { dropped } => {
                    tracing::warn!(gateway.id = %gateway, dropped, "lines of stderr were dropped");
                    tracing::info!(gateway.id = %gateway, cut = line.cut, text, "stderr of a gateway");
                }
                Admission::No => {}
            }
            self.keep(text);
        }
        if rate.dropped > 0 {
            tracing::warn!(gateway.id = %gateway, dropped = rate.dropped, "lines of stderr were dropped");
        }
    }

    fn keep(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == STDERR_TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Yes,
    /// The first one after some were dropped.
    After {
        dropped: usize,
    },
    No,
}

/// Counts lines by the second.
#[derive(Debug)]
struct Rate {
    since: Instant,
    admitted: usize,
    dropped: usize,
}

impl Rate {
    fn new() -> Self {
        Self {
            since: clock::now(),
            admitted: 0,
            dropped: 0,
        }
    }

    fn admit(&mut self) -> Admission {
        let now = clock::now();
        if now.duration_since(self.since) >= SECOND {
            self.since = now;
            self.admitted = 0;
        }
        if self.admitted == STDERR_LINES_PER_SECOND_MAX {
            self.dropped += 1;
            return Admission::No;
        }
        self.admitted += 1;
        match std::mem::take(&mut self.dropped) {
            0 => Admission::Yes,
            dropped => Admission::After { dropped },
        }
    }
}

/// Makes text of bytes that anybody may have chosen: what a terminal would act on is written as an escape.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if character == '\t' {
            text.push(' ');
        } else if character.is_control() || is_invisible(character) {
            // Writing to a string does not fail.
            let _ = write!(text, "{}", character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

/// Tells whether a line is a frame of a stack, or what Node writes around an error.
fn is_decoration(line: &str) -> bool {
    line.starts_with("at ") || line.starts_with("Node.js v") || !line.chars().any(char::is_alphanumeric)
}

/// Marks that turn the direction of text, and line ends beyond ASCII.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        assert_eq!(
            printable(b"a\x1b[31mb\r\tc\x07\xff"),
            "a\\u{1b}[31mb\\u{d} c\\u{7}\u{fffd}"
        );
        assert_eq!(printable("x\u{202e}y é".as_bytes()), "x\\u{202e}y é");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_a_quiet_server_is_heard_again() {
        let mut rate = Rate::new();
        let admitted = (0..10_000).filter(|_| rate.admit() == Admission::Yes).count();
        assert_eq!(admitted, STDERR_LINES_PER_SECOND_MAX);
        tokio::time::advance(SECOND).await;
        assert_eq!(
            rate.admit(),
            Admission::After {
                dropped: 10_000 - STDERR_LINES_PER_SECOND_MAX
            }
        );
        assert_eq!(rate.admit(), Admission::Yes);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_lines_that_say_something_are_kept() {
        let tail = Tail::default();
        let text = format!("{}a key is missing\n  what went wrong\n\n  \n", "x\n".repeat(100));
        tail.clone().drain(GatewayId::new("g"), text.as_bytes()).await;
        assert_eq!(
            tail.words().as_deref(),
            Some("a key is missing | what went wrong")
        );
        assert_eq!(tail.0.lock().unwrap().len(), STDERR_TAIL_LINES);
    }
    #[tokio::test(start_paused = true)]
    async fn a_stack_does_not_hide_the_reason() {
        let tail = Tail::default();
        let text = "Error: no key\n    at run (x.js:1:2)\n    at y.js:3:4\n}\n\nNode.js v22.1.0\n";
        tail.clone().drain(GatewayId::new("g"), text.as_bytes()).await;
        assert_eq!(tail.words().as_deref(), Some("Error: no key"));
        assert_eq!(Tail::default().words(), None);
    }
}
