//! So many calls of one kind against a proxy that runs already: what profilers and instruction counts are taken of.
//! `toolgate-bench calls URL KEY OPERATION UPSTREAM legacy|modern CLIENTS CALLS`

use std::time::Instant;

use crate::caller::{Operation, Talk};
use crate::template::{Door, Speaks};
use crate::upstream;

/// Makes the calls; each client makes its share, one after the other.
pub(crate) async fn run(words: &[&str]) -> Result<(), String> {
    let [url, key, operation, name, era, clients, calls] = words else {
        return Err("calls URL KEY OPERATION UPSTREAM legacy|modern CLIENTS CALLS".to_owned());
    };
    let number = |word: &str| word.parse::<usize>().map_err(|_| format!("{word} is no number"));
    let (clients, calls) = (number(clients)?.max(1), number(calls)?);
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let operation = match *operation {
        "echo" => Operation::Echo,
        "blob" => Operation::Blob(upstream::blob().into()),
        "progress" => Operation::Progress {
            events: 100,
            pause_ms: 0,
        },
        "list" => Operation::List { tools: 200 },
        "initialize" => Operation::Initialize,
        other => return Err(format!("{other} is no operation")),
    };
    let talk = Talk {
        address: address
            .parse()
            .map_err(|_| format!("{address} is not host:port"))?,
        doors: vec![Door {
            path: "/mcp",
            key: (*key).to_owned(),
        }],
        speaks: if *era == "modern" {
            Speaks::Modern
        } else {
            Speaks::Legacy
        },
        upstreams: name.split(',').map(ToOwned::to_owned).collect(),
        operation,
    };
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..clients {
        let mut caller = talk.connect(index).await?;
        tasks.spawn(async move {
            let mut took = Vec::with_capacity(calls / clients);
            for _ in 0..calls / clients {
                let begun = Instant::now();
                caller.once().await?;
                took.push(begun.elapsed());
            }
            caller.leave().await.map(|()| took)
        });
    }
    let mut took = Vec::with_capacity(calls);
    while let Some(done) = tasks.join_next().await {
        took.extend(done.map_err(|error| error.to_string())??);
    }
    took.sort_unstable();
    let of_hundred = |rank: usize| took.get(took.len() * rank / 100).copied().unwrap_or_default();
    println!("p50 {:?}, p99 {:?}", of_hundred(50), of_hundred(99));
    Ok(())
}
