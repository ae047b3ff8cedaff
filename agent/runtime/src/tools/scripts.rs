//! `execute_python_script`: runs Python in a sandbox of its own. Knows the sandbox only as a [`ScriptRunner`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::Rng;
use rockbot_agent_config::ScriptsConfig;
use rockbot_scripts_api::{
    MAX_TIMEOUT_SECONDS, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner,
};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{ToolError, ToolErrorCode, ToolExecutor, ToolInvokeRequest, ToolInvokeResponse, ToolRegistration};

/// Attempts to have a script accepted, the first included.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt when the runner names none; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What a call may take beyond its script's deadline: the attempts, each with a full queue and a cold sandbox.
const MARGIN: Duration = Duration::from_secs(75);

/// What the model learns about the tool.
pub fn registration(config: &ScriptsConfig) -> ToolRegistration {
    ToolRegistration {
        name: "execute_python_script".to_owned(),
        description: "Runs a Python script in an isolated sandbox without network and returns what it prints. Each \
                      call is a fresh sandbox: nothing is kept between calls. print() what you need to see."
            .to_owned(),
        parameters_schema: json!({
            "type": "object",
            "properties": {
                "script": { "type": "string", "minLength": 1, "description": "Python source code." },
                "input_data": {
                    "description": "Data for the script, which finds it in the environment variable ROCKBOT_INPUT: \
                                    a string as it is, anything else as JSON.",
                },
                "timeout_seconds": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_TIMEOUT_SECONDS,
                    "default": config.timeout_seconds,
                    "description": "Seconds after which the script is stopped.",
                },
            },
            "required": ["script"],
            "additionalProperties": false,
        }),
        source: "scripts".to_owned(),
    }
}

/// Runs the tool over a [`ScriptRunner`].
pub struct ScriptTool {
    runner: Arc<dyn ScriptRunner>,
    timeout_seconds: u32,
}

impl ScriptTool {
    /// The tool over `runner`.
    pub fn new(runner: Arc<dyn ScriptRunner>, config: &ScriptsConfig) -> Self {
        Self {
            runner,
            timeout_seconds: config.timeout_seconds,
        }
    }

    fn timeout_seconds(&self, arguments: &Map<String, Value>) -> u32 {
        let asked = arguments.get("timeout_seconds").and_then(Value::as_u64);
        asked
            .and_then(|seconds| u32::try_from(seconds).ok())
            .unwrap_or(self.timeout_seconds)
    }

    /// Asks again only while the script certainly did not run.
    async fn run(&self, script: ScriptRequest) -> Result<ScriptResult, ScriptError> {
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
        };
        let seconds = script.timeout_seconds;
        match self.run(script).await {
            Ok(result) if result.exit_code == 0 && !result.timed_out => Ok(request.response(result.stdout)),
            Ok(result) => Ok(request.failure(report(&result, seconds))),
            Err(error) => Err(tool_error(request, &error)),
        }
    }

    fn deadline(&self, arguments: &Map<String, Value>) -> Duration {
        Duration::from_secs(self.timeout_seconds(arguments).into()) + MARGIN
    }
}

/// What the model reads of a script that failed.
fn report(result: &ScriptResult, seconds: u32) -> String {
    let ScriptResult {
        stdout,
        stderr,
        exit_code,
        timed_out,
        ..
    } = result;
    let timeout = if *timed_out {
        format!("The script was stopped after {seconds} s.\n")
    } else {
        String::new()
    };
    format!("{timeout}exit code: {exit_code}\nstdout:\n{stdout}\nstderr:\n{stderr}")
}

fn tool_error(request: &ToolInvokeRequest, error: &ScriptError) -> ToolError {
    let code = match error.code {
        ScriptErrorCode::InvalidRequest => ToolErrorCode::InvalidArguments,
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
