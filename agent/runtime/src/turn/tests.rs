//! Tests of the turn: each is a conversation in a few lines, without a model and without tools.

use rockbot_llm::{
    Event, REASONING_DETAILS, ToolCallDelta,
    chat::{ChatRequest, Message, Tool, ToolCall},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const CLIENT_TOOL: &str = "open_window";
const OWN_TOOL: &str = "execute_python_script";

fn request(body: Value) -> ChatRequest {
    serde_json::from_value(body).unwrap()
}

fn ask() -> Value {
    json!({
        "messages": [{ "role": "user", "content": "question" }],
        "tools": [{ "type": "function", "function": { "name": CLIENT_TOOL } }],
    })
}

fn setup() -> Setup {
    let mut number = 0;
    Setup {
        tools: vec![Tool::function(OWN_TOOL, "runs", json!({ "type": "object" }))],
        max_rounds: 2,
        new_id: Box::new(move || {
            number += 1;
            format!("new{number}")
        }),
    }
}

fn turn() -> Turn {
    let mut turn = Turn::new(request(ask()), setup()).unwrap();
    turn.instruct("");
    turn
}

/// A result of one of the agent's tools.
fn ok(id: &str, content: &str) -> Outcome {
    Outcome {
        message: Message::tool_result(id, content),
        failed: false,
        last_words: None,
    }
}

fn failed(id: &str) -> Outcome {
    Outcome {
        failed: true,
        ..ok(id, "failed")
    }
}

/// A call that runs.
fn runs(id: &str, name: &str, arguments: &str) -> OwnCall {
    OwnCall {
        call: ToolCall::function(id, name, arguments),
        refused: None,
        may_ask: true,
    }
}

/// A first fragment of a call, as a provider sends it.
fn call(index: u32, id: &str, name: &str) -> Event {
    let (id, name) = (Some(id.to_owned()), Some(name.to_owned()));
    Event::ToolCall(ToolCallDelta {
        index,
        id,
        name,
        ..ToolCallDelta::default()
    })
}

fn arguments(index: u32, text: &str) -> Event {
    Event::ToolCall(ToolCallDelta {
        index,
        arguments: text.to_owned(),
        ..ToolCallDelta::default()
    })
}

fn say(text: &str) -> Event {
    Event::Content(text.to_owned())
}

fn finish(reason: &str) -> Event {
    Event::Finish(reason.to_owned())
}

/// What the client sees of one answer of the model, and the next step.
fn answer(turn: &mut Turn, events: impl IntoIterator<Item = Event>) -> (Vec<Delta>, Step) {
    let seen = events.into_iter().filter_map(|event| turn.on_event(event)).collect();
    (seen, turn.on_answer())
}

fn roles(turn: &Turn) -> String {
    turn.request()
        .messages
        .iter()
        .map(|message| message.role.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn done(reason: &str) -> Step {
    Step::Finish(Finish {
        reason: reason.to_owned(),
        remark: None,
        hidden: None,
    })
}

#[test]
fn an_answer_without_calls_ends_the_turn() {
    let (seen, step) = answer(
        &mut turn(),
        [Event::Role("assistant".into()), say("Hel"), say("lo"), finish("stop")],
    );
    assert_eq!(seen, [Delta::Content("Hel".into()), Delta::Content("lo".into())]);
    assert_eq!(step, done("stop"));
}

#[test]
fn s8_own_calls_run_in_order_and_the_client_sees_none_of_them() {
    let mut turn = turn();
    let events = [
        call(0, "a", OWN_TOOL),
        call(1, "b", "no_such_tool"),
        arguments(0, "{\"x\":"),
        arguments(0, "1}"),
    ];
    let (seen, step) = answer(&mut turn, events.into_iter().chain([finish("tool_calls")]));
    assert_eq!(seen, []);
    let calls = vec![runs("a", OWN_TOOL, "{\"x\":1}"), runs("b", "no_such_tool", "")];
    assert_eq!(step, Step::RunTools(calls));
    let results = vec![ok("a", "1"), ok("b", "no such tool")];
    assert_eq!(turn.on_results(results), Step::CallModel);
    assert_eq!(roles(&turn), "user assistant tool tool");
    assert_eq!(answer(&mut turn, [say("1"), finish("stop")]).1, done("stop"));
}

#[test]
fn s2_client_calls_are_renumbered_and_streamed_under_new_identities() {
    let events = [
        call(0, "x", OWN_TOOL),
        call(1, "x", CLIENT_TOOL),
        arguments(1, "{}"),
        call(2, "y", CLIENT_TOOL),
        finish("tool_calls"),
    ];
    let (seen, step) = answer(&mut turn(), events);
    let shown = |index, id: Option<&str>, arguments: &str| {
        let name = id.map(|_| CLIENT_TOOL.to_owned());
        Delta::ToolCall(ToolCallDelta {
            index,
            id: id.map(str::to_owned),
            name,
            arguments: arguments.to_owned(),
            ..ToolCallDelta::default()
        })
    };
    assert_eq!(
        seen,
        [
            shown(0, Some("new1"), ""),
            shown(0, None, "{}"),
            shown(1, Some("new2"), "")
        ]
    );
    let call = OwnCall {
        may_ask: false,
        ..runs("x", OWN_TOOL, "")
    };
    assert_eq!(
        step,
        Step::RunTools(vec![call]),
        "a human is asked when the client has done its part"
    );
}

#[test]
fn s8_a_mixed_round_loses_no_result() {
    let mut turn = turn();
    answer(&mut turn, [say("First"), call(0, "a", OWN_TOOL), finish("tool_calls")]);
    turn.on_results(vec![ok("a", "one")]);
    answer(
        &mut turn,
        [call(0, "a", OWN_TOOL), call(1, "c", CLIENT_TOOL), finish("tool_calls")],
    );
    let Step::Finish(finished) = turn.on_results(vec![ok("new2", "two")]) else {
        unreachable!()
    };
    assert_eq!(finished.reason, "tool_calls");
    let hidden = finished.hidden.unwrap();
    assert_eq!(hidden.call_ids, ["new1"]);

    // The client knows its own call alone.
    let follow_up: Vec<Message> = serde_json::from_value(json!([
        { "role": "user", "content": "question" },
        { "role": "assistant", "content": "First", "tool_calls": [
            { "id": "new1", "type": "function", "function": { "name": CLIENT_TOOL, "arguments": "{}" } },
        ] },
        { "role": "tool", "tool_call_id": "new1", "content": "open" },
    ]))
    .unwrap();
    assert_eq!(keys(&follow_up, None), ["new1"]);
    let find = |id: &str| (id == hidden.call_ids[0]).then_some(&hidden);
    let restored = restore(follow_up, &mut None, find);
    let contents: Vec<_> = restored.iter().map(Message::plain_text).collect();
    assert_eq!(contents, ["question", "First", "one", "", "two", "open"]);
    let answered: Vec<_> = restored
        .iter()
        .filter_map(|message| message.tool_call_id.as_deref())
        .collect();
    let called: Vec<_> = restored
        .iter()
        .flat_map(Message::calls)
        .map(|call| call.id.as_str())
        .collect();
    assert_eq!(
        called,
        ["a", "new2", "new1"],
        "an identity that a provider repeats is replaced"
    );
    assert_eq!(answered, called, "every call has its result");
}

#[test]
fn a_turn_that_hid_nothing_keeps_nothing() {
    let (_, step) = answer(
        &mut turn(),
        [say("Look"), call(0, "c", CLIENT_TOOL), finish("tool_calls")],
    );
    assert_eq!(step, done("tool_calls"));
}

#[test]
fn the_round_limit_ends_the_turn_and_says_so() {
    let mut turn = turn();
    for _ in 0..2 {
        let (_, step) = answer(&mut turn, [call(0, "a", OWN_TOOL), finish("tool_calls")]);
        let Step::RunTools(calls) = step else {
            panic!("{step:?}")
        };
        turn.on_results(vec![ok(&calls[0].call.id, "more")]);
    }
    let (_, step) = answer(&mut turn, [call(0, "a", OWN_TOOL), finish("tool_calls")]);
    let Step::Finish(Finish {
        reason,
        remark: Some(remark),
        hidden: None,
    }) = step
    else {
        panic!("{step:?}")
    };
    assert_eq!(reason, "length");
    assert!(
        remark.contains("more than 2 rounds") && remark.contains("limits.maxToolRounds"),
        "{remark}"
    );
}

/// What the model reads of call after call, when each is answered with `f`ailure or success (`.`): `!` is refused.
#[rstest]
#[case::the_third_failure_is_spared("x1 x1 x1 x1", "f f ! !")]
#[case::other_arguments_are_another_call("x1 x2 x1 x2 x1", "f f f f !")]
#[case::a_success_forgets("x1 x1 x1 x1", "f . f f")]
fn a_call_that_keeps_failing_is_not_run_again(#[case] calls: &str, #[case] outcomes: &str) {
    let mut turn = Turn::new(
        request(ask()),
        Setup {
            max_rounds: 10,
            ..setup()
        },
    )
    .unwrap();
    turn.instruct("");
    for (asked, outcome) in calls.split(' ').zip(outcomes.split(' ')) {
        let (_, step) = answer(
            &mut turn,
            [call(0, "", OWN_TOOL), arguments(0, asked), finish("tool_calls")],
        );
        let Step::RunTools(own) = step else { panic!("{step:?}") };
        let refused = own[0].refused.as_deref();
        assert_eq!(refused.is_some(), outcome == "!", "{asked}: {refused:?}");
        assert!(refused.is_none_or(|reason| reason.contains("failed 2 times") || reason.contains("failed 3 times")));
        let id = &own[0].call.id;
        turn.on_results(vec![if outcome == "." { ok(id, "") } else { failed(id) }]);
    }
}

#[test]
fn d4_a_handoff_to_a_human_ends_the_turn_with_its_words() {
    let mut turn = turn();
    answer(&mut turn, [say("Wait."), call(0, "a", OWN_TOOL), finish("tool_calls")]);
    let step = turn.on_results(vec![Outcome {
        last_words: Some("Ticket 7.".into()),
        ..ok("a", "{}")
    }]);
    let expected = Finish {
        reason: "stop".into(),
        remark: Some("\n\nTicket 7.".into()),
        hidden: Some(Hidden {
            call_ids: vec![],
            messages: turn.request().messages[1..].into(),
            awaited: vec!["a".into()],
        }),
    };
    assert_eq!(step, Step::Finish(expected));
}

#[rstest]
#[case("length")]
#[case("content_filter")]
fn calls_of_a_cut_answer_do_not_run(#[case] reason: &str) {
    let (_, step) = answer(
        &mut turn(),
        [call(0, "a", OWN_TOOL), arguments(0, "{\"scr"), finish(reason)],
    );
    assert_eq!(step, done(reason));
}

/// The choice of a client that allows one tool.
fn allowed(mode: &str) -> Value {
    let tools = json!([{ "type": "function", "function": { "name": OWN_TOOL } }]);
    json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } })
}

#[rstest]
#[case(json!("required"), None)]
#[case(json!({ "type": "function", "function": { "name": OWN_TOOL } }), None)]
#[case(json!("none"), Some(json!("none")))]
#[case(allowed("required"), Some(allowed("auto")))]
#[case(allowed("auto"), Some(allowed("auto")))]
fn a_forced_tool_is_forced_once(#[case] choice: Value, #[case] then: Option<Value>) {
    let mut body = ask();
    body["tool_choice"] = choice.clone();
    let mut turn = Turn::new(request(body), setup()).unwrap();
    assert_eq!(turn.request().tool_choice, Some(choice));
    answer(&mut turn, [call(0, "a", OWN_TOOL), finish("tool_calls")]);
    turn.on_results(vec![ok("a", "")]);
    assert_eq!(turn.request().tool_choice, then);
}

#[test]
fn text_after_tools_is_a_new_paragraph() {
    let mut turn = turn();
    answer(
        &mut turn,
        [say("Let me see."), call(0, "a", OWN_TOOL), finish("tool_calls")],
    );
    turn.on_results(vec![ok("a", "")]);
    let (seen, _) = answer(&mut turn, [say("It"), say(" is."), finish("stop")]);
    assert_eq!(seen, [Delta::Content("\n\nIt".into()), Delta::Content(" is.".into())]);
}

#[test]
fn reasoning_between_calls_goes_back_to_the_model() {
    let mut turn = turn();
    let signed = |text: &str| Event::Extra(Map::from_iter([(REASONING_DETAILS.to_owned(), json!([text]))]));
    answer(
        &mut turn,
        [
            Event::Reasoning("hm".into()),
            signed("one"),
            signed("two"),
            call(0, "", OWN_TOOL),
            finish("tool_calls"),
        ],
    );
    let message = turn.request().messages.last().unwrap();
    assert_eq!(message.extra["reasoning_content"], "hm");
    assert_eq!(message.extra[REASONING_DETAILS], json!(["one", "two"]));
    assert_eq!(message.calls()[0].id, "new1", "a call without identity gets one");
}

#[rstest]
#[case(json!([{ "role": "user", "content": "hi" }]), json!([{ "role": "system", "content": "Be kind." }]))]
#[case(json!([{ "role": "system", "content": "Be brief." }]), json!([{ "role": "system", "content": "Be kind.\n\nBe brief." }]))]
#[case(
    json!([{ "role": "developer", "content": [{ "type": "text", "text": "Be brief." }] }]),
    json!([{ "role": "developer", "content": [{ "type": "text", "text": "Be kind." }, { "type": "text", "text": "Be brief." }] }])
)]
fn the_instructions_come_first(#[case] messages: Value, #[case] first: Value) {
    let mut turn = Turn::new(request(json!({ "messages": messages })), setup()).unwrap();
    turn.instruct("Be kind.");
    assert_eq!(serde_json::to_value(&turn.request().messages[..1]).unwrap(), first);
}

#[rstest]
#[case(json!({ "messages": [] }), "messages")]
#[case(json!({ "messages": [{ "role": "user" }], "n": 2 }), "n")]
#[case(
    json!({ "messages": [{ "role": "user" }], "tools": [{ "type": "function", "function": { "name": OWN_TOOL } }] }),
    "tools[0].function.name"
)]
fn s11_an_impossible_request_names_its_field(#[case] body: Value, #[case] param: &str) {
    let error = Turn::new(request(body), setup()).map(|_| ()).unwrap_err();
    assert_eq!(error.param, param);
}
