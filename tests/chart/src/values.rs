//! Reads a chart's `values.yaml` as people read it: keys, defaults and the `# --` comment above each.
//!
//! A value is documented by the comment block that starts with `# --` directly above its key. What a documented key
//! holds belongs to it; every other key must be a section of documented ones.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// One documented value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, dots between keys.
    pub path: String,
    /// Its default.
    pub default: Value,
    /// Its comment as one line.
    pub description: String,
}

/// The documented values of `values.yaml`, in its order.
///
/// # Errors
/// When a value has no comment, or the text is not YAML.
pub fn entries(text: &str) -> Result<Vec<Entry>> {
    let defaults: Value = serde_yaml::from_str(text)?;
    let mut reader = Reader::default();
    for (number, line) in text.lines().enumerate() {
        reader
            .line(line, &defaults)
            .with_context(|| format!("values.yaml:{}", number + 1))?;
    }
    reader.finish()
}

/// The table of the chart's README.
pub fn table(entries: &[Entry]) -> String {
    let mut table = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    for Entry {
        path,
        default,
        description,
    } in entries
    {
        table += &format!("| `{path}` | `{default}` | {} |\n", description.replace('|', "\\|"));
    }
    table
}

#[derive(Default)]
struct Reader {
    /// Keys above the current line, each with its indentation.
    sections: Vec<(usize, String)>,
    /// The comment that the next key is documented by.
    comment: Option<String>,
    /// Indentation of the documented key that owns deeper lines.
    owner: Option<usize>,
    /// A key that needs documented keys below it.
    pending: Option<String>,
    entries: Vec<Entry>,
}

impl Reader {
    fn line(&mut self, line: &str, defaults: &Value) -> Result<()> {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.is_empty() {
            self.comment = None;
            return Ok(());
        }
        if let Some(comment) = text.strip_prefix('#') {
            self.comment_line(comment);
            return Ok(());
        }
        if self.owner.is_some_and(|owner| indent > owner || text.starts_with("- ")) {
            return Ok(());
        }
        self.owner = None;
        let key = text.split_once(':').with_context(|| format!("no key: {text}"))?.0;
        self.key(indent, key, defaults)
    }

    fn comment_line(&mut self, comment: &str) {
        if let Some(first) = comment.strip_prefix(" -- ") {
            self.comment = Some(first.trim().to_owned());
        } else if let Some(description) = &mut self.comment {
            *description += " ";
            *description += comment.trim();
        }
    }

    fn key(&mut self, indent: usize, key: &str, defaults: &Value) -> Result<()> {
        self.sections.retain(|(depth, _)| *depth < indent);
        self.sections.push((indent, key.to_owned()));
        let keys: Vec<_> = self.sections.iter().map(|(_, key)| key.as_str()).collect();
        let path = keys.join(".");
        if let Some(section) = self.pending.take() {
            let below = path.strip_prefix(&section).is_some_and(|rest| rest.starts_with('.'));
            ensure!(below, "{section} has no `# --` comment");
        }
        let Some(description) = self.comment.take() else {
            self.pending = Some(path);
            return Ok(());
        };
        let pointer = format!("/{}", keys.join("/"));
        let Some(default) = defaults.pointer(&pointer) else {
            bail!("{path} is no value")
        };
        self.entries.push(Entry {
            path,
            default: default.clone(),
            description,
        });
        self.owner = Some(indent);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Entry>> {
        ensure!(
            self.pending.is_none(),
            "{} has no `# --` comment",
            self.pending.unwrap_or_default()
        );
        Ok(self.entries)
    }
}
