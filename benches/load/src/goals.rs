//! The project's goals, held against what a run found.

use crate::results::{Figures, Judged, Memory, Results, kib, mib};
use crate::run::{COMPOSIO_RECORDED, RECORDED, UNRECORDED};

const ECHO: &str = "echo, 64 clients";

/// Looks figures up, Toolgate's unless said.
struct Look<'a>(&'a Results);

impl Look<'_> {
    fn run(&self, operation: &str, target: &str) -> Option<&Figures> {
        self.0.find(operation, target)
    }

    fn cpu(&self, operation: &str) -> Option<f64> {
        self.run(operation, "toolgate")?.cpu_us
    }

    fn cpu_to(&self, operation: &str, other: &str) -> Option<f64> {
        Some(self.cpu(operation)? / self.cpu(other)?)
    }

    fn cpu_to_nginx(&self, operation: &str, at_nginx: &str) -> Option<f64> {
        Some(self.cpu(operation)? / self.run(at_nginx, "nginx")?.cpu_us?)
    }

    fn to_nginx(&self, operation: &str, figure: fn(&Figures) -> f64) -> Option<f64> {
        Some(figure(self.run(operation, "toolgate")?) / figure(self.run(operation, "nginx")?))
    }

    fn memory(&self, figure: fn(&Memory) -> Option<f64>) -> Option<f64> {
        self.0.memory.get("toolgate").and_then(figure)
    }
}

/// Holds every goal against the run.
pub(crate) fn judge(results: &Results) -> Vec<Judged> {
    let look = Look(results);
    [beside_nginx(&look), alone(&look), memory(&look)].concat()
}

fn beside_nginx(look: &Look) -> Vec<Judged> {
    let alone = |target| Some(look.run("echo, 1 client", target)?.p50_us);
    let above = alone("toolgate").and_then(|ours| Some(ours - alone("nginx")?));
    let same = |operation| look.cpu_to_nginx(operation, operation);
    let merged = look.cpu_to_nginx("echo, 64 clients, 5 gateways", ECHO);
    vec![
        at_most("echo, 64 clients: CPU", 1.2, "× nginx", same(ECHO)),
        at_most(
            "echo merged from five gateways, 64 clients: CPU",
            1.27,
            "× nginx",
            merged,
        ),
        at_least(
            "echo, 64 clients: calls per second",
            0.93,
            "× nginx",
            look.to_nginx(ECHO, |run| run.calls_per_s),
        ),
        at_most(
            "echo, 64 clients: p99",
            1.05,
            "× nginx",
            look.to_nginx(ECHO, |run| run.p99_us),
        ),
        at_most("echo, 1 client: p50 above nginx", 8.0, "µs", above),
        at_most(
            "stateless echo, 64 clients: CPU",
            1.2,
            "× nginx",
            same("stateless echo, 64 clients"),
        ),
        at_most("1 MiB result: CPU", 0.75, "× nginx", same("1 MiB result")),
        at_most(
            "100 progress events: CPU",
            1.5,
            "× nginx",
            same("100 progress events"),
        ),
    ]
}

fn alone(look: &Look) -> Vec<Judged> {
    let hung = look.run("echo beside a gateway that hangs", "toolgate");
    let calm = look.run("echo, two of three gateways", "toolgate");
    let beside = hung.and_then(|hung| Some(hung.p99_us / calm?.p99_us));
    let more = |operation| look.0.cpu_more(operation, UNRECORDED, "toolgate");
    let few_tools = look.cpu_to("echo among 10,000 tools", "echo among 10 tools");
    let to_modern = look.cpu("echo, legacy client, modern gateway");
    let to_legacy = look.cpu("echo, modern client, legacy gateway");
    let one_gateway = look.cpu_to("echo, 64 clients, 100 gateways", "echo, 64 clients, 1 gateways");
    let two_cores = look
        .run("echo on two cores", "toolgate")
        .zip(look.run("echo on one core", "toolgate"));
    let two_cores = two_cores.map(|(two, one)| two.calls_per_s / one.calls_per_s);
    vec![
        at_least("calls per second on two cores", 1.7, "× on one", two_cores),
        at_most(
            "tools/list, 5 × 40 tools: CPU",
            150.0,
            "µs",
            look.cpu("tools/list, 200 tools"),
        ),
        at_most(
            "initialize + DELETE, 1 gateway: CPU",
            60.0,
            "µs",
            look.cpu("initialize + DELETE"),
        ),
        at_most(
            "initialize + DELETE, 5 gateways: CPU",
            60.0,
            "µs",
            look.cpu("initialize + DELETE, 5 gateways"),
        ),
        at_most("the record of a call: CPU", 2.0, "µs", more(RECORDED)),
        at_most(
            "record and look-up of a user's session at Composio: CPU",
            2.0,
            "µs",
            more(COMPOSIO_RECORDED),
        ),
        at_most("echo among 10,000 tools: CPU", 1.05, "× among 10", few_tools),
        at_most("legacy client, modern gateway: CPU", 25.0, "µs", to_modern),
        at_most("modern client, legacy gateway: CPU", 25.0, "µs", to_legacy),
        at_most("p99 beside a gateway that hangs", 1.2, "× without", beside),
        at_most(
            "CPU of a call at 1,024 clients",
            1.1,
            "× at 64",
            look.cpu_to("echo, 1024 clients", ECHO),
        ),
        at_most("CPU of a call over 100 gateways", 1.1, "× over 1", one_gateway),
    ]
}

fn memory(look: &Look) -> Vec<Judged> {
    vec![
        at_most(
            "memory, idle",
            8.0,
            "MiB",
            look.memory(|memory| Some(mib(memory.idle))),
        ),
        at_most(
            "memory, 64 clients",
            14.0,
            "MiB",
            look.memory(|memory| Some(mib(memory.busy))),
        ),
        at_most(
            "memory of an idle session",
            1.0,
            "KiB",
            look.memory(|memory| memory.session.map(kib)),
        ),
        at_most(
            "memory of an open stream",
            20.0,
            "KiB",
            look.memory(|memory| memory.stream.map(kib)),
        ),
    ]
}

fn at_most(goal: &'static str, limit: f64, unit: &'static str, found: Option<f64>) -> Judged {
    Judged {
        goal,
        bound: "at most",
        limit,
        unit,
        found,
        met: found.map(|found| found <= limit),
    }
}

fn at_least(goal: &'static str, limit: f64, unit: &'static str, found: Option<f64>) -> Judged {
    let met = found.map(|found| found >= limit);
    Judged {
        goal,
        bound: "at least",
        limit,
        unit,
        found,
        met,
    }
}
