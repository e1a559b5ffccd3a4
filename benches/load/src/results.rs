//! What a run found: every sample, and the medians.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::{Sample, median};

/// One operation at one target.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) operation: String,
    pub(crate) target: String,
    pub(crate) clients: usize,
    pub(crate) median: Figures,
    pub(crate) runs: Vec<Figures>,
}

/// The figures of a sample.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) calls_per_s: f64,
    /// `None` where there is no proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us: Option<f64>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay_p99_us: Option<f64>,
    /// Share of a core that other programs took.
    pub(crate) foreign: f64,
}

/// Memory of one target, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) idle: f64,
    /// At the peak of an echo load of 64 clients.
    pub(crate) busy: f64,
    /// Of a session that only shook hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<f64>,
    /// Of a session that has made a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used_session: Option<f64>,
    /// Of an open stream, its connection included, its session not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<f64>,
}

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) about: BTreeMap<String, String>,
    pub(crate) series: Vec<Series>,
    pub(crate) memory: BTreeMap<String, Memory>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
    pub(crate) goals: Vec<Judged>,
}

/// A goal held against the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) goal: &'static str,
    pub(crate) bound: &'static str,
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

impl Figures {
    fn of(sample: &Sample, has_proxy: bool) -> Self {
        let delays = sample.delay_p99_us > 0.0;
        Self {
            calls: sample.calls,
            calls_per_s: sample.calls_per_s,
            cpu_us: has_proxy.then_some(sample.cpu_us),
            p50_us: sample.p50_us,
            p99_us: sample.p99_us,
            delay_p50_us: delays.then_some(sample.delay_p50_us),
            delay_p99_us: delays.then_some(sample.delay_p99_us),
            foreign: sample.foreign,
        }
    }
}

impl Series {
    /// Makes the series of the repetitions of one measurement.
    pub(crate) fn new(operation: &str, target: &str, clients: usize, samples: &[Sample]) -> Self {
        let runs: Vec<Figures> = samples
            .iter()
            .map(|sample| Figures::of(sample, target != "direct"))
            .collect();
        let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure));
        let of_some = |figure: fn(&Figures) -> Option<f64>| {
            let there: Vec<f64> = runs.iter().filter_map(figure).collect();
            (!there.is_empty()).then(|| median(there.into_iter()))
        };
        Self {
            operation: operation.to_owned(),
            target: target.to_owned(),
            clients,
            median: Figures {
                calls: runs.iter().map(|run| run.calls).sum(),
                calls_per_s: of(|run| run.calls_per_s),
                cpu_us: of_some(|run| run.cpu_us),
                p50_us: of(|run| run.p50_us),
                p99_us: of(|run| run.p99_us),
                delay_p50_us: of_some(|run| run.delay_p50_us),
                delay_p99_us: of_some(|run| run.delay_p99_us),
                foreign: of(|run| run.foreign),
            },
            runs,
        }
    }
}

impl Results {
    /// Returns the median of what one operation took more than another, turn by turn.
    pub(crate) fn cpu_more(&self, operation: &str, other: &str, target: &str) -> Option<f64> {
        let runs = |operation| {
            let mut found = self.series.iter();
            let series = found.find(|series| series.operation == operation && series.target == target)?;
            Some(series.runs.iter().map(|run| run.cpu_us))
        };
        let more: Vec<f64> = runs(operation)?
            .zip(runs(other)?)
            .filter_map(|(one, other)| Some(one? - other?))
            .collect();
        (!more.is_empty()).then(|| median(more.into_iter()))
    }

    pub(crate) fn find(&self, operation: &str, target: &str) -> Option<&Figures> {
        let found = self
            .series
            .iter()
            .find(|series| series.operation == operation && series.target == target);
        found.map(|series| &series.median)
    }
}

pub(crate) fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

pub(crate) fn kib(bytes: f64) -> f64 {
    bytes / 1024.0
}
