//! One thread, one listener, hyper's HTTP/1.1: what the mock upstream and the bare proxy stand on.
//! Says `listening on <address>` and ends with its standard input, so that no run leaves anything behind.

use std::convert::Infallible;

use http::Request;
use http::Response;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Serves on a free port of loopback until standard input ends.
pub(crate) async fn serve<S, B>(make: impl Fn() -> S) -> Result<(), String>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("listening on {address}");
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 64];
    let mut over =
        std::pin::pin!(async move { while stdin.read(&mut nothing).await.is_ok_and(|read| read > 0) {} });
    loop {
        let socket = tokio::select! {
            () = &mut over => return Ok(()),
            accepted = listener.accept() => accepted.map_err(|error| error.to_string())?.0,
        };
        let _ = socket.set_nodelay(true);
        let service = make();
        tokio::spawn(async move {
            // A client that goes away is no error here.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}
