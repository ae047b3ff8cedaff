//! The report: a table for people and the same figures as JSON.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::stats::Summary;

/// Everything that one run measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// When it was started, in UTC.
    pub(crate) date: String,
    /// The machine and what else has to be known to read the figures.
    pub(crate) machine: String,
    /// Durations, each with what it was compared with.
    pub(crate) durations: Vec<Row>,
    /// Rates, each with what it was compared with.
    pub(crate) rates: Vec<Rate>,
    /// Resident memory of idle processes.
    pub(crate) memory: Vec<Memory>,
}

/// One duration.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Its figures, in milliseconds.
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// What it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) against: Option<Against>,
}

/// This row divided by another one of the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Against {
    /// The other row.
    pub(crate) what: String,
    /// At the median.
    pub(crate) p50: f64,
    /// At the tail.
    pub(crate) p99: f64,
}

/// One rate.
#[derive(Debug, Serialize)]
pub(crate) struct Rate {
    /// What was counted.
    pub(crate) what: String,
    /// How many a second.
    pub(crate) per_second: f64,
    /// Divided by the rate above that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
}

/// Memory of one container.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// Which one.
    pub(crate) what: String,
    /// Resident memory of its processes.
    pub(crate) rss_mib: f64,
}

impl Report {
    /// Adds a duration that stands for itself, or that others are compared with.
    pub(crate) fn duration(&mut self, what: &str, summary: Summary) {
        self.durations.push(Row {
            what: what.to_owned(),
            summary,
            against: None,
        });
    }

    /// Adds a duration and how many times `other` it is.
    pub(crate) fn ratio(&mut self, what: &str, summary: Summary, (other, baseline): (&str, Summary)) {
        let (p50, p99) = (summary.p50 / baseline.p50, summary.p99 / baseline.p99);
        let against = Some(Against {
            what: other.to_owned(),
            p50,
            p99,
        });
        self.durations.push(Row {
            what: what.to_owned(),
            summary,
            against,
        });
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.date, self.machine);
        let _ = writeln!(
            text,
            "{:<64} {:>5} {:>9} {:>9} {:>9}",
            "milliseconds", "n", "p50", "p90", "p99"
        );
        for row in &self.durations {
            let Summary { n, p50, p90, p99 } = row.summary;
            let _ = writeln!(text, "{:<64} {n:>5} {p50:>9.3} {p90:>9.3} {p99:>9.3}", row.what);
            if let Some(Against { what, p50, p99 }) = &row.against {
                let label = format!("  × {what}");
                let _ = writeln!(text, "{label:<64} {:>5} {p50:>9.3} {:>9} {p99:>9.3}", "", "");
            }
        }
        let _ = writeln!(text, "\n{:<64} {:>15} {:>9}", "per second", "", "ratio");
        for rate in &self.rates {
            let ratio = rate.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let _ = writeln!(text, "{:<64} {:>15.2} {ratio:>9}", rate.what, rate.per_second);
        }
        let _ = writeln!(text, "\n{:<64} {:>15}", "idle, resident", "MiB");
        for memory in &self.memory {
            let _ = writeln!(text, "{:<64} {:>15.1}", memory.what, memory.rss_mib);
        }
        text
    }

    /// Writes the figures as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}
