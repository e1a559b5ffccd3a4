//! The bare proxy: hyper's server in front of hyper-util's pooled client, which reads no body and knows no MCP. Below
//! this no proxy on the same libraries can come.

use std::convert::Infallible;

use http::header::{CONNECTION, HOST};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Either;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::serve;

type Body = Either<Incoming, Empty<Bytes>>;

/// Passes every request on to `to`, a `host:port`, until standard input ends.
pub(crate) async fn run(to: &str) -> Result<(), String> {
    let to: Authority = to.parse().map_err(|_| format!("{to} is not host:port"))?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    serve::serve(move || {
        let (client, to) = (client.clone(), to.clone());
        service_fn(move |request| {
            let (client, to) = (client.clone(), to.clone());
            async move { Ok::<_, Infallible>(pass(&client, to, request).await) }
        })
    })
    .await
}

async fn pass(
    client: &Client<HttpConnector, Incoming>,
    to: Authority,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(to);
    let Ok(uri) = Uri::from_parts(uri) else {
        return bad_gateway();
    };
    *request.uri_mut() = uri;
    request.headers_mut().remove(HOST);
    request.headers_mut().remove(CONNECTION);
    match client.request(request).await {
        Ok(response) => response.map(Either::Left),
        Err(_) => bad_gateway(),
    }
}

fn bad_gateway() -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
