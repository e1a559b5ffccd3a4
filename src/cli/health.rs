//! `toolgate health`: one GET over loopback, for images without curl.

use url::Url;

use super::Failure;
use super::client::{http_client, text_of};
use super::output::print;
use crate::limits;

pub(super) async fn run(url: Url) -> Result<(), Failure> {
    let asked = async {
        let client = http_client().timeout(limits::HEALTH_TIMEOUT).build()?;
        client.get(url.clone()).send().await
    };
    match asked.await {
        Ok(answer) if answer.status().is_success() => print("ready\n"),
        Ok(answer) => Err(Failure::Failed(format!("{url} answers {}", answer.status()))),
        Err(error) => Err(Failure::Failed(text_of(&error))),
    }
}
