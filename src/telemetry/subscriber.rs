//! Log lines on stderr (pretty on a terminal, JSON otherwise) and, when an endpoint is configured, spans over OTLP.
//! The exporter has a thread of its own and batches; a collector that is down costs nobody a call.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use url::Url;

use super::lines::{JsonLine, NoFields};
use super::redact::redacted;
use super::request;

/// The target of spans that only the collector is to see: without one they are not even made. To find out, make the
/// span and ask it: `span_enabled!` makes filters of layers swallow the next log line.
pub const SPANS: &str = "toolgate::spans";
/// Some crates print headers or whole frames below `info`, so they stay above it unless the filter names them.
const QUIET: &str = "toolgate::spans=off,h2=info,hyper=info,hyper_util=info,reqwest=info,rustls=info,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn";

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// What an operator wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// A filter, such as `info` or `toolgate=debug`.
    pub level: &'a str,
    /// The form of log lines; `None`: pretty on a terminal, JSON otherwise.
    pub format: Option<Format>,
    /// Where spans go over OTLP; `None`: nowhere.
    pub otlp_endpoint: Option<&'a Url>,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// `[log] level` is not a filter.
    #[error("log.level is not a filter such as info or toolgate=debug")]
    Level(#[source] tracing_subscriber::filter::ParseError),
    /// The exporter cannot be made for this endpoint.
    #[error("spans cannot be exported to {endpoint}")]
    Exporter {
        /// The endpoint, redacted.
        endpoint: String,
        /// Why.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Telemetry was started before in this process.
    #[error("telemetry is already running")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Holds what has to be sent before the process ends.
#[derive(Debug, Default)]
#[must_use = "spans that wait are lost unless they are flushed at the end"]
pub struct Flush(Option<SdkTracerProvider>);

impl Flush {
    /// Sends what waits and ends the exporter. Blocks for at most the exporter's time-out; call it last.
    pub fn finish(self) {
        let Some(provider) = self.0 else { return };
        if let Err(error) = provider.shutdown() {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Starts logging and, if configured, export for the whole process.
///
/// # Errors
/// [`InitError`] by cause.
pub fn init(settings: &Settings<'_>) -> Result<Flush, InitError> {
    let on_terminal = std::io::stderr().is_terminal();
    let format = settings
        .format
        .unwrap_or(if on_terminal { Format::Pretty } else { Format::Json });
    let provider = settings.otlp_endpoint.map(exporting).transpose()?;
    request::make_spans(format == Format::Pretty || provider.is_some());
    let lines = lines(format, on_terminal, std::io::stderr);
    subscriber(lines, filter(settings.level)?, provider.as_ref())
        .try_init()
        .map_err(InitError::Twice)?;
    Ok(Flush(provider))
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Log lines and spans have filters of their own, so that neither decides for the other. Where there are only lines,
/// one filter stands before everything: those of layers look every span up again whenever it is entered or left.
fn subscriber(
    lines: Lines,
    filter: EnvFilter,
    provider: Option<&SdkTracerProvider>,
) -> Box<dyn Subscriber + Send + Sync> {
    match provider {
        None => Box::new(tracing_subscriber::registry().with(lines).with(filter)),
        Some(provider) => {
            let layers = vec![lines.with_filter(filter).boxed(), spans(provider).boxed()];
            Box::new(tracing_subscriber::registry().with(layers))
        }
    }
}

fn filter(level: &str) -> Result<EnvFilter, InitError> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{level}"))
        .map_err(InitError::Level)
}

fn lines<W>(format: Format, colours: bool, to: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(to)
        .with_ansi(colours);
    match format {
        Format::Json => layer.event_format(JsonLine).fmt_fields(NoFields).boxed(),
        Format::Pretty => layer.compact().boxed(),
    }
}

/// Spans are exported whatever the level of the log is.
fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("toolgate"))
        .with_filter(Targets::new().with_target("toolgate", LevelFilter::INFO))
}

fn exporting(endpoint: &Url) -> Result<SdkTracerProvider, InitError> {
    // Fails when the process has a provider already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces_url(endpoint))
        .build()
        .map_err(|source| InitError::Exporter {
            endpoint: redacted(endpoint).to_string(),
            source,
        })?;
    let resource = Resource::builder()
        .with_service_name("toolgate")
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// `OTEL_EXPORTER_OTLP_ENDPOINT` is a base; spans go to `v1/traces` below it.
fn traces_url(endpoint: &Url) -> String {
    let mut url = endpoint.clone();
    if !url.path().ends_with("/v1/traces") {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    url.into()
}

#[cfg(test)]
mod tests;
