//! What must come of an attack, as one line says it: clauses with commas between them.
//!
//! `"text"` and `stdout any`, `stderr any`, `exit N`, `exit any`, `signal N`, `signal any`, `timed out`, `truncated`,
//! `out of memory`, `file "name" "content"`, `dropped "name"`, `files any`, `error CODE`. What is not said must be as after
//! a script that does nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Deserializer, Value};

/// One line. None stands for whatever it may be.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    stdout: Option<String>,
    stderr: Option<String>,
    exit: Option<i64>,
    signal: Option<i64>,
    timed_out: bool,
    truncated: bool,
    out_of_memory: bool,
    files: Option<Files>,
    error: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    content: BTreeMap<String, String>,
    dropped: BTreeSet<String>,
}

const NO_SIGNAL: i64 = 0;

impl Default for Expectation {
    fn default() -> Self {
        Self {
            stdout: Some(String::new()),
            stderr: Some(String::new()),
            exit: Some(0),
            signal: Some(NO_SIGNAL),
            timed_out: false,
            truncated: false,
            out_of_memory: false,
            files: Some(Files::default()),
            error: String::new(),
        }
    }
}

impl Expectation {
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let mut expected = Self::default();
        let mut rest = line.trim();
        while !rest.is_empty() {
            rest = expected.clause(rest)?.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(more) => more.trim_start(),
                None if rest.is_empty() => rest,
                None => bail!("no comma before {rest:?}"),
            };
        }
        Ok(expected)
    }

    /// Reads one clause and returns what follows it.
    fn clause<'a>(&mut self, text: &'a str) -> Result<&'a str> {
        if text.starts_with('"') {
            let (stdout, rest) = quoted(text)?;
            self.stdout = Some(stdout);
            return Ok(rest);
        }
        let end = text.find([',', '"']).unwrap_or(text.len());
        let (words, rest) = text.split_at(end);
        let words = words.trim_end();
        match words.split_once(' ').unwrap_or((words, "")) {
            ("stdout", "any") => self.stdout = None,
            ("stderr", "any") => self.stderr = None,
            ("exit", "any") => self.exit = None,
            ("exit", code) => self.exit = Some(code.parse()?),
            ("signal", "any") => (self.signal, self.exit) = (None, None),
            ("signal", number) => {
                let number: i64 = number.parse()?;
                (self.signal, self.exit) = (Some(number), Some(128 + number));
            }
            // The deadline is kept with SIGKILL, and has an exit status of its own.
            ("timed", "out") => (self.timed_out, self.signal, self.exit) = (true, Some(9), Some(124)),
            ("truncated", "") => self.truncated = true,
            ("out", "of memory") => self.out_of_memory = true,
            ("files", "any") => self.files = None,
            ("error", code) => self.error = code.to_owned(),
            ("file", "") => {
                let (name, rest) = quoted(rest)?;
                let (content, rest) = quoted(rest.trim_start())?;
                self.files_mut()?.content.insert(name, content);
                return Ok(rest);
            }
            ("dropped", "") => {
                let (name, rest) = quoted(rest)?;
                self.files_mut()?.dropped.insert(name);
                return Ok(rest);
            }
            _ => bail!("{words:?} is no clause"),
        }
        Ok(rest)
    }

    fn files_mut(&mut self) -> Result<&mut Files> {
        self.files.as_mut().context("`files any` and a file")
    }

    /// In what an answer is different.
    pub(crate) fn differences(&self, answer: &Value) -> Vec<String> {
        let error = answer["error"]["code"].as_str().unwrap_or_default();
        let mut found = Vec::new();
        difference(&mut found, "error", Some(self.error.as_str()), error);
        if !error.is_empty() {
            return found;
        }
        let text = |name: &str| {
            answer[name]
                .as_str()
                .unwrap_or_default()
                .trim_end_matches('\n')
                .to_owned()
        };
        let flag = |name: &str| answer[name].as_bool().unwrap_or_default();
        difference(&mut found, "stdout", self.stdout.clone(), text("stdout"));
        difference(&mut found, "stderr", self.stderr.clone(), text("stderr"));
        difference(
            &mut found,
            "exit_code",
            self.exit,
            answer["exit_code"].as_i64().unwrap_or(-1),
        );
        difference(
            &mut found,
            "signal",
            self.signal,
            answer["signal"].as_i64().unwrap_or(NO_SIGNAL),
        );
        difference(&mut found, "timed_out", Some(self.timed_out), flag("timed_out"));
        difference(&mut found, "truncated", Some(self.truncated), flag("truncated"));
        difference(&mut found, "oom_killed", Some(self.out_of_memory), flag("oom_killed"));
        difference(&mut found, "files", self.files.clone(), Files::of(answer));
        found
    }
}

impl Files {
    fn of(answer: &Value) -> Self {
        let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
        let name = |file: &Value| file["name"].as_str().unwrap_or_default().to_owned();
        let content = |file: &Value| {
            let bytes = BASE64_STANDARD.decode(file["data"].as_str().unwrap_or_default());
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        Self {
            content: list("files").iter().map(|file| (name(file), content(file))).collect(),
            dropped: list("files_dropped").iter().map(name).collect(),
        }
    }
}

fn difference<T: PartialEq + std::fmt::Debug>(found: &mut Vec<String>, what: &str, expected: Option<T>, actual: T) {
    if let Some(expected) = expected
        && expected != actual
    {
        found.push(format!("{what} is {actual:?} instead of {expected:?}"));
    }
}

/// A JSON string at the beginning of `text`, and what follows it.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut stream = Deserializer::from_str(text).into_iter::<String>();
    let value = stream
        .next()
        .with_context(|| format!("no quoted text before {text:?}"))??;
    let rest = &text[stream.byte_offset()..];
    Ok((value, rest))
}
