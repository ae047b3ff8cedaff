//! From the text of `/metrics` to messages of OTLP.
//!
//! There is one set of series in a process, which whoever scrapes reads as text; a receiver gets the very same. The
//! library that keeps the series has no other way to read them, and OpenMetrics is a standard, so its text is read here.

mod text;

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point,
    },
};

use self::text::{Family, Kind, Sample};
use crate::{export::attribute, semconv};

/// Everything that `text` says, counted since `started`.
pub(crate) fn of(text: &str, started: SystemTime, now: SystemTime) -> Vec<Metric> {
    let span = TimeSpan {
        started: nanoseconds(started),
        now: nanoseconds(now),
    };
    text::families(text)
        .into_iter()
        .filter_map(|family| metric(family, span))
        .collect()
}

#[derive(Clone, Copy)]
struct TimeSpan {
    started: u64,
    now: u64,
}

fn metric(family: Family<'_>, span: TimeSpan) -> Option<Metric> {
    let cumulative = AggregationTemporality::Cumulative.into();
    let numbers = || family.samples.iter().map(|sample| number(sample, span)).collect();
    let data = match family.kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers() }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: histograms(&family.samples, span),
            aggregation_temporality: cumulative,
        }),
        Kind::Other => return None,
    };
    let name = family.name.strip_suffix(family.unit).unwrap_or(family.name);
    Some(Metric {
        name: semconv::dotted(name.trim_end_matches('_')).to_owned(),
        description: family.help.trim_end_matches('.').to_owned(),
        unit: unit(family.unit).to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// As UCUM writes it.
fn unit(name: &str) -> &str {
    match name {
        "seconds" => "s",
        "milliseconds" => "ms",
        "bytes" => "By",
        other => other,
    }
}

fn number(sample: &Sample<'_>, span: TimeSpan) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: span.started,
        time_unix_nano: span.now,
        value: Some(number_data_point::Value::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    }
}

/// The samples of a histogram belong together by their labels but `le`, and come together.
fn histograms(samples: &[Sample<'_>], span: TimeSpan) -> Vec<HistogramDataPoint> {
    let same = |one: &Sample<'_>, other: &Sample<'_>| without_bound(one).eq(without_bound(other));
    samples.chunk_by(same).map(|samples| histogram(samples, span)).collect()
}

fn without_bound<'a>(sample: &'a Sample<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let labels = sample.labels.iter().map(|(name, value)| (*name, &**value));
    labels.filter(|(name, _)| *name != "le")
}

fn histogram(samples: &[Sample<'_>], span: TimeSpan) -> HistogramDataPoint {
    let mut point = HistogramDataPoint {
        start_time_unix_nano: span.started,
        time_unix_nano: span.now,
        ..HistogramDataPoint::default()
    };
    let mut below = 0;
    for sample in samples {
        match sample.suffix {
            "_count" => point.count = sample.value as u64,
            "_sum" => point.sum = Some(sample.value),
            _ => {
                // The text counts what is below each bound, the message what is between two.
                let up_to_here = sample.value as u64;
                point.bucket_counts.push(up_to_here.saturating_sub(below));
                below = up_to_here;
                let bound = sample.labels.iter().find(|(name, _)| *name == "le");
                let bound = bound.and_then(|(_, bound)| bound.parse::<f64>().ok());
                point.explicit_bounds.extend(bound.filter(|bound| bound.is_finite()));
            }
        }
    }
    if let Some(sample) = samples.first() {
        let labels = without_bound(sample).filter(|(_, value)| !value.is_empty());
        point.attributes = labels
            .map(|(name, value)| attribute(semconv::dotted(name), value))
            .collect();
    }
    point
}

/// To Prometheus an empty label is none.
fn attributes(labels: &[(&str, String)]) -> Vec<KeyValue> {
    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
    labels
        .map(|(name, value)| attribute(semconv::dotted(name), value))
        .collect()
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
