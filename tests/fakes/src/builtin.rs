//! Scenarios that need no upload. Each decides from the messages alone: the same request gets the same answer.
//!
//! * `echo`: says the user's last message back, word by word.
//! * `slow`: the same, ten words a second.
//! * `python`: has the fenced Python block of the user's last message run by `execute_python_script`; a block that is
//!   fenced as JSON gives the call's arguments as they are. Then it says what the tool answered, to the letter.
//! * `mcp`: makes the calls that the user's last message asks for, a line `CALL name {json}` each; without one it calls
//!   the first tool on offer whose name ends in `__echo` with the message. Then it says what the tools answered.

use serde_json::{Value, json};

use crate::step::{Call, Step};

/// The answer of the built-in `scenario` to a request, or `None` when there is no such scenario.
pub fn answer(scenario: &str, request: &Value) -> Option<Step> {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let question = last_question(messages);
    Some(match scenario {
        "echo" => Step::say(question),
        "slow" => Step {
            pause_ms: 100,
            ..Step::say(question)
        },
        "python" => after_tools(messages).unwrap_or_else(|| python(&question)),
        "mcp" => after_tools(messages).unwrap_or_else(|| mcp(request, &question)),
        _ => return None,
    })
}

/// What to say when tools have answered since the user spoke last.
fn after_tools(messages: &[Value]) -> Option<Step> {
    let tail = messages.iter().rev().take_while(|message| message["role"] != "user");
    let mut results: Vec<_> = tail.filter(|message| message["role"] == "tool").map(text).collect();
    results.reverse();
    (!results.is_empty()).then(|| Step::say(results.join("\n")))
}

fn python(question: &str) -> Step {
    let arguments = match (block(question, "python"), block(question, "json")) {
        (Some(script), _) => json!({ "script": script }),
        (None, Some(arguments)) => Value::String(arguments.to_owned()),
        (None, None) => return Step::say("There is no block of Python in your message."),
    };
    Step::call([Call::new("execute_python_script", arguments)])
}

fn mcp(request: &Value, question: &str) -> Step {
    let asked = question.lines().filter_map(|line| line.trim().strip_prefix("CALL "));
    let calls: Vec<_> = asked
        .map(|call| {
            let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
            Call::new(name, Value::String(arguments.trim().to_owned()))
        })
        .collect();
    if !calls.is_empty() {
        return Step::call(calls);
    }
    let mut names = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| tool["function"]["name"].as_str());
    match names.find(|name| name.ends_with("__echo")) {
        Some(echo) => Step::call([Call::new(echo, json!({ "message": question }))]),
        None => Step::say("There is no tool on offer that echoes."),
    }
}

fn last_question(messages: &[Value]) -> String {
    messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user")
        .map(text)
        .unwrap_or_default()
}

fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// The first block that is fenced as `language`.
fn block<'a>(text: &'a str, language: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("```{language}\n"))?;
    rest.split_once("```").map(|(body, _)| body)
}
