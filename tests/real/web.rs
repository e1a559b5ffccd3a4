//! A web server of the test's own, so small that what it answers is in plain sight.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What one request looked like: its first line and its headers, as they came.
pub(crate) type Head = String;

pub(crate) struct Web {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Head>>>,
}

impl Web {
    /// Answers every request with what `answer` makes of its path: status, content type, body. Ends with the tests.
    pub(crate) fn start(answer: fn(&str) -> (u16, &'static str, String)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || serve(&stream, &kept, answer));
            }
        });
        Self { url, seen }
    }

    /// The heads of all requests so far.
    pub(crate) fn seen(&self) -> Vec<Head> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Head>>, answer: fn(&str) -> (u16, &'static str, String)) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    seen.lock().unwrap().push(head);
    let (status, kind, body) = answer(&path);
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // Whoever asked may be gone.
    let _ = (&*stream).write_all(text.as_bytes());
}
