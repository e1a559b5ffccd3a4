//! `make bench`: the stages one after the other, each with its own processes; within a stage the targets take turns,
//! so that what else happens on the machine hits all alike.

use std::sync::Arc;
use std::time::Duration;

use crate::caller::{Operation, Talk};
use crate::load::{Sample, Window, measure};
use crate::memory;
use crate::process::Process;
use crate::results::{Results, Series};
use crate::stage::{Programs, Target, Upstreams};
use crate::template::Speaks;
use crate::upstream::{self, Era};

/// What tells the cost of the record, and of finding a user's session.
pub(crate) const RECORDED: &str = "echo, recorded";
pub(crate) const UNRECORDED: &str = "echo, not recorded";
pub(crate) const COMPOSIO_RECORDED: &str = "echo at Composio, recorded";

/// From so many repetitions on each is short.
const MANY_TURNS: usize = 64;
/// Processes of one kind that take them.
const PROCESSES: usize = 8;

/// Calls of one repetition at most.
const CALLS_MAX: u64 = 1_000_000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    fn repetitions(self, usual: usize) -> usize {
        if self.quick { 1 } else { usual }
    }

    /// Who takes many turns takes short ones: the machine's speed wanders within seconds, and what differs little is told
    /// apart by turns that are close together.
    fn window(self, plan: &Plan<'_>) -> Window {
        let (warm, time) = match plan.repetitions {
            _ if self.quick => (200, 600),
            MANY_TURNS.. => (150, 350),
            _ => (500, 1_500),
        };
        Window {
            clients: plan.clients,
            warm: Duration::from_millis(warm),
            time: Duration::from_millis(time),
            calls_max: CALLS_MAX,
        }
    }
}

/// A run under way.
pub(crate) struct Run<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) effort: Effort,
    pub(crate) results: Results,
}

/// One operation at several targets.
struct Plan<'a> {
    operation: String,
    work: Operation,
    speaks: Speaks,
    upstreams: &'a [&'a Upstreams],
    clients: usize,
    repetitions: usize,
}

/// A stage: its name and what it does.
type Stage = &'static str;

/// Every stage, in order. `--only` picks by name.
pub(crate) const STAGES: [Stage; 10] = [
    "one", "modern", "record", "five", "routing", "eras", "slow", "gateways", "cores", "memory",
];

impl Run<'_> {
    pub(crate) async fn stage(&mut self, stage: Stage) -> Result<(), String> {
        eprintln!("stage {stage}");
        match stage {
            "one" => self.one().await,
            "modern" => self.modern().await,
            "record" => self.record().await,
            "five" => self.five().await,
            "routing" => self.routing().await,
            "eras" => self.eras().await,
            "slow" => self.slow().await,
            "gateways" => self.gateways().await,
            "cores" => self.cores().await,
            _ => memory::stage(self).await,
        }
    }

    /// One legacy gateway behind each proxy.
    async fn one(&mut self) -> Result<(), String> {
        let upstreams = self.programs.upstreams("a", Era::Legacy, 4, 1)?;
        let targets = self.all(&upstreams).await?;
        let behind = [&upstreams];
        let plan = |operation: &str, work, clients, repetitions| Plan {
            operation: operation.to_owned(),
            work,
            speaks: Speaks::Legacy,
            upstreams: &behind,
            clients,
            repetitions,
        };
        let all: Vec<&Target> = targets.iter().collect();
        let blob: Arc<str> = upstream::blob().into();
        let burst = Operation::Progress {
            events: 100,
            pause_ms: 0,
        };
        let paced = Operation::Progress {
            events: 20,
            pause_ms: 5,
        };
        self.compare(&all, &plan("echo, 64 clients", Operation::Echo, 64, 7))
            .await?;
        self.compare(&all, &plan("echo, 1 client", Operation::Echo, 1, 5))
            .await?;
        self.compare(&all, &plan("1 MiB result", Operation::Blob(blob), 8, 5))
            .await?;
        self.compare(&all, &plan("100 progress events", burst, 16, 5))
            .await?;
        self.compare(&all, &plan("20 events, one each 5 ms", paced, 16, 3))
            .await?;
        self.compare(&all, &plan("initialize + DELETE", Operation::Initialize, 16, 3))
            .await?;
        let grown: Vec<&Target> = all
            .iter()
            .copied()
            .filter(|target| !matches!(target.name, "direct" | "bare"))
            .collect();
        for clients in [4, 16, 256, 1024] {
            let operation = format!("echo, {clients} clients");
            self.compare(&grown, &plan(&operation, Operation::Echo, clients, 3))
                .await?;
        }
        Ok(())
    }

    /// One modern gateway behind each proxy.
    async fn modern(&mut self) -> Result<(), String> {
        let upstreams = self.programs.upstreams("m", Era::Modern, 4, 1)?;
        let targets = self.all(&upstreams).await?;
        let plan = Plan {
            operation: "stateless echo, 64 clients".to_owned(),
            work: Operation::Echo,
            speaks: Speaks::Modern,
            upstreams: &[&upstreams],
            clients: 64,
            repetitions: 7,
        };
        self.compare(&targets.iter().collect::<Vec<_>>(), &plan).await
    }

    /// With the record of calls and without; and with the record, through the user's own session at Composio. Each client is
    /// another user. What a session answers here is plain text, which says nothing that Toolgate reads. One process may be
    /// quicker than another of the same program by more than what is measured, as its memory happens to lie: so there
    /// are several of each.
    async fn record(&mut self) -> Result<(), String> {
        let upstreams = self.programs.upstreams("k", Era::Legacy, 4, 1)?;
        let behind = [&upstreams];
        let plan = |operation: &str| Plan {
            operation: operation.to_owned(),
            work: Operation::Echo,
            speaks: Speaks::Legacy,
            upstreams: &behind,
            clients: 64,
            repetitions: MANY_TURNS,
        };
        let plans = [RECORDED, UNRECORDED, COMPOSIO_RECORDED].map(plan);
        let mut samples = [const { Vec::new() }; 3];
        for _ in 0..self.effort.repetitions(PROCESSES) {
            let targets = self.programs.toolgates_of_many(&upstreams, 64).await?;
            for turn in 0..self.effort.repetitions(MANY_TURNS / PROCESSES) {
                for at in (0..3).map(|at| (at + turn) % 3) {
                    samples[at].push(self.once(&targets[at], &plans[at]).await?);
                }
            }
        }
        for (plan, samples) in plans.iter().zip(&samples) {
            self.push(plan, "toolgate", samples);
        }
        Ok(())
    }

    /// Five gateways with forty tools each; nginx passes a list of as many tools on from one.
    async fn five(&mut self) -> Result<(), String> {
        let upstreams = self.programs.upstreams("f", Era::Legacy, 40, 5)?;
        let single = self.programs.upstreams("s", Era::Legacy, 200, 1)?;
        let toolgate = self.programs.toolgate(&[&upstreams]).await?;
        let nginx = self.programs.nginx(&single)?;
        let mut targets = vec![&toolgate];
        targets.extend(nginx.as_ref());
        let behind = [&upstreams, &single];
        let plan = |operation: &str, work, clients, repetitions| Plan {
            operation: operation.to_owned(),
            work,
            speaks: Speaks::Legacy,
            upstreams: &behind,
            clients,
            repetitions,
        };
        let list = Operation::List { tools: 200 };
        self.compare(&targets, &plan("tools/list, 200 tools", list, 16, 5))
            .await?;
        let behind = [&upstreams];
        let plan = |operation: &str, work, clients, repetitions| Plan {
            operation: operation.to_owned(),
            work,
            speaks: Speaks::Legacy,
            upstreams: &behind,
            clients,
            repetitions,
        };
        let targets = [&toolgate];
        self.compare(
            &targets,
            &plan("initialize + DELETE, 5 gateways", Operation::Initialize, 16, 3),
        )
        .await?;
        self.compare(
            &targets,
            &plan("echo, 64 clients, 5 gateways", Operation::Echo, 64, 5),
        )
        .await
    }

    /// Ten gateways with one tool each, and with a thousand.
    async fn routing(&mut self) -> Result<(), String> {
        let few = self.programs.upstreams("r", Era::Legacy, 1, 10)?;
        let many = self.programs.upstreams("r", Era::Legacy, 1_000, 10)?;
        let with_few = self.programs.toolgate(&[&few]).await?;
        let with_many = self.programs.toolgate(&[&many]).await?;
        let plan = |operation: &str, upstreams| Plan {
            operation: operation.to_owned(),
            work: Operation::Echo,
            speaks: Speaks::Legacy,
            upstreams,
            clients: 64,
            repetitions: 5,
        };
        let (of_few, of_many) = ([&few], [&many]);
        let plans = [
            plan("echo among 10 tools", &of_few),
            plan("echo among 10,000 tools", &of_many),
        ];
        self.take_turns(&[(&with_few, &plans[0]), (&with_many, &plans[1])])
            .await
    }

    /// A client of each era at a gateway of the other.
    async fn eras(&mut self) -> Result<(), String> {
        let legacy = self.programs.upstreams("l", Era::Legacy, 4, 1)?;
        let modern = self.programs.upstreams("m", Era::Modern, 4, 1)?;
        let toolgate = self.programs.toolgate(&[&legacy, &modern]).await?;
        let (to_legacy, to_modern) = ([&legacy], [&modern]);
        let plan = |operation: &str, speaks, upstreams| Plan {
            operation: operation.to_owned(),
            work: Operation::Echo,
            speaks,
            upstreams,
            clients: 64,
            repetitions: 5,
        };
        let plans = [
            plan("echo, legacy client, modern gateway", Speaks::Legacy, &to_modern),
            plan("echo, modern client, legacy gateway", Speaks::Modern, &to_legacy),
        ];
        self.take_turns(&[(&toolgate, &plans[0]), (&toolgate, &plans[1])])
            .await
    }

    /// Three gateways, of which one answers after ten seconds.
    async fn slow(&mut self) -> Result<(), String> {
        let quick = self.programs.upstreams("q", Era::Legacy, 4, 2)?;
        let slow = self.programs.upstreams("z", Era::Legacy, 4, 1)?;
        let toolgate = self.programs.toolgate(&[&quick, &slow]).await?;
        let behind = [&quick];
        let plan = |operation: &str| Plan {
            operation: operation.to_owned(),
            work: Operation::Echo,
            speaks: Speaks::Legacy,
            upstreams: &behind,
            clients: 64,
            repetitions: 1,
        };
        let (without, beside) = (
            plan("echo, two of three gateways"),
            plan("echo beside a gateway that hangs"),
        );
        let hanging = Talk {
            operation: Operation::Sleep { ms: 10_000 },
            ..Self::talk(&toolgate, &plan("").with(&[&slow]))
        };
        let (mut calm, mut troubled) = (Vec::new(), Vec::new());
        for _ in 0..self.effort.repetitions(3) {
            calm.push(self.once(&toolgate, &without).await?);
            let mut waiting = tokio::task::JoinSet::new();
            for index in 0..64 {
                let mut caller = hanging.connect(index).await?;
                waiting.spawn(async move { caller.once().await.map(|_| caller) });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            troubled.push(self.once(&toolgate, &beside).await?);
            // Their answers are checked as every other.
            while let Some(done) = waiting.join_next().await {
                done.map_err(|error| error.to_string())??.leave().await?;
            }
        }
        self.push(&without, toolgate.name, &calm);
        self.push(&beside, toolgate.name, &troubled);
        Ok(())
    }

    /// From one gateway to a hundred.
    async fn gateways(&mut self) -> Result<(), String> {
        for gateways in [1, 10, 100] {
            let upstreams = self.programs.upstreams("g", Era::Legacy, 4, gateways)?;
            let toolgate = self.programs.toolgate(&[&upstreams]).await?;
            let plan = Plan {
                operation: format!("echo, 64 clients, {gateways} gateways"),
                work: Operation::Echo,
                speaks: Speaks::Legacy,
                upstreams: &[&upstreams],
                clients: 64,
                repetitions: 3,
            };
            self.compare(&[&toolgate], &plan).await?;
        }
        Ok(())
    }

    /// One core and two. The upstream and the clients need a core each beside, else they are what is measured.
    async fn cores(&mut self) -> Result<(), String> {
        if self.programs.cores < 4 {
            let why = format!(
                "one core against two: needs four, here are {}",
                self.programs.cores
            );
            self.results.missing.push(why);
            return Ok(());
        }
        let upstreams = self.programs.upstreams_on("2", "c", Era::Legacy, (4, 1))?;
        let one = self.programs.toolgate(&[&upstreams]).await?;
        let two = self.programs.toolgate_on("0,3", &[&upstreams]).await?;
        let behind = [&upstreams];
        let plan = |operation: &str| Plan {
            operation: operation.to_owned(),
            work: Operation::Echo,
            speaks: Speaks::Legacy,
            upstreams: &behind,
            clients: 64,
            repetitions: 5,
        };
        let plans = [plan("echo on one core"), plan("echo on two cores")];
        self.take_turns(&[(&one, &plans[0]), (&two, &plans[1])]).await
    }

    /// Starts every proxy before an upstream.
    async fn all(&mut self, upstreams: &Upstreams) -> Result<Vec<Target>, String> {
        let mut targets = vec![upstreams.direct()];
        match self.programs.nginx(upstreams)? {
            Some(nginx) => targets.push(nginx),
            None => self.results.missing.push("nginx: not installed".to_owned()),
        }
        targets.push(self.programs.bare(upstreams)?);
        targets.push(self.programs.toolgate(&[upstreams]).await?);
        match self.programs.peer(upstreams) {
            Ok(peer) => targets.extend(peer),
            // It ends where it cannot speak to what is behind it: to a modern server, say.
            Err(error) => self.results.missing.push(format!("peer: {error}")),
        }
        Ok(targets)
    }

    async fn compare(&mut self, targets: &[&Target], plan: &Plan<'_>) -> Result<(), String> {
        let pairs: Vec<_> = targets.iter().map(|target| (*target, plan)).collect();
        self.take_turns(&pairs).await
    }

    /// Measures each target in turn, as often as planned; each repetition begins with another.
    async fn take_turns(&mut self, pairs: &[(&Target, &Plan<'_>)]) -> Result<(), String> {
        let repetitions = pairs
            .first()
            .map_or(0, |(_, plan)| self.effort.repetitions(plan.repetitions));
        let mut samples = vec![Vec::new(); pairs.len()];
        let mut failed: Vec<Option<String>> = vec![None; pairs.len()];
        for repetition in 0..repetitions {
            for turn in 0..pairs.len() {
                let at = (turn + repetition) % pairs.len();
                let (target, plan) = pairs[at];
                if failed[at].is_some() {
                    continue;
                }
                match self.once(target, plan).await {
                    Ok(sample) => samples[at].push(sample),
                    // A peer that cannot do something is worth a line; anybody else must.
                    Err(error) if target.name == "peer" => failed[at] = Some(error),
                    Err(error) => return Err(format!("{} at {}: {error}", plan.operation, target.name)),
                }
            }
        }
        for (at, (target, plan)) in pairs.iter().enumerate() {
            match failed[at].take() {
                None => self.push(plan, target.name, &samples[at]),
                Some(error) => {
                    self.results
                        .missing
                        .push(format!("{} at {}: {error}", plan.operation, target.name));
                }
            }
        }
        Ok(())
    }

    async fn once(&self, target: &Target, plan: &Plan<'_>) -> Result<Sample, String> {
        let talk = Self::talk(target, plan);
        let ours: Vec<&Process> = plan
            .upstreams
            .iter()
            .map(|upstreams| &upstreams.process)
            .collect();
        measure(&talk, self.effort.window(plan), target.process.as_ref(), &ours).await
    }

    fn talk(target: &Target, plan: &Plan) -> Talk {
        Talk {
            address: target.address,
            doors: target.doors(),
            speaks: plan.speaks,
            upstreams: plan
                .upstreams
                .iter()
                .flat_map(|upstreams| upstreams.names.clone())
                .collect(),
            operation: plan.work.clone(),
        }
    }

    fn push(&mut self, plan: &Plan, target: &str, samples: &[Sample]) {
        let series = Series::new(&plan.operation, target, plan.clients, samples);
        let figures = &series.median;
        eprintln!(
            "  {:40} {:9} {:>9} CPU µs  {:>9.0} calls/s  p50 {:>8.1} µs  p99 {:>8.1} µs  others took {:>3.0} % of a core",
            plan.operation,
            target,
            figures.cpu_us.map_or("-".to_owned(), |cpu| format!("{cpu:.1}")),
            figures.calls_per_s,
            figures.p50_us,
            figures.p99_us,
            figures.foreign * 100.0,
        );
        self.results.series.push(series);
    }
}

impl<'a> Plan<'a> {
    fn with(self, upstreams: &'a [&'a Upstreams]) -> Self {
        Plan { upstreams, ..self }
    }
}
