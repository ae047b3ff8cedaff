use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter, family::Family as PromFamily, gauge::Gauge as PromGauge, histogram::Histogram as Hist,
    },
    registry::{Registry, Unit},
};

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    gen_ai_tool_name: String,
    error_type: &'static str,
}

fn labels(tool: &str, error_type: &'static str) -> Labels {
    Labels {
        gen_ai_tool_name: tool.to_owned(),
        error_type,
    }
}

/// What the registry says, as it is sent.
fn sent(registry: &Registry) -> Vec<Metric> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(60);
    of(&text, UNIX_EPOCH + Duration::from_secs(1), now)
}

fn pairs(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    let value = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        any_value::Value::StringValue(text) => text.leak() as &str,
        other => panic!("{other:?}"),
    };
    attributes
        .iter()
        .map(|attribute| (&*attribute.key, value(attribute)))
        .collect()
}

#[test]
fn s13_histograms_come_as_they_were_counted() {
    let mut registry = Registry::default();
    let family = PromFamily::<Labels, Hist>::new_with_constructor(|| Hist::new([0.1, 1.0]));
    registry.register_with_unit(
        "gen_ai_execute_tool_duration",
        "Time of calls",
        Unit::Seconds,
        family.clone(),
    );
    for seconds in [0.05, 0.5, 0.6, 7.0] {
        family
            .get_or_create(&labels("a \"b\"\\\n}", "timeout"))
            .observe(seconds);
    }
    family.get_or_create(&labels("c", "")).observe(0.01);
    let metrics = sent(&registry);
    assert_eq!(metrics.len(), 1);
    let metric = &metrics[0];
    assert_eq!(
        (&*metric.name, &*metric.unit, &*metric.description),
        ("gen_ai.execute_tool.duration", "s", "Time of calls")
    );
    let Some(Data::Histogram(histogram)) = &metric.data else {
        panic!("{metric:?}")
    };
    assert_eq!(
        histogram.aggregation_temporality,
        AggregationTemporality::Cumulative as i32
    );
    let mut points = histogram.data_points.clone();
    points.sort_by_key(|point| point.count);
    let [quick, slow] = &points[..] else {
        panic!("{points:?}")
    };
    assert_eq!(pairs(&quick.attributes), [("gen_ai.tool.name", "c")]);
    assert_eq!((quick.count, &*quick.bucket_counts), (1, &[1, 0, 0][..]));
    assert_eq!(
        pairs(&slow.attributes),
        [("gen_ai.tool.name", "a \"b\"\\\n}"), ("error.type", "timeout")]
    );
    assert_eq!(slow.explicit_bounds, [0.1, 1.0]);
    assert_eq!((slow.count, &*slow.bucket_counts), (4, &[1, 2, 1][..]));
    assert!((slow.sum.unwrap() - 8.15).abs() < 1e-9);
    assert_eq!(
        (slow.start_time_unix_nano, slow.time_unix_nano),
        (1_000_000_000, 60_000_000_000)
    );
}

#[test]
fn s13_counters_and_gauges_come_as_they_are() {
    let mut registry = Registry::default();
    let (counter, gauge, untouched) = (
        Counter::<u64>::default(),
        PromGauge::<i64>::default(),
        PromFamily::<Labels, Counter>::default(),
    );
    registry.register("rockbot_tool_invocations", "Calls", counter.clone());
    registry.register("rockbot_active", "Those that run", gauge.clone());
    registry.register("rockbot_untouched", "Nothing yet", untouched);
    counter.inc_by(3);
    gauge.set(-2);
    let metrics = sent(&registry);
    let value = |points: &[NumberDataPoint]| match points {
        [
            NumberDataPoint {
                value: Some(number_data_point::Value::AsDouble(value)),
                ..
            },
        ] => *value,
        other => panic!("{other:?}"),
    };
    match &metrics[0].data {
        Some(Data::Sum(sum)) if sum.is_monotonic => assert!((value(&sum.data_points) - 3.0).abs() < 1e-9),
        other => panic!("{other:?}"),
    }
    assert_eq!(metrics[0].name, "rockbot.tool.invocations");
    match &metrics[1].data {
        Some(Data::Gauge(gauge)) => assert!((value(&gauge.data_points) + 2.0).abs() < 1e-9),
        other => panic!("{other:?}"),
    }
    assert_eq!(metrics[1].name, "rockbot_active");
    assert_eq!(metrics.len(), 2, "there is nothing to say of the other: {metrics:?}");
}

#[test]
fn what_is_no_metric_is_left_out() {
    for text in [
        "",
        "rockbot 1\n",
        "# TYPE rockbot gauge\nrockbot one\nrockbot{a=\"b 1\nrockbot{a} 1\nrocket 1\n# EOF\n",
        "# TYPE rockbot summary\nrockbot{quantile=\"0.5\"} 1\n",
        "#\n# \n# TYPE\n",
    ] {
        let metrics = of(text, UNIX_EPOCH, UNIX_EPOCH);
        let has_points = |metric: &Metric| match &metric.data {
            Some(Data::Gauge(gauge)) => !gauge.data_points.is_empty(),
            _ => true,
        };
        assert!(!metrics.iter().any(has_points), "{text:?}: {metrics:?}");
    }
}
