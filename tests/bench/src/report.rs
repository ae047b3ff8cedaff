//! The report: tables for people, in a terminal or in a document, and the same figures as JSON.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::{manager::Outcome, stats::Summary};

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
    /// What became of the scripts of each load.
    pub(crate) tallies: Vec<Tally>,
    /// Memory of idle processes.
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

/// What became of the scripts of one load.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    /// The load.
    pub(crate) what: String,
    /// Scripts that were sent.
    pub(crate) runs: usize,
    /// Of those, refused with 429.
    pub(crate) overloaded: usize,
    /// Of those, lost or mixed up.
    pub(crate) errors: usize,
    /// Sandboxes that served them and are still there, or processes of theirs.
    pub(crate) left_behind: usize,
}

/// Memory of one container.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// Which one, and what is counted.
    pub(crate) what: String,
    /// Sum over its processes.
    pub(crate) mib: f64,
}

/// How the report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a terminal.
    Text,
    /// For a document.
    Markdown,
}

/// Rows of one kind, with their heading; each has a name and as many cells as the heading.
struct Table {
    heading: (&'static str, &'static [&'static str]),
    rows: Vec<(String, Vec<String>)>,
}

impl Tally {
    /// Nothing was sent yet.
    pub(crate) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            ..Self::default()
        }
    }

    /// One more was sent.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.runs += 1;
        match outcome {
            Outcome::Good(_) => {}
            Outcome::Overloaded => self.overloaded += 1,
            Outcome::Wrong(what) => {
                eprintln!("wrong: {what}");
                self.errors += 1;
            }
        }
    }
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

    /// Adds what `one` is more than `other`, figure by figure.
    pub(crate) fn difference(&mut self, what: &str, one: Summary, other: Summary) {
        let summary = Summary {
            n: one.n,
            p50: one.p50 - other.p50,
            p90: one.p90 - other.p90,
            p99: one.p99 - other.p99,
        };
        self.duration(what, summary);
    }

    /// The loads with scripts that were lost or mixed up, or that left something behind.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let faulty = self.tallies.iter().filter(|tally| tally.errors + tally.left_behind > 0);
        faulty.map(|tally| tally.what.as_str()).collect()
    }

    /// Everything, for a reader.
    pub(crate) fn print(&self, format: Format) -> String {
        let mut text = format!("{}\n{}\n", self.date, self.machine);
        for table in self.tables() {
            text.push('\n');
            match format {
                Format::Text => table.write_text(&mut text),
                Format::Markdown => table.write_markdown(&mut text),
            }
        }
        text
    }

    fn tables(&self) -> [Table; 4] {
        let mut durations = Vec::new();
        for row in &self.durations {
            let Summary { n, p50, p90, p99 } = row.summary;
            let cells = vec![n.to_string(), number(p50), number(p90), number(p99)];
            durations.push((row.what.clone(), cells));
            if let Some(Against { what, p50, p99 }) = &row.against {
                let cells = vec![String::new(), number(*p50), String::new(), number(*p99)];
                durations.push((format!("  × {what}"), cells));
            }
        }
        let rates = self.rates.iter().map(|rate| {
            let ratio = rate.ratio.map(number).unwrap_or_default();
            (rate.what.clone(), vec![format!("{:.2}", rate.per_second), ratio])
        });
        let tallies = self.tallies.iter().map(|tally| {
            let counts = [tally.runs, tally.overloaded, tally.errors, tally.left_behind];
            (tally.what.clone(), counts.map(|count| count.to_string()).to_vec())
        });
        let memory = self
            .memory
            .iter()
            .map(|memory| (memory.what.clone(), vec![format!("{:.1}", memory.mib)]));
        [
            Table {
                heading: ("milliseconds", &["n", "p50", "p90", "p99"]),
                rows: durations,
            },
            Table {
                heading: ("per second", &["rate", "ratio"]),
                rows: rates.collect(),
            },
            Table {
                heading: ("scripts", &["sent", "refused", "wrong", "left"]),
                rows: tallies.collect(),
            },
            Table {
                heading: ("idle", &["MiB"]),
                rows: memory.collect(),
            },
        ]
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

impl Table {
    fn write_text(&self, text: &mut String) {
        let (name, columns) = self.heading;
        let heading = (
            name.to_owned(),
            columns.iter().map(|&column| column.to_owned()).collect(),
        );
        for (name, cells) in std::iter::once(&heading).chain(&self.rows) {
            let _ = write!(text, "{name:<72}");
            for cell in cells {
                let _ = write!(text, " {cell:>9}");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
    }

    fn write_markdown(&self, text: &mut String) {
        let (name, columns) = self.heading;
        let _ = writeln!(text, "| {name} | {} |", columns.join(" | "));
        let _ = writeln!(text, "|---|{}", "---:|".repeat(columns.len()));
        for (name, cells) in &self.rows {
            let _ = writeln!(text, "| {} | {} |", name.trim_start(), cells.join(" | "));
        }
    }
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_the_same_for_a_terminal_and_for_a_document() {
        let mut report = Report::default();
        let (python, script) = ([10.0, 12.0, 20.0], [2.0, 4.0, 10.0]);
        let summary = |[p50, p90, p99]: [f64; 3]| Summary { n: 7, p50, p90, p99 };
        report.duration("python", summary(python));
        report.ratio("script", summary(script), ("python", summary(python)));
        report.tallies.push(Tally::new("load"));
        let text = report.print(Format::Text);
        let line = |text: &str, name: &str| {
            let line = text
                .lines()
                .find(|line| line.trim_start_matches("| ").trim_start().starts_with(name));
            line.unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line(&text, "script "), "script 7 2.000 4.000 10.000");
        assert_eq!(line(&text, "× python"), "× python 0.200 0.500");
        let markdown = report.print(Format::Markdown);
        assert_eq!(line(&markdown, "script "), "| script | 7 | 2.000 | 4.000 | 10.000 |");
        assert_eq!(line(&markdown, "load"), "| load | 0 | 0 | 0 | 0 |");
    }
}
