//! Tests of the registry, of the one function that runs calls, and of `execute_python_script`.

use std::sync::{Arc, Mutex};

use prometheus_client::{encoding::text::encode, registry::Registry};
use rockbot_agent_config::ScriptsConfig;
use rockbot_scripts_api::{
    DroppedFile, OutputChunk, OutputFile, ScriptError, ScriptErrorCode, ScriptRequest, ScriptResult, ScriptRunner,
};
use rstest::rstest;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::{Metrics, RequestContext};

struct Echo;

#[async_trait]
impl ToolExecutor for Echo {
    async fn execute(
        &self,
        request: &ToolInvokeRequest,
        arguments: Map<String, Value>,
    ) -> Result<ToolInvokeResponse, ToolError> {
        match arguments.get("text").and_then(Value::as_str) {
            Some("fail") => Ok(request.failure("failed")),
            Some("break") => Err(request.error(ToolErrorCode::ExecutionFailed, "broken")),
            Some("sleep") => std::future::pending().await,
            other => Ok(request.response(other.unwrap_or("nothing"))),
        }
    }

    fn deadline(&self, _: &Map<String, Value>) -> Duration {
        Duration::from_millis(50)
    }
}

fn registration(name: &str) -> ToolRegistration {
    ToolRegistration {
        name: name.to_owned(),
        description: "Echoes.".to_owned(),
        parameters_schema: json!({
            "type": "object", "properties": { "text": { "type": "string" } }, "additionalProperties": false,
        }),
        source: "test".to_owned(),
        scope: Scope::default(),
    }
}

fn request(tool: &str, arguments: &str) -> ToolInvokeRequest {
    ToolInvokeRequest {
        tool_call_id: "id".to_owned(),
        tool_name: tool.to_owned(),
        arguments: arguments.to_owned(),
        session_id: "session".to_owned(),
        context: Context::new("a", RequestContext::anonymous("session")),
    }
}

#[test]
fn t1_names_are_unique_and_tools_come_and_go() {
    let registry = ToolRegistry::default();
    registry.register(registration("b"), Arc::new(Echo)).unwrap();
    registry.register(registration("a"), Arc::new(Echo)).unwrap();
    let before = registry.snapshot();
    let error = registry
        .register(registration("a"), Arc::new(Echo))
        .unwrap_err()
        .to_string();
    assert!(error.contains("\"a\"") && error.contains("by test"), "{error}");
    assert_eq!(
        registry.get_tools().iter().map(|tool| &*tool.name).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert!(registry.get_executor("a").is_some());
    registry.unregister("a");
    assert!(registry.get_executor("a").is_none());
    assert!(
        before.contains_key("a"),
        "S15: who reads the registry gets a set that no longer changes"
    );
    let nonsense = ToolRegistration {
        parameters_schema: json!({ "type": 5 }),
        ..registration("c")
    };
    assert!(registry.register(nonsense, Arc::new(Echo)).is_err());
}

#[rstest]
#[case("echo", r#"{"text":"hi"}"#, Ok("hi"))]
#[case("echo", "", Ok("nothing"))]
#[case("echo", r#"{"text":"fail"}"#, Ok("failed"))]
#[case("echo", r#"{"text":"break"}"#, Err((ToolErrorCode::ExecutionFailed, false, "broken")))]
#[case("echo", r#"{"text":"sleep"}"#, Err((ToolErrorCode::Timeout, true, "echo")))]
#[case("echo", r#"{"text":"#, Err((ToolErrorCode::InvalidArguments, false, "no JSON")))]
#[case("echo", "[]", Err((ToolErrorCode::InvalidArguments, false, "JSON object")))]
#[case("echo", r#"{"text":5}"#, Err((ToolErrorCode::InvalidArguments, false, "text: 5 is not of type")))]
#[case("echo", r#"{"txt":"x"}"#, Err((ToolErrorCode::InvalidArguments, false, "txt")))]
#[case("nobody", "{}", Err((ToolErrorCode::ToolNotFound, false, "there are: echo")))]
#[tokio::test]
async fn t2_every_call_ends_in_a_response_or_one_of_four_codes(
    #[case] tool: &str,
    #[case] arguments: &str,
    #[case] expected: Result<&str, (ToolErrorCode, bool, &str)>,
) {
    let registry = ToolRegistry::default();
    registry.register(registration("echo"), Arc::new(Echo)).unwrap();
    let result = Invoker::new(Metrics::default())
        .invoke(&registry.snapshot(), &request(tool, arguments))
        .await;
    match (result, expected) {
        (Ok(response), Ok(content)) => {
            assert_eq!(
                (&*response.content, &*response.tool_call_id, &*response.tool_name),
                (content, "id", tool)
            );
        }
        (Err(error), Err((code, retryable, words))) => {
            assert_eq!(
                (error.code, error.is_retryable, &*error.tool_call_id),
                (code, retryable, "id")
            );
            assert!(error.message.contains(words), "{}", error.message);
            let content: Value = serde_json::from_str(&error.to_content()).unwrap();
            assert_eq!(content["error"]["code"], code.as_str());
        }
        (result, expected) => panic!("{result:?}, not {expected:?}"),
    }
}

#[tokio::test]
async fn t4_every_call_is_counted_by_tool_and_status() {
    let (metrics, mut series) = (Metrics::default(), Registry::default());
    metrics.register(&mut series);
    let registry = ToolRegistry::default();
    registry.register(registration("echo"), Arc::new(Echo)).unwrap();
    let invoker = Invoker::new(metrics);
    for (tool, arguments) in [
        ("echo", "{}"),
        ("echo", r#"{"text":"fail"}"#),
        ("echo", "["),
        ("invented", "{}"),
    ] {
        let _ = invoker.invoke(&registry.snapshot(), &request(tool, arguments)).await;
    }
    let mut text = String::new();
    encode(&mut text, &series).unwrap();
    for labels in [
        r#"tool_name="echo",status="ok""#,
        r#"tool_name="echo",status="error""#,
        r#"tool_name="echo",status="invalid_arguments""#,
        r#"tool_name="unknown",status="tool_not_found""#,
    ] {
        assert!(
            text.contains(&format!("rockbot_tool_invocations_total{{{labels}}} 1")),
            "{labels}: {text}"
        );
        assert!(
            text.contains(&format!(
                "rockbot_tool_invoke_duration_milliseconds_count{{{labels}}} 1"
            )),
            "{text}"
        );
    }
}

/// Answers from a list and remembers what it was asked.
#[derive(Default)]
struct Runner {
    answers: Mutex<Vec<Result<ScriptResult, ScriptError>>>,
    asked: Mutex<Vec<ScriptRequest>>,
}

#[async_trait]
impl ScriptRunner for Runner {
    async fn run(&self, request: ScriptRequest) -> Result<ScriptResult, ScriptError> {
        self.asked.lock().unwrap().push(request);
        self.answers.lock().unwrap().remove(0)
    }

    async fn run_streaming(
        &self,
        request: ScriptRequest,
        _: mpsc::Sender<OutputChunk>,
    ) -> Result<ScriptResult, ScriptError> {
        self.run(request).await
    }
}

fn ended(exit_code: i32, timed_out: bool) -> Result<ScriptResult, ScriptError> {
    Ok(ScriptResult {
        stdout: "out\n".to_owned(),
        stderr: "err\n".to_owned(),
        exit_code,
        duration_ms: 1,
        timed_out,
        script_id: "id".to_owned(),
        ..ScriptResult::default()
    })
}

fn busy() -> Result<ScriptResult, ScriptError> {
    Err(ScriptError::new(ScriptErrorCode::Overloaded, "the queue is full").retryable(Some(1)))
}

fn lost() -> Result<ScriptResult, ScriptError> {
    Err(ScriptError::new(ScriptErrorCode::SandboxLost, "the sandbox was lost"))
}

async fn run_script(
    answers: Vec<Result<ScriptResult, ScriptError>>,
    arguments: Value,
) -> (Result<ToolInvokeResponse, ToolError>, Vec<ScriptRequest>) {
    let runner = Arc::new(Runner {
        answers: Mutex::new(answers),
        ..Runner::default()
    });
    let config = ScriptsConfig {
        timeout_seconds: 20,
        packages: vec!["NumPy".to_owned()],
    };
    let registry = ToolRegistry::default();
    let tool = scripts::ScriptTool::new(runner.clone(), &config).unwrap();
    registry
        .register(scripts::registration(&config), Arc::new(tool))
        .unwrap();
    let request = request("execute_python_script", &arguments.to_string());
    let result = Invoker::new(Metrics::default())
        .invoke(&registry.snapshot(), &request)
        .await;
    let asked = std::mem::take(&mut *runner.asked.lock().unwrap());
    (result, asked)
}

#[rstest]
#[case::success_is_stdout_alone(ended(0, false), "out\n", false)]
#[case::failure_tells_all(ended(3, false), "exit code: 3\nstdout:\nout\n\nstderr:\nerr\n", true)]
#[case::deadline(
    ended(124, true),
    "The script was stopped after 20 s.\nexit code: 124\nstdout:\nout\n\nstderr:\nerr\n",
    true
)]
#[tokio::test]
async fn t16_what_the_model_reads_of_a_script(
    #[case] answer: Result<ScriptResult, ScriptError>,
    #[case] content: &str,
    #[case] is_error: bool,
) {
    let (result, asked) = run_script(vec![answer], json!({ "script": "print(1)", "input_data": { "x": 1 } })).await;
    let response = result.unwrap();
    assert_eq!((&*response.content, response.is_error), (content, is_error));
    let script = ScriptRequest {
        script: "print(1)".to_owned(),
        input_data: Some(json!({ "x": 1 })),
        timeout_seconds: 20,
        ..ScriptRequest::default()
    };
    assert_eq!(
        asked,
        [script],
        "the deadline is the agent's unless the model names one"
    );
}

#[tokio::test]
async fn t16_what_a_script_leaves_beside_its_output_is_told() {
    let file = OutputFile {
        name: "plot.png".to_owned(),
        media_type: "image/png".to_owned(),
        data: "AAAA".repeat(1000),
    };
    let dropped = DroppedFile {
        name: "big".to_owned(),
        reason: "too large".to_owned(),
    };
    let good = ScriptResult {
        truncated: true,
        files: vec![file.clone()],
        files_dropped: vec![dropped],
        ..ended(0, false).unwrap()
    };
    let remarks = "[The script printed more than is kept: the rest was dropped.]\n\
                   [Files for the person: plot.png (image/png, 3 KiB)]\n\
                   [Files that do not come back: big (too large)]";
    let bad = ScriptResult {
        exit_code: 137,
        oom_killed: true,
        ..good.clone()
    };
    let failed = format!("The script ran out of memory.\n{remarks}\nexit code: 137\nstdout:\nout\n\nstderr:\nerr\n");
    for (answer, content) in [(good, format!("out\n{remarks}")), (bad, failed)] {
        let response = run_script(vec![Ok(answer)], json!({ "script": "x" })).await.0.unwrap();
        assert_eq!(response.content, content);
        assert_eq!(response.files, std::slice::from_ref(&file));
    }
}

#[tokio::test]
async fn t16_packages_are_offered_and_run_where_the_agent_allows_them() {
    let offers = |packages: &[&str]| {
        let config = ScriptsConfig {
            timeout_seconds: 20,
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
        };
        let schema = scripts::registration(&config).parameters_schema;
        schema["properties"]["pip_packages"]["description"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(offers(&[]), None);
    assert!(
        offers(&["numpy", "pandas"])
            .unwrap()
            .ends_with("Allowed: numpy, pandas.")
    );
    assert!(offers(&["*"]).unwrap().ends_with("Allowed: any package."));

    let arguments = json!({ "script": "x", "pip_packages": ["numpy>=2"] });
    let (result, asked) = run_script(vec![ended(0, false)], arguments).await;
    assert!(result.is_ok());
    assert_eq!(asked[0].pip_packages, ["numpy>=2"]);

    for packages in [json!(["requests"]), json!(["--index-url=http://elsewhere"])] {
        let arguments = json!({ "script": "x", "pip_packages": packages });
        let (result, asked) = run_script(vec![ended(0, false)], arguments).await;
        assert_eq!(result.unwrap_err().code, ToolErrorCode::InvalidArguments);
        assert!(asked.is_empty(), "nothing reaches the manager: {packages}");
    }
}

#[rstest]
#[case::until_it_runs(vec![busy(), busy(), ended(0, false)], 3, None)]
#[case::three_times_at_most(vec![busy(), busy(), busy()], 3, Some((ToolErrorCode::ExecutionFailed, true)))]
#[case::never_what_may_have_run(vec![lost()], 1, Some((ToolErrorCode::ExecutionFailed, false)))]
#[case::never_what_is_wrong(vec![Err(ScriptError::invalid("script: too long"))], 1, Some((ToolErrorCode::InvalidArguments, false)))]
#[tokio::test(start_paused = true)]
async fn t16_only_a_script_that_did_not_run_is_run_again(
    #[case] answers: Vec<Result<ScriptResult, ScriptError>>,
    #[case] attempts: usize,
    #[case] error: Option<(ToolErrorCode, bool)>,
) {
    let (result, asked) = run_script(answers, json!({ "script": "x", "timeout_seconds": 5 })).await;
    assert_eq!(asked.len(), attempts);
    assert!(asked.iter().all(|script| script.timeout_seconds == 5));
    assert_eq!(result.err().map(|error| (error.code, error.is_retryable)), error);
}
