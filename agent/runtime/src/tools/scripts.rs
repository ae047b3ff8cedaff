//! `execute_python_script`: runs Python in a sandbox of its own. Knows the sandbox only as a [`ScriptRunner`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::Rng;
use rockbot_agent_config::ScriptsConfig;
use rockbot_scripts_api::{
    Allow, MAX_PACKAGES, MAX_TIMEOUT_SECONDS, OutputFile, Requirements, ScriptError, ScriptErrorCode, ScriptRequest,
    ScriptResult, ScriptRunner, longest_wait,
};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{ToolError, ToolErrorCode, ToolExecutor, ToolInvokeRequest, ToolInvokeResponse, ToolRegistration};
use crate::scope::Scope;

/// Attempts to have a script accepted, the first included.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt when the runner names none; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What a call may take beyond the wait for one answer: the pauses between attempts.
const MARGIN: Duration = Duration::from_secs(15);

/// What the model learns about the tool. Packages are spoken of only where some may be named.
pub fn registration(config: &ScriptsConfig) -> ToolRegistration {
    let mut properties = json!({
        "script": { "type": "string", "minLength": 1, "description": "Python source code." },
        "input_data": {
            "description": "Data for the script, which finds it in the file that the environment variable \
                            ROCKBOT_INPUT_FILE names and, up to 127 KiB, in ROCKBOT_INPUT: a string as it is, \
                            anything else as JSON.",
        },
        "timeout_seconds": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_TIMEOUT_SECONDS,
            "default": config.timeout_seconds,
            "description": "Seconds after which the script is stopped.",
        },
    });
    if !config.packages.is_empty() {
        let allowed = if config.packages.iter().any(|name| name == "*") {
            "any package".to_owned()
        } else {
            config.packages.join(", ")
        };
        properties["pip_packages"] = json!({
            "type": "array",
            "items": { "type": "string", "minLength": 1 },
            "maxItems": MAX_PACKAGES,
            "description": format!(
                "Python packages beyond the standard library that the script imports, as in [\"numpy\", \
                 \"pandas==2.2.3\"]. Allowed: {allowed}."
            ),
        });
    }
    ToolRegistration {
        name: "execute_python_script".to_owned(),
        description: "Runs a Python script in an isolated sandbox without network and returns what it prints. Each \
                      call is a fresh sandbox: nothing is kept between calls. print() what you need to see. Files \
                      that the script writes to the directory that ROCKBOT_OUTPUT_DIR names, such as a plot, come \
                      back for the person to see; you are told their names."
            .to_owned(),
        parameters_schema: json!({
            "type": "object",
            "properties": properties,
            "required": ["script"],
            "additionalProperties": false,
        }),
        source: "scripts".to_owned(),
        scope: Scope::default(),
    }
}

/// Runs the tool over a [`ScriptRunner`].
pub struct ScriptTool {
    runner: Arc<dyn ScriptRunner>,
    timeout_seconds: u32,
    packages: Allow,
}

impl ScriptTool {
    /// The tool over `runner`.
    ///
    /// # Errors
    /// What is not the name of a package.
    pub fn new(runner: Arc<dyn ScriptRunner>, config: &ScriptsConfig) -> Result<Self, String> {
        Ok(Self {
            runner,
            timeout_seconds: config.timeout_seconds,
            packages: Allow::parse(&config.packages)?,
        })
    }

    fn timeout_seconds(&self, arguments: &Map<String, Value>) -> u32 {
        let asked = arguments.get("timeout_seconds").and_then(Value::as_u64);
        asked
            .and_then(|seconds| u32::try_from(seconds).ok())
            .unwrap_or(self.timeout_seconds)
    }

    /// The manager has a list of its own; this one is the agent's.
    fn check_packages(&self, packages: &[String]) -> Result<(), ScriptError> {
        self.packages.check(&Requirements::parse(packages)?, "this agent")
    }

    /// Asks again only while the script certainly did not run.
    async fn run(&self, script: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        self.check_packages(&script.pip_packages)?;
        let mut attempt = 1;
        loop {
            let error = match self.runner.run(script.clone()).await {
                Err(error) if error.retryable && attempt < ATTEMPTS => error,
                result => return result,
            };
            let pause = pause(&error, attempt, rand::rng().random());
            warn!(attempt, retry_in = ?pause, "the script did not run: {error}");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}

#[async_trait]
impl ToolExecutor for ScriptTool {
    async fn execute(
        &self,
        request: &ToolInvokeRequest,
        mut arguments: Map<String, Value>,
    ) -> Result<ToolInvokeResponse, ToolError> {
        let script = ScriptRequest {
            script: arguments
                .get("script")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            timeout_seconds: self.timeout_seconds(&arguments),
            input_data: arguments.remove("input_data").filter(|input| !input.is_null()),
            pip_packages: packages(&arguments),
        };
        let seconds = script.timeout_seconds;
        match self.run(script).await {
            Ok(mut result) => {
                let files = std::mem::take(&mut result.files);
                let response = if result.exit_code == 0 {
                    request.response(success(result, &files))
                } else {
                    request.failure(failure(&result, &files, seconds))
                };
                Ok(ToolInvokeResponse { files, ..response })
            }
            Err(error) => Err(tool_error(request, &error)),
        }
    }

    fn deadline(&self, arguments: &Map<String, Value>) -> Duration {
        longest_wait(self.timeout_seconds(arguments), arguments.contains_key("pip_packages")) + MARGIN
    }
}

fn packages(arguments: &Map<String, Value>) -> Vec<String> {
    let entries = arguments.get("pip_packages").and_then(Value::as_array);
    let names = entries.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// What the model reads of a script that succeeded: what it printed, and remarks where there are any.
fn success(result: ScriptResult, files: &[OutputFile]) -> String {
    let remarks = remarks(&result, files);
    let mut text = result.stdout;
    for remark in remarks {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&remark);
    }
    text
}

/// What the model reads of a script that failed.
fn failure(result: &ScriptResult, files: &[OutputFile], seconds: u32) -> String {
    let ScriptResult {
        stdout,
        stderr,
        exit_code,
        timed_out,
        oom_killed,
        ..
    } = result;
    let mut text = String::new();
    if *timed_out {
        text += &format!("The script was stopped after {seconds} s.\n");
    }
    if *oom_killed {
        text += "The script ran out of memory.\n";
    }
    text += &remarks(result, files).join("\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + &format!("exit code: {exit_code}\nstdout:\n{stdout}\nstderr:\n{stderr}")
}

/// What the model could not see otherwise.
fn remarks(result: &ScriptResult, files: &[OutputFile]) -> Vec<String> {
    let mut remarks = Vec::new();
    if result.truncated {
        remarks.push("[The script printed more than is kept: the rest was dropped.]".to_owned());
    }
    let list = |entries: Vec<String>| entries.join(", ");
    if !files.is_empty() {
        let files = list(files.iter().map(describe).collect());
        remarks.push(format!("[Files for the person: {files}]"));
    }
    if !result.files_dropped.is_empty() {
        let dropped = result.files_dropped.iter();
        let files = list(dropped.map(|file| format!("{} ({})", file.name, file.reason)).collect());
        remarks.push(format!("[Files that do not come back: {files}]"));
    }
    remarks
}

fn describe(file: &OutputFile) -> String {
    format!(
        "{} ({}, {} KiB)",
        file.name,
        file.media_type,
        file.size().div_ceil(1 << 10)
    )
}

fn tool_error(request: &ToolInvokeRequest, error: &ScriptError) -> ToolError {
    let code = match error.code {
        ScriptErrorCode::InvalidRequest | ScriptErrorCode::PackagesRefused => ToolErrorCode::InvalidArguments,
        _ => ToolErrorCode::ExecutionFailed,
    };
    let tool_error = request.error(code, &error.message);
    if error.retryable {
        tool_error.retryable()
    } else {
        tool_error
    }
}

/// `dice` is from 0 to 1.
fn pause(error: &ScriptError, attempt: u32, dice: f64) -> Duration {
    let asked = error.retry_after_seconds.map(Duration::from_secs).unwrap_or_default();
    let backoff = (FIRST_PAUSE * 2u32.pow(attempt - 1)).mul_f64(0.5 + dice / 2.0);
    (asked + backoff).min(LONGEST_PAUSE)
}
