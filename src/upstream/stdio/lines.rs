//! Lines of a byte stream, each at most so long. Holds one unfinished line and what came behind it.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

const CHUNK_BYTES: usize = 16 * 1024;

/// One line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Bytes,
    /// Whether the line was longer; the rest of it is dropped.
    pub(super) cut: bool,
}

/// Reads lines that end with LF or CR LF; the last one may lack its end.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    bytes_max: usize,
    input: BytesMut,
    /// How far `input` was searched for a line end.
    searched: usize,
    /// Inside the rest of a line that was cut.
    skipping: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R, bytes_max: usize) -> Self {
        Self {
            reader,
            bytes_max,
            input: BytesMut::new(),
            searched: 0,
            skipping: false,
            ended: false,
        }
    }

    /// Returns the next line; `None` at the end. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            if self.skipping {
                self.input.clear();
                self.searched = 0;
            }
            self.input.reserve(CHUNK_BYTES);
            self.ended = self.reader.read_buf(&mut self.input).await? == 0;
        }
    }

    fn take(&mut self) -> Option<Line> {
        loop {
            let fresh = self.input.get(self.searched..).unwrap_or_default();
            if let Some(found) = fresh.iter().position(|&byte| byte == b'\n') {
                let mut text = self.input.split_to(self.searched + found + 1);
                self.searched = 0;
                text.truncate(text.len() - 1);
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                return Some(self.line(text));
            }
            self.searched = self.input.len();
            if self.skipping {
                return None;
            }
            // A line of just the bound may still be followed by CR LF.
            if self.input.len() > self.bytes_max + 1 || (self.ended && !self.input.is_empty()) {
                self.skipping = !self.ended;
                self.searched = 0;
                let text = self.input.split();
                return Some(self.line(text));
            }
            return None;
        }
    }

    fn line(&self, mut text: BytesMut) -> Line {
        if text.ends_with(b"\r") {
            text.truncate(text.len() - 1);
        }
        let cut = text.len() > self.bytes_max;
        text.truncate(self.bytes_max);
        Line {
            text: text.freeze(),
            cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]], bytes_max: usize) -> Vec<(String, bool)> {
        let mut mock = tokio_util::io::StreamReader::new(futures_util::stream::iter(
            chunks
                .iter()
                .map(|chunk| io::Result::Ok(Bytes::copy_from_slice(chunk))),
        ));
        let mut lines = Lines::new(&mut mock, bytes_max);
        let mut found = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            while let Some(line) = lines.next().await.unwrap() {
                found.push((String::from_utf8(line.text.to_vec()).unwrap(), line.cut));
            }
        });
        found
    }

    fn whole(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    #[test]
    fn lines_come_whole_however_they_are_cut_into_chunks() {
        let want = [whole("a"), whole(""), whole("bc"), whole("last")];
        assert_eq!(read(&[b"a\n\r\nbc\r\nlast"], 8), want);
        let bytes: Vec<&[u8]> = b"a\n\r\nbc\r\nlast".chunks(1).collect();
        assert_eq!(read(&bytes, 8), want);
    }

    #[test]
    fn a_line_at_the_bound_is_whole_and_one_beyond_is_cut_and_its_rest_dropped() {
        assert_eq!(
            read(&[b"12345678\r\n12345678\n"], 8),
            [whole("12345678"), whole("12345678")]
        );
        let cut = ("12345678".to_owned(), true);
        assert_eq!(read(&[b"123456789\nb\n"], 8), [cut.clone(), whole("b")]);
        let endless: Vec<&[u8]> = vec![b"123456789abcdef"; 100];
        let mut chunks = endless;
        chunks.push(b"\nb\n");
        assert_eq!(read(&chunks, 8), [cut.clone(), whole("b")]);
        assert_eq!(read(&[b"123456789"], 8), [cut]);
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(text in "[ab\r\n]{0,40}", at in 0usize..40) {
            let bytes = text.as_bytes();
            let at = at.min(bytes.len());
            prop_assert_eq!(read(&[&bytes[..at], &bytes[at..]], 5), read(&[bytes], 5));
        }
    }
}
