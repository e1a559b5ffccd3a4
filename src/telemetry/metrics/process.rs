//! `process_*`: memory, processor time, descriptors and start time of this process, read from /proc when somebody
//! scrapes. Where there is no /proc these metrics are absent.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};

/// Reads /proc at each scrape.
#[derive(Debug)]
pub(super) struct Process;

/// What one line of `/proc/self/stat` says (proc(5)), in units of people.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_s: f64,
    threads: i64,
    started_after_boot_s: f64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

impl Stat {
    fn parse(line: &str, ticks_per_s: f64, page_bytes: i64) -> Option<Self> {
        // The program's name may hold blanks and brackets; what follows the last bracket is numbers.
        let (_, numbers) = line.rsplit_once(") ")?;
        let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
        // Field n of proc(5) stands at n - 3 here.
        let ticks = |field: usize| numbers.get(field - 3)?.parse::<f64>().ok();
        let count = |field: usize| numbers.get(field - 3)?.parse::<i64>().ok();
        Some(Self {
            cpu_s: (ticks(14)? + ticks(15)?) / ticks_per_s,
            threads: count(20)?,
            started_after_boot_s: ticks(22)? / ticks_per_s,
            virtual_bytes: count(23)?,
            resident_bytes: count(24)?.saturating_mul(page_bytes),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks per second are about a hundred")]
    fn read() -> Option<Self> {
        let line = std::fs::read_to_string("/proc/self/stat").ok()?;
        let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
        let page_bytes = i64::try_from(rustix::param::page_size()).ok()?;
        Self::parse(&line, ticks_per_s, page_bytes)
    }
}

fn booted_unix_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

fn open_fds() -> Option<i64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // The one with which we look is not counted.
    i64::try_from(open.saturating_sub(1)).ok()
}

impl Collector for Process {
    fn encode(&self, mut to: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(stat) = Stat::read() else { return Ok(()) };
        counter(
            &mut to,
            "process_cpu",
            "Processor time, user and system",
            stat.cpu_s,
        )?;
        let bytes = Some(Unit::Bytes);
        gauge(
            &mut to,
            "process_resident_memory",
            "Memory in RAM",
            bytes.as_ref(),
            stat.resident_bytes,
        )?;
        gauge(
            &mut to,
            "process_virtual_memory",
            "Memory mapped",
            bytes.as_ref(),
            stat.virtual_bytes,
        )?;
        gauge(
            &mut to,
            "process_threads",
            "Threads of the operating system",
            None,
            stat.threads,
        )?;
        if let Some(open) = open_fds() {
            gauge(&mut to, "process_open_fds", "Open file descriptors", None, open)?;
        }
        if let Some(max) = getrlimit(Resource::Nofile)
            .current
            .and_then(|max| i64::try_from(max).ok())
        {
            gauge(
                &mut to,
                "process_max_fds",
                "File descriptors that may be open",
                None,
                max,
            )?;
        }
        if let Some(booted) = booted_unix_s() {
            let started = ConstGauge::new(booted + stat.started_after_boot_s);
            let descriptor = to.encode_descriptor(
                "process_start_time",
                "When the process started, since 1970",
                Some(&Unit::Seconds),
                started.metric_type(),
            )?;
            started.encode(descriptor)?;
        }
        Ok(())
    }
}

fn counter(to: &mut DescriptorEncoder, name: &str, help: &str, seconds: f64) -> std::fmt::Result {
    let metric = ConstCounter::new(seconds);
    metric.encode(to.encode_descriptor(name, help, Some(&Unit::Seconds), metric.metric_type())?)
}

fn gauge(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: i64,
) -> std::fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(to.encode_descriptor(name, help, unit, metric.metric_type())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_even_when_the_program_is_called_oddly() {
        let line = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 9 0 12345 1048576 256 18446744073709551615 1";
        assert_eq!(
            Stat::parse(line, 100.0, 4096),
            Some(Stat {
                cpu_s: 2.0,
                threads: 9,
                started_after_boot_s: 123.45,
                virtual_bytes: 1_048_576,
                resident_bytes: 1_048_576,
            })
        );
    }

    #[test]
    fn a_cut_stat_line_is_nothing() {
        assert_eq!(Stat::parse("42 (toolgate) S 1 42", 100.0, 4096), None);
        assert_eq!(Stat::parse("", 100.0, 4096), None);
    }
}
