//! S13, T4: every series of OpenTelemetry's conventions moves when the thing happens that it counts.

use rockbot_fakes::{Call, Refusal, Step};
use serde_json::json;

use crate::site::{Site, user};

const MODEL: &str = r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="""#;

#[tokio::test]
async fn s13_calls_of_models_tools_and_agents_are_counted_by_their_standard_names() {
    let call = Call::new("execute_python_script", json!({ "script": "print(1)" }));
    let site = Site::scripted([Step::call([call]), Step::say("One.")]).await;
    let (_, answer) = site.ask(user("go")).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "One.");
    let model = MODEL.replace(r#"model="""#, r#"model="scripted""#);
    for line in [
        format!(r#"gen_ai_client_operation_duration_seconds_count{{{model},error_type=""}} 2"#),
        format!("gen_ai_client_operation_time_to_first_chunk_seconds_count{{{model}}} 2"),
        format!(r#"gen_ai_client_token_usage_count{{{model},gen_ai_token_type="input"}} 2"#),
        format!(r#"gen_ai_client_token_usage_count{{{model},gen_ai_token_type="output"}} 2"#),
        format!(r#"gen_ai_client_operation_duration_seconds_bucket{{le="81.92",{model},error_type=""}} 2"#),
        r#"gen_ai_execute_tool_duration_seconds_count{gen_ai_operation_name="execute_tool",gen_ai_tool_name="execute_python_script",error_type=""} 1"#.to_owned(),
        r#"gen_ai_invoke_agent_duration_seconds_count{gen_ai_operation_name="invoke_agent",gen_ai_agent_name="a",error_type=""} 1"#.to_owned(),
    ] {
        site.metric(&line).await;
    }
}

#[tokio::test]
async fn s13_what_fails_is_counted_by_what_it_failed_of() {
    let refused = Step {
        error: Some(Refusal::new(401, "no such key")),
        ..Step::default()
    };
    let unknown = Step::call([Call::new("no_such_tool", json!({}))]);
    let wrong = Step::call([Call::new("execute_python_script", json!({ "script": 1 }))]);
    let site = Site::scripted([unknown, wrong, refused]).await;
    site.ask(user("go")).await;
    let model = MODEL.replace(r#"model="""#, r#"model="scripted""#);
    for line in [
        format!(r#"gen_ai_client_operation_duration_seconds_count{{{model},error_type="authentication"}} 1"#),
        r#"gen_ai_execute_tool_duration_seconds_count{gen_ai_operation_name="execute_tool",gen_ai_tool_name="unknown",error_type="tool_not_found"} 1"#.to_owned(),
        r#"gen_ai_execute_tool_duration_seconds_count{gen_ai_operation_name="execute_tool",gen_ai_tool_name="execute_python_script",error_type="invalid_arguments"} 1"#.to_owned(),
        r#"gen_ai_invoke_agent_duration_seconds_count{gen_ai_operation_name="invoke_agent",gen_ai_agent_name="a",error_type="server_error"} 1"#.to_owned(),
    ] {
        site.metric(&line).await;
    }
}
