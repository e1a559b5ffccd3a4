//! The plot: CPU of each operation beside nginx's, and CPU of a call as clients grow.

use std::fmt::Write as _;

use crate::results::Results;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 250.0;
const BAR: f64 = 14.0;
const COLOURS: [(&str, &str); 4] = [
    ("nginx", "#8a8f98"),
    ("bare", "#c3c7cd"),
    ("toolgate", "#2a6fdb"),
    ("peer", "#d98b2b"),
];
const OPERATIONS: [&str; 6] = [
    "echo, 64 clients",
    "stateless echo, 64 clients",
    "1 MiB result",
    "100 progress events",
    "tools/list, 200 tools",
    "initialize + DELETE",
];
const GROWTH: [usize; 6] = [1, 4, 16, 64, 256, 1024];

/// Draws the run.
pub(crate) fn svg(results: &Results) -> String {
    let mut body = String::new();
    let middle = bars(&mut body, results);
    let end = lines(&mut body, results, middle + 50.0);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{end}" viewBox="0 0 {WIDTH} {end}" font-family="sans-serif" font-size="12" fill="#333"><rect width="100%" height="100%" fill="#fff"/>{body}</svg>
"##
    )
}

/// Draws each operation's bars against nginx's time (or the longest); returns where the next thing may begin.
fn bars(out: &mut String, results: &Results) -> f64 {
    text(
        out,
        16.0,
        24.0,
        "CPU of the proxy for one operation, as a multiple of nginx's",
        "start",
    );
    let mut y = 44.0;
    for operation in OPERATIONS {
        let there: Vec<_> = COLOURS
            .iter()
            .filter_map(|(target, colour)| Some((*target, *colour, results.find(operation, target)?.cpu_us?)))
            .collect();
        let Some((_, _, whole)) = there
            .iter()
            .find(|(target, _, _)| *target == "nginx")
            .or(there.first())
        else {
            continue;
        };
        text(out, LEFT - 10.0, y + BAR, operation, "end");
        for (target, colour, cpu) in &there {
            let ratio = cpu / whole;
            let width = (ratio.min(5.0) / 5.0 * (WIDTH - LEFT - 170.0)).max(1.0);
            let _ = write!(
                out,
                r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{colour}"/>"#,
                BAR - 2.0
            );
            let label = format!("{target} {ratio:.2} × ({cpu:.1} µs)");
            text(out, LEFT + width + 6.0, y + BAR - 4.0, &label, "start");
            y += BAR;
        }
        y += 10.0;
    }
    y
}

/// Draws CPU of an echo against the number of clients; returns where it ends.
fn lines(out: &mut String, results: &Results, top: f64) -> f64 {
    let (height, right) = (200.0, WIDTH - 120.0);
    let points = |target: &str| -> Vec<(usize, f64)> {
        let cpu = |clients: usize| {
            let plural = if clients == 1 { "" } else { "s" };
            results
                .find(&format!("echo, {clients} client{plural}"), target)?
                .cpu_us
        };
        GROWTH
            .iter()
            .enumerate()
            .filter_map(|(at, clients)| Some((at, cpu(*clients)?)))
            .collect()
    };
    let all: Vec<_> = COLOURS
        .iter()
        .map(|(target, colour)| (*target, *colour, points(target)))
        .collect();
    let highest = all
        .iter()
        .flat_map(|(_, _, points)| points)
        .map(|(_, cpu)| *cpu)
        .fold(1.0, f64::max)
        * 1.1;
    text(
        out,
        16.0,
        top,
        "CPU of an echo call (µs) from 1 to 1,024 clients",
        "start",
    );
    let base = top + 20.0 + height;
    let x = |at: usize| 60.0 + (right - 60.0) * at as f64 / (GROWTH.len() - 1) as f64;
    for (at, clients) in GROWTH.iter().enumerate() {
        text(out, x(at), base + 18.0, &clients.to_string(), "middle");
    }
    for step in 0..=4 {
        let value = highest * f64::from(step) / 4.0;
        let y = base - height * f64::from(step) / 4.0;
        let _ = write!(
            out,
            r##"<line x1="60" x2="{right}" y1="{y:.1}" y2="{y:.1}" stroke="#ddd"/>"##
        );
        text(out, 52.0, y + 4.0, &format!("{value:.0}"), "end");
    }
    for (target, colour, points) in all.iter().filter(|(_, _, points)| points.len() > 1) {
        let y = |cpu: f64| base - height * cpu / highest;
        let path: Vec<String> = points
            .iter()
            .map(|(at, cpu)| format!("{:.1},{:.1}", x(*at), y(*cpu)))
            .collect();
        let _ = write!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#,
            path.join(" ")
        );
        if let Some((at, cpu)) = points.last() {
            text(out, x(*at) + 8.0, y(*cpu) + 4.0, target, "start");
        }
    }
    base + 40.0
}

fn text(out: &mut String, x: f64, y: f64, content: &str, anchor: &str) {
    let _ = write!(
        out,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{content}</text>"#
    );
}
