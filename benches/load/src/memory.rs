//! Resident memory of a fresh proxy: idle, at its peak under an echo load, and what a session and a stream add.

use std::time::Duration;

use crate::caller::{self, Caller, Operation, Talk};
use crate::http::Connection;
use crate::load::{Window, measure};
use crate::process::Process;
use crate::results::{Memory, kib, mib};
use crate::run::Run;
use crate::stage::{Target, Upstreams};
use crate::template::Speaks;
use crate::upstream::Era;

/// Sessions and streams that are there already when counting begins: what the first ones cost is not what each costs.
const FIRST: usize = 64;
const SESSIONS: usize = 2_000;
const USED_SESSIONS: usize = 500;
const STREAMS: usize = 500;
/// Freed memory goes back, and what runs in the background ends, within this.
const SETTLE: Duration = Duration::from_millis(1_500);

pub(crate) async fn stage(run: &mut Run<'_>) -> Result<(), String> {
    let upstreams = run.programs.upstreams("a", Era::Legacy, 4, 1)?;
    for name in ["nginx", "bare", "toolgate"] {
        let Some(target) = start(run, name, &upstreams).await? else {
            continue;
        };
        let memory = of(&target, &upstreams).await?;
        let per = |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{:.1} KiB", kib(bytes)));
        eprintln!(
            "  memory {name:9} idle {:.1} MiB, 64 clients {:.1} MiB, session {}, used session {}, stream {}",
            mib(memory.idle),
            mib(memory.busy),
            per(memory.session),
            per(memory.used_session),
            per(memory.stream),
        );
        run.results.memory.insert(name.to_owned(), memory);
    }
    Ok(())
}

async fn start(run: &Run<'_>, name: &str, upstreams: &Upstreams) -> Result<Option<Target>, String> {
    Ok(match name {
        "nginx" => run.programs.nginx(upstreams)?,
        "bare" => Some(run.programs.bare(upstreams)?),
        _ => Some(run.programs.toolgate(&[upstreams]).await?),
    })
}

async fn of(target: &Target, upstreams: &Upstreams) -> Result<Memory, String> {
    let process = target.process.as_ref().ok_or("no process")?;
    let talk = Talk {
        address: target.address,
        doors: vec![target.door()],
        speaks: Speaks::Legacy,
        upstreams: upstreams.names.clone(),
        operation: Operation::Echo,
    };
    let idle = settled(process).await;
    process.forget_peak();
    let window = Window {
        clients: 64,
        warm: Duration::from_millis(500),
        time: Duration::from_millis(1_500),
        calls_max: 1_000_000,
    };
    measure(&talk, window, Some(process), &[&upstreams.process]).await?;
    let busy = process.memory().peak as f64;
    let mut memory = Memory {
        idle,
        busy,
        ..Memory::default()
    };

    let mut callers = Vec::new();
    more(&mut callers, &talk, FIRST).await?;
    for caller in &mut callers {
        caller.listen().await?;
    }
    let before = settled(process).await;
    if target.name == "toolgate" {
        let mut connection = Connection::open(target.address).await?;
        for _ in 0..SESSIONS {
            caller::initialize(&mut connection, &target.door()).await?;
        }
        let after = settled(process).await;
        memory.session = Some((after - before) / SESSIONS as f64);
    }
    let before = settled(process).await;
    let from = callers.len();
    more(&mut callers, &talk, STREAMS).await?;
    for caller in &mut callers[from..] {
        caller.listen().await?;
    }
    let after = settled(process).await;
    let each = (after - before) / STREAMS as f64;
    memory.stream = Some(each - memory.session.unwrap_or(0.0));
    if target.name == "toolgate" {
        let before = settled(process).await;
        for index in 0..USED_SESSIONS {
            // Its connection is closed again; the session stays.
            talk.connect(index).await?.once().await?;
        }
        let after = settled(process).await;
        memory.used_session = Some((after - before) / USED_SESSIONS as f64);
    }
    Ok(memory)
}

async fn more(callers: &mut Vec<Caller>, talk: &Talk, count: usize) -> Result<(), String> {
    for _ in 0..count {
        callers.push(talk.connect(callers.len()).await?);
    }
    Ok(())
}

async fn settled(process: &Process) -> f64 {
    tokio::time::sleep(SETTLE).await;
    process.memory().now as f64
}
