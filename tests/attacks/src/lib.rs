//! Attacks on the sandbox: Python files that say what must come of them, read, and judged.
//!
//! Knows the answer of `POST /v1/scripts` only as JSON, so that whoever runs scripts can run attacks.

mod expectation;

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use expectation::Expectation;
use serde_json::Value;

/// Where an attack runs; what must come of it may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a pod of its own.
    Pod,
    /// As a child process on this machine.
    Local,
}

/// One attack.
#[derive(Clone, Debug)]
pub struct Attack {
    /// Its file below `attacks/`, without `.py`.
    pub name: String,
    /// The whole script.
    pub script: String,
    /// Deadline of one run.
    pub timeout_seconds: u32,
    /// How often it runs; each time the same must come of it.
    pub times: u32,
    /// Any of these is what must come of it.
    expected: Vec<Expectation>,
}

impl Attack {
    /// All attacks for `place` on this machine, by name.
    ///
    /// # Errors
    /// When a file cannot be read or does not say what must come of it.
    pub fn all(place: Place) -> Result<Vec<Self>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let prelude = fs::read_to_string(root.join("prelude.py"))?;
        let mut files = Vec::new();
        find_python(&root.join("attacks"), &mut files)?;
        files.sort();
        let mut attacks = Vec::new();
        for file in files {
            let name = file.strip_prefix(root.join("attacks"))?.with_extension("");
            let name = name.display().to_string();
            let body = fs::read_to_string(&file)?;
            let attack = Self::parse(&name, &prelude, &body, place).with_context(|| file.display().to_string())?;
            attacks.extend(attack);
        }
        Ok(attacks)
    }

    /// Reads the comment at the top of a file; none when it is not for `place` or this machine.
    fn parse(name: &str, prelude: &str, body: &str, place: Place) -> Result<Option<Self>> {
        let mut attack = Self {
            name: name.to_owned(),
            script: format!("{prelude}\n\n{body}"),
            timeout_seconds: 20,
            times: 1,
            expected: Vec::new(),
        };
        let (mut here, mut expectations) = (true, 0);
        let mut comment = body.lines().map_while(|line| line.strip_prefix("# "));
        let title = comment.next().unwrap_or_default();
        ensure!(
            title.ends_with('.'),
            "the first line is not a comment that says what it does"
        );
        for line in comment {
            let Some((key, value)) = line.split_once(": ") else {
                continue;
            };
            let applies = match key {
                "expect" => true,
                "expect pod" => place == Place::Pod,
                "expect local" => place == Place::Local,
                "machine" => {
                    here &= value == ARCH;
                    continue;
                }
                "timeout" => {
                    attack.timeout_seconds = value.parse()?;
                    continue;
                }
                "times" => {
                    attack.times = value.parse()?;
                    continue;
                }
                _ => bail!("{key:?} is none of expect, expect pod, expect local, machine, timeout and times"),
            };
            expectations += 1;
            let expectation = Expectation::parse(value).with_context(|| format!("cannot read {line:?}"))?;
            attack.expected.extend(applies.then_some(expectation));
        }
        ensure!(expectations > 0, "it does not say what must come of it");
        Ok((here && !attack.expected.is_empty()).then_some(attack))
    }

    /// Compares an answer of `POST /v1/scripts`, or its error body, with what must come of this attack.
    ///
    /// # Errors
    /// What is different, and the whole answer.
    pub fn judge(&self, answer: &Value) -> Result<()> {
        let mut differences = Vec::new();
        for expectation in &self.expected {
            match expectation.differences(answer) {
                found if found.is_empty() => return Ok(()),
                found => differences.push(found.join(", ")),
            }
        }
        bail!("{}\n{answer:#}", differences.join("\nnor: "))
    }
}

fn find_python(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find_python(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
    Ok(())
}
