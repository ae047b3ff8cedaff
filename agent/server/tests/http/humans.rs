//! Handoffs to a human: the turn ends with a question, and goes on with the answer.

use std::sync::Arc;

use rockbot_agent::{
    sdk::{ToolInvokeRequest, skill},
    skills::Skill,
};
use rockbot_fakes::{Call, Step};
use serde_json::{Value, json};

use crate::site::{Site, agent, chunks, text, user};

/// Looks something up, asks, and buys what the human says.
fn steps() -> [Step; 4] {
    let look = Call::new("execute_python_script", json!({ "script": "in stock" }));
    let ask = Call::new("ask-customer", json!({ "question": "Which colour?" }));
    let ask = Step {
        content: Some("Let me see.".into()),
        ..Step::call([ask])
    };
    [Step::call([look]), ask, Step::say("Bought."), Step::say("Welcome.")]
}

async fn site() -> Site {
    site_with(Vec::new()).await
}

async fn site_with(skills: Vec<Arc<dyn Skill>>) -> Site {
    let site = Site::with_skills(skills).await;
    let mut config = agent("a", &site.model.script("scripted", steps()));
    config["handoffs"] = json!([{
        "name": "ask-customer", "description": "Asks the customer.", "timeoutSeconds": 60, "to": { "type": "human" },
    }]);
    site.set(vec![config]);
    site
}

struct Careful;

#[skill]
impl Careful {
    #[hook(before_toolcall)]
    fn ask_first(&self, call: &mut ToolInvokeRequest) {
        "ask-customer".clone_into(&mut call.tool_name);
        call.arguments = json!({ "question": "May I?" }).to_string();
    }
}

const QUESTION: &str = "Let me see.\n\nWhich colour?";

/// What a chat UI sends that keeps nothing but the words.
fn words(answer: &str) -> Value {
    json!([
        { "role": "user", "content": "buy one" },
        { "role": "assistant", "content": QUESTION },
        { "role": "user", "content": answer },
    ])
}

/// What the model read last, role by role; of results their content.
fn read(site: &Site) -> Vec<String> {
    let saw = site.model_saw();
    let messages = saw.last().unwrap()["messages"].as_array().unwrap();
    let tell = |message: &Value| {
        let (role, content) = (message["role"].as_str().unwrap(), &message["content"]);
        match content {
            Value::String(text) if role != "system" => format!("{role}: {text}"),
            _ => role.to_owned(),
        }
    };
    messages.iter().map(tell).collect()
}

fn resumed() -> Vec<String> {
    let handoff = json!({ "result": "red", "handoff_type": "human", "success": true, "metadata": {} });
    let read = [
        "system",
        "user: buy one",
        "assistant",
        "tool: in stock",
        "assistant: Let me see.",
    ];
    let read = read.map(str::to_owned).into_iter();
    read.chain([format!("tool: {handoff}")]).collect()
}

#[tokio::test]
async fn d2_d4_a_hook_turns_a_call_into_a_question() {
    let site = site_with(vec![Arc::new(Careful)]).await;
    let (_, answer) = site.ask(user("buy one")).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["handoff"]["type"]),
        (&json!("May I?"), &json!("human"))
    );
    assert_eq!(site.model_saw().len(), 1, "the turn is over");
}

#[tokio::test]
async fn d4_a_question_is_an_ordinary_answer_and_the_next_message_its_result() {
    let site = site().await;
    let (_, answer) = site.ask(user("buy one")).await;
    let choice = &answer["choices"][0];
    let (message, reason) = (&choice["message"], &choice["finish_reason"]);
    assert_eq!((&message["content"], reason), (&json!(QUESTION), &json!("stop")));
    assert!(message.get("tool_calls").is_none(), "{message}");
    let handoff = &message["handoff"];
    assert_eq!(
        (&handoff["name"], &handoff["type"]),
        (&json!("ask-customer"), &json!("human"))
    );
    assert_eq!(handoff["id"].as_str().map(str::len), Some(24));

    let (_, answer) = site.ask(json!({ "messages": words("red") })).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Bought.");
    assert!(answer["choices"][0]["message"].get("handoff").is_none());
    assert_eq!(read(&site), resumed());

    // Later in the conversation the model still knows.
    let mut later = words("  red\n");
    let more = [
        json!({ "role": "assistant", "content": "Bought." }),
        json!({ "role": "user", "content": "thanks" }),
    ];
    later.as_array_mut().unwrap().extend(more);
    site.ask(json!({ "messages": later })).await;
    let expected = resumed()
        .into_iter()
        .map(|told| told.replace("\"red\"", r#""  red\n""#));
    let expected: Vec<_> = expected
        .chain(["assistant: Bought.".to_owned(), "user: thanks".to_owned()])
        .collect();
    assert_eq!(read(&site), expected);
}

#[tokio::test]
async fn d4_a_streamed_question_is_the_same() {
    let site = site().await;
    let chunks = chunks(&site.stream(user("buy one")).await);
    assert_eq!(text(&chunks), QUESTION);
    let told: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"].get("handoff"))
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["name"], "ask-customer");
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    site.stream(json!({ "messages": words("red") })).await;
    assert_eq!(read(&site), resumed());
}

#[tokio::test]
async fn d4_a_client_that_keeps_the_message_is_recognised_by_it() {
    let site = site().await;
    let (_, answer) = site.ask(user("buy one")).await;
    let mut message = answer["choices"][0]["message"].clone();
    message["content"] = "edited".into();
    let red = json!([{ "type": "text", "text": "red" }, { "type": "image_url", "image_url": { "url": "data:," } }]);
    let messages = json!([
        { "role": "user", "content": "buy one, said otherwise" }, message, { "role": "user", "content": red },
    ]);
    site.ask(json!({ "messages": messages })).await;
    let mut expected = resumed();
    expected[1] = "user: buy one, said otherwise".to_owned();
    expected.push("user".to_owned());
    assert_eq!(read(&site), expected, "what is no text stays a message");
}

#[tokio::test]
async fn d4_without_the_state_it_still_is_a_conversation() {
    let asked = site().await;
    let (_, answer) = asked.ask(user("buy one")).await;
    // Another replica, which has heard of nothing. The provider does not learn of fields of ours.
    let other = site().await;
    let mut messages = words("red");
    messages[1] = answer["choices"][0]["message"].clone();
    other.ask(json!({ "messages": messages })).await;
    let saw = other.model_saw();
    assert!(saw[0]["messages"][2].get("handoff").is_none(), "{}", saw[0]);
    let read: Vec<_> = saw[0]["messages"].as_array().unwrap()[1..].to_vec();
    assert_eq!(json!(read), words("red"));
}

#[tokio::test]
async fn d4_a_stored_conversation_goes_on_as_well() {
    let site = site().await;
    let (_, asked) = site.ask_at("/a/responses", json!({ "input": "buy one" })).await;
    assert_eq!(asked["output"][0]["content"][0]["text"], QUESTION, "{asked}");
    let answer = json!({ "input": "red", "previous_response_id": asked["id"] });
    let (_, bought) = site.ask_at("/a/responses", answer).await;
    assert_eq!(bought["output"][0]["content"][0]["text"], "Bought.", "{bought}");
    assert_eq!(read(&site), resumed());
}

#[tokio::test]
async fn s15_nobody_goes_on_with_the_turn_of_somebody_else() {
    let hidden = |site: &Site| read(site).iter().any(|told| told.contains("in stock"));

    // Somebody else with the same words.
    let site = site().await;
    site.ask(user("buy one")).await;
    let request = site.post("/a/chat/completions", &json!({ "messages": words("red") }));
    request.header("x-user-id", "eve").send().await.unwrap();
    assert!(!hidden(&site));

    // Two conversations that are the same to the letter: nobody can say whose answer it is.
    let twice = self::site().await;
    let [first, second, ..] = steps();
    let url = twice.model.script(
        "scripted",
        [first.clone(), second.clone(), first, second, Step::say("ok")],
    );
    assert!(url.contains("scripted"));
    twice.ask(user("buy one")).await;
    twice.ask(user("buy one")).await;
    twice.ask(json!({ "messages": words("red") })).await;
    assert!(!hidden(&twice));
    assert_eq!(
        json!(read(&twice)[1..]),
        json!(["user: buy one", format!("assistant: {QUESTION}"), "user: red"])
    );
}
