//! A keep-alive HTTP/1.1 client that costs next to nothing: the request is ready-made bytes, the answer is read into
//! buffers that are kept. One request at a time, as MCP clients do.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADERS_MAX: usize = 48;
const READ_BYTES: usize = 64 * 1024;

/// A connection and its buffers.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// What was read; `filled` bytes of it count.
    buffer: Vec<u8>,
    filled: usize,
    /// A chunked body, put together.
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    pub(crate) is_events: bool,
    pub(crate) body: &'a [u8],
}

#[derive(Debug)]
struct Head {
    bytes: usize,
    status: u16,
    session: Option<String>,
    is_events: bool,
    length: Length,
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Known(usize),
    Chunked,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, String> {
        let socket = TcpStream::connect(address)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self {
            socket,
            buffer: vec![0; READ_BYTES],
            filled: 0,
            body: Vec::new(),
        })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, String> {
        self.exchange_seen(request, |_| {}).await
    }

    /// The same; `seen` is shown a chunked body each time more of it has come.
    pub(crate) async fn exchange_seen(
        &mut self,
        request: &[u8],
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Answer<'_>, String> {
        let head = self.head_of(request).await?;
        match head.length {
            Length::Known(length) => {
                let whole = head.bytes + length;
                if self.buffer.len() < whole {
                    self.buffer.resize(whole, 0);
                }
                while self.filled < whole {
                    self.read().await?;
                }
                self.answer(&head, whole)
            }
            Length::Chunked => {
                let mut chunks = Chunks {
                    at: head.bytes,
                    left: 0,
                    done: false,
                };
                self.body.clear();
                loop {
                    chunks.take(&self.buffer[..self.filled], &mut self.body)?;
                    seen(&self.body);
                    if chunks.done {
                        break;
                    }
                    // What was taken need not be kept.
                    self.buffer.copy_within(chunks.at..self.filled, 0);
                    self.filled -= chunks.at;
                    chunks.at = 0;
                    self.read().await?;
                }
                let end = chunks.at;
                if self.filled != end {
                    return Err("bytes follow the answer".to_owned());
                }
                self.filled = 0;
                Ok(Answer {
                    status: head.status,
                    session: head.session,
                    is_events: head.is_events,
                    body: &self.body,
                })
            }
        }
    }

    /// Sends a request and reads only the head of its answer: the stream stays open.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<u16, String> {
        Ok(self.head_of(request).await?.status)
    }

    async fn head_of(&mut self, request: &[u8]) -> Result<Head, String> {
        self.socket
            .write_all(request)
            .await
            .map_err(|error| format!("write: {error}"))?;
        self.filled = 0;
        loop {
            self.read().await?;
            if let Some(head) = head(&self.buffer[..self.filled])? {
                return Ok(head);
            }
        }
    }

    fn answer(&mut self, head: &Head, whole: usize) -> Result<Answer<'_>, String> {
        if self.filled != whole {
            return Err("bytes follow the answer".to_owned());
        }
        self.filled = 0;
        Ok(Answer {
            status: head.status,
            session: head.session.clone(),
            is_events: head.is_events,
            body: &self.buffer[head.bytes..whole],
        })
    }

    async fn read(&mut self) -> Result<(), String> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled + READ_BYTES, 0);
        }
        match self.socket.read(&mut self.buffer[self.filled..]).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(read) => {
                self.filled += read;
                Ok(())
            }
            Err(error) => Err(format!("read: {error}")),
        }
    }
}

fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response
        .parse(bytes)
        .map_err(|error| format!("bad answer: {error}"))?
    {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(end) => end,
    };
    let status = response.code.unwrap_or_default();
    let (mut length, mut session, mut is_events) = (None, None, false);
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok().map(Length::Known);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            length = Some(Length::Chunked);
        } else if header.name.eq_ignore_ascii_case("mcp-session-id") {
            session = Some(value.to_owned());
        } else if header.name.eq_ignore_ascii_case("content-type") {
            is_events = value.starts_with("text/event-stream");
        }
    }
    let length = match length {
        Some(length) => length,
        None if status == 204 => Length::Known(0),
        None => return Err(format!("an answer without a length, status {status}")),
    };
    Ok(Some(Head {
        bytes: end,
        status,
        session,
        is_events,
        length,
    }))
}

/// Takes a chunked body apart.
#[derive(Debug)]
struct Chunks {
    /// Where in the input it stands.
    at: usize,
    /// What is left of the current chunk, its line end included.
    left: usize,
    done: bool,
}

impl Chunks {
    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let rest = &input[self.at..];
            if self.left > 0 {
                let now = self.left.min(rest.len());
                // The last two bytes of a chunk are its line end.
                let data = now.min(self.left.saturating_sub(2));
                out.extend_from_slice(&rest[..data]);
                self.at += now;
                self.left -= now;
                if self.left > 0 {
                    return Ok(());
                }
                continue;
            }
            match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Partial) => return Ok(()),
                Ok(httparse::Status::Complete((line, 0))) => {
                    if rest.len() < line + 2 {
                        return Ok(());
                    }
                    self.at += line + 2;
                    self.done = true;
                    return Ok(());
                }
                Ok(httparse::Status::Complete((line, size))) => {
                    self.at += line;
                    self.left = size as usize + 2;
                }
                Err(_) => return Err("bad chunk".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8], step: usize) -> Vec<u8> {
        let (mut chunks, mut out, mut input) = (
            Chunks {
                at: 0,
                left: 0,
                done: false,
            },
            Vec::new(),
            Vec::new(),
        );
        for piece in text.chunks(step) {
            input.extend_from_slice(piece);
            chunks.take(&input, &mut out).unwrap();
            input.drain(..chunks.at);
            chunks.at = 0;
        }
        assert!(chunks.done && input.is_empty());
        out
    }

    #[test]
    fn a_chunked_body_is_put_together_however_it_is_cut() {
        let text = b"3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n";
        for step in 1..text.len() {
            assert_eq!(whole(text, step), b"abc0123456789abcdef", "in steps of {step}");
        }
    }
}
