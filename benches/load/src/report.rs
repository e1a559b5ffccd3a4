//! The run as a Markdown table, as JSON, and as a plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::plot;
use crate::results::{Figures, Memory, Results, kib, mib};

/// Writes `results.md`, `results.json` and `results.svg` into a folder; returns the Markdown.
pub(crate) fn write(results: &Results, out: &Path) -> Result<String, String> {
    let text = markdown(results);
    let json = serde_json::to_string_pretty(results).map_err(|error| error.to_string())?;
    let files = [
        ("results.md", text.clone()),
        ("results.json", json),
        ("results.svg", plot::svg(results)),
    ];
    for (name, content) in files {
        fs::write(out.join(name), content).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(text)
}

fn markdown(results: &Results) -> String {
    let mut out = String::new();
    for (key, value) in &results.about {
        let _ = writeln!(out, "- {key}: {value}");
    }
    for missing in &results.missing {
        let _ = writeln!(out, "- not measured: {missing}");
    }
    out.push_str(
        "\nCPU: user and system time of the proxy's process for one operation. Medians of the repetitions.\n\n",
    );
    operations(&mut out, results);
    memory(&mut out, results);
    goals(&mut out, results);
    out
}

fn operations(out: &mut String, results: &Results) {
    out.push_str("| operation | through | CPU | × nginx | per second | × nginx | p50 | p99 |\n");
    out.push_str("|---|---|--:|--:|--:|--:|--:|--:|\n");
    for series in &results.series {
        let (figures, nginx) = (&series.median, results.find(&series.operation, "nginx"));
        let nginx = nginx.filter(|_| series.target != "nginx");
        let ratio = |figure: fn(&Figures) -> f64| {
            nginx.map_or(String::new(), |nginx| {
                format!("{:.2}", figure(figures) / figure(nginx))
            })
        };
        let cpu_ratio = nginx.and_then(|nginx| Some(format!("{:.2}", figures.cpu_us? / nginx.cpu_us?)));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.0} | {} | {} | {} |",
            series.operation,
            series.target,
            figures.cpu_us.map_or(String::new(), time),
            cpu_ratio.unwrap_or_default(),
            figures.calls_per_s,
            ratio(|figures| figures.calls_per_s),
            time(figures.p50_us),
            time(figures.p99_us),
        );
    }
    let paced: Vec<_> = results
        .series
        .iter()
        .filter(|series| series.median.delay_p99_us.is_some())
        .collect();
    if paced.is_empty() {
        return;
    }
    out.push_str("\n| how long an event is under way | p50 | p99 |\n|---|--:|--:|\n");
    for series in paced {
        let figures = &series.median;
        let (p50, p99) = (
            figures.delay_p50_us.unwrap_or(0.0),
            figures.delay_p99_us.unwrap_or(0.0),
        );
        let _ = writeln!(out, "| {} | {} | {} |", series.target, time(p50), time(p99));
    }
}

fn memory(out: &mut String, results: &Results) {
    if results.memory.is_empty() {
        return;
    }
    out.push_str("\n| memory | idle | 64 clients | idle session | session that called | open stream |\n");
    out.push_str("|---|--:|--:|--:|--:|--:|\n");
    let some = |bytes: Option<f64>| bytes.map_or(String::new(), |bytes| format!("{:.1} KiB", kib(bytes)));
    for (target, memory) in &results.memory {
        let Memory {
            idle,
            busy,
            session,
            used_session,
            stream,
        } = *memory;
        let _ = writeln!(
            out,
            "| {target} | {:.1} MiB | {:.1} MiB | {} | {} | {} |",
            mib(idle),
            mib(busy),
            some(session),
            some(used_session),
            some(stream)
        );
    }
}

fn goals(out: &mut String, results: &Results) {
    out.push_str("\n| goal | bound | found | met |\n|---|--:|--:|---|\n");
    for judged in &results.goals {
        let (found, met) = match (judged.found, judged.met) {
            (Some(found), Some(met)) => (format!("{found:.2}"), if met { "yes" } else { "**no**" }),
            _ => (String::new(), "not measured"),
        };
        let _ = writeln!(
            out,
            "| {} | {} {} {} | {found} | {met} |",
            judged.goal, judged.bound, judged.limit, judged.unit
        );
    }
}

/// Writes a time in the unit that reads best.
fn time(us: f64) -> String {
    match us {
        us if us >= 100_000.0 => format!("{:.2} s", us / 1e6),
        us if us >= 10_000.0 => format!("{:.1} ms", us / 1e3),
        us if us >= 100.0 => format!("{us:.0} µs"),
        us => format!("{us:.1} µs"),
    }
}
