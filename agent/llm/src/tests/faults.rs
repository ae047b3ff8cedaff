//! Faults over HTTP, on every wire: what is asked again, what is handed to a fallback, what the client is told.

use std::time::{Duration, Instant};

use futures::{StreamExt, future::join_all, join};
use rockbot_fakes::{Call, FakeModel, Outcome, Refusal, Step};
use serde_json::json;
use tokio::net::TcpSocket;

use super::{KEY, WIRES, ask, config, key_file, question, root};
use crate::{Endpoints, Event, Metrics, ModelErrorKind as Kind, chat::Message, connect};

#[tokio::test]
async fn what_passes_is_asked_again_while_nothing_has_been_said() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    let refuse = |status| Step {
        error: Some(Refusal::new(status, "no")),
        ..Step::default()
    };
    let say = || Step::say("all is well");
    for (wire, provider) in WIRES {
        let overloaded = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded", "status": "UNAVAILABLE" } });
        let broken = |cut| Step {
            cut_after_bytes: Some(cut),
            ..say()
        };
        let early = Step {
            error_event: Some(overloaded),
            ..Step::default()
        };
        let cases = [
            ("429", vec![refuse(429), say()], 2, Ok(())),
            ("503 and 529", vec![refuse(503), refuse(529), say()], 3, Ok(())),
            ("broken before the first word", vec![broken(20), say()], 2, Ok(())),
            ("an error before the first word", vec![early, say()], 2, Ok(())),
            (
                "three times",
                vec![refuse(500), refuse(500), refuse(500), say()],
                3,
                Err(Kind::Overloaded),
            ),
            ("400", vec![refuse(400), say()], 1, Err(Kind::InvalidRequest)),
            ("401", vec![refuse(401), say()], 1, Err(Kind::Authentication)),
            (
                "a long Retry-After",
                vec![
                    Step {
                        error: Some(Refusal {
                            retry_after: Some(60),
                            ..Refusal::new(429, "no")
                        }),
                        ..Step::default()
                    },
                    say(),
                ],
                1,
                Err(Kind::RateLimited),
            ),
        ];
        // Side by side, because they wait.
        let asked = cases.map(async |(name, steps, asked, expected)| {
            let scenario = format!("{wire}-{}", name.replace(' ', "-"));
            fake.script(&scenario, steps);
            let fields = json!({ "baseUrl": root(&fake, wire, &scenario), "apiKeyFile": key.path() });
            let (text, end) = ask(provider, fields).await;
            assert_eq!(end.clone().map_err(|error| error.kind), expected, "{scenario}");
            assert_eq!(text, if end.is_ok() { "all is well" } else { "" }, "{scenario}");
            assert_eq!(fake.requests(&scenario).len(), asked, "{scenario}");
            if name == "a long Retry-After" {
                assert_eq!(end.unwrap_err().retry_after, Some(Duration::from_secs(60)));
            }
        });
        join_all(asked).await;
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_asked_for_again() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    for (wire, provider) in WIRES {
        let long = Step {
            pause_ms: 5,
            ..Step::say("word ".repeat(50))
        };
        let all = |step: &Step| step.content.clone().unwrap();
        let steps = [
            Step {
                cut_after_bytes: Some(4000),
                ..long.clone()
            },
            long.clone(),
        ];
        fake.script(wire, steps);
        let (text, end) = ask(
            provider,
            json!({ "baseUrl": root(&fake, wire, wire), "apiKeyFile": key.path() }),
        )
        .await;
        assert_eq!(end.unwrap_err().kind, Kind::CutStream, "{wire}");
        assert!(!text.is_empty() && all(&long).starts_with(&text), "{wire}: {text}");
        assert_eq!(fake.requests(wire).len(), 1, "{wire}");
    }
}

#[tokio::test]
async fn strange_answers_are_named() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    for (wire, provider) in WIRES {
        let cases = [
            (
                "html",
                Step {
                    content_type: Some("text/html".into()),
                    raw: Some("<html>".into()),
                    ..Step::default()
                },
                Kind::BadResponse,
            ),
            (
                "garbage",
                Step {
                    raw: Some("data: \u{fffd}{{{\n\n".into()),
                    ..Step::default()
                },
                Kind::BadResponse,
            ),
            (
                "slow",
                Step {
                    delay_ms: 3000,
                    ..Step::say("late")
                },
                Kind::Timeout,
            ),
            (
                "silent",
                Step {
                    silent_ms: 3000,
                    ..Step::say("late")
                },
                Kind::Timeout,
            ),
        ];
        for (name, step, kind) in cases {
            let scenario = format!("{wire}-{name}");
            fake.script(&scenario, [step]);
            let fields =
                json!({ "baseUrl": root(&fake, wire, &scenario), "apiKeyFile": key.path(), "timeoutSeconds": 1 });
            assert_eq!(ask(provider, fields).await.1.unwrap_err().kind, kind, "{scenario}");
            assert_eq!(fake.requests(&scenario).len(), 1, "{scenario}");
        }
        // Huge words, pieces of any size and comments are no reason to complain.
        let huge = "x".repeat(1 << 20);
        let whole = Step {
            keep_alive: true,
            piece_bytes: Some(7001),
            ..Step::say(huge.clone())
        };
        fake.script(wire, [whole]);
        let fields = json!({ "baseUrl": root(&fake, wire, wire), "apiKeyFile": key.path() });
        let (text, end) = ask(provider, fields).await;
        assert_eq!((text.len(), end), (huge.len(), Ok(())), "{wire}");
    }
}

/// The bound is on a silence, not on the whole answer.
#[tokio::test]
async fn only_a_silence_is_too_long() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    let words = "one two three four five six seven eight";
    let ask = async |provider, wire, name: &str, step| {
        let scenario = format!("{wire}-{name}");
        fake.script(&scenario, [step]);
        let fields = json!({ "baseUrl": root(&fake, wire, &scenario), "apiKeyFile": key.path(), "timeoutSeconds": 1 });
        ask(provider, fields).await
    };
    let asked = WIRES.map(async |(wire, provider)| {
        let slow = Step {
            pause_ms: 300,
            ..Step::say(words)
        };
        let stalled = Step {
            stall_ms: 3000,
            ..Step::say(words)
        };
        let (slow, stalled) = join!(
            ask(provider, wire, "slow", slow),
            ask(provider, wire, "stalled", stalled)
        );
        assert_eq!(slow, (words.to_owned(), Ok(())), "{wire}");
        let (text, end) = stalled;
        assert_eq!(end.unwrap_err().kind, Kind::Timeout, "{wire}");
        assert!(
            words.starts_with(&text) && (1..words.len()).contains(&text.len()),
            "{wire}: {text}"
        );
    });
    join_all(asked).await;
}

/// A host that takes no connection: its queue is full, and so it does not even say no. The clock stands still while
/// something happens, and jumps while nothing does.
#[tokio::test(start_paused = true)]
async fn a_connection_has_a_deadline_of_its_own() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let patience = Duration::from_millis(200);
    let waiting: Vec<_> =
        std::iter::from_fn(|| std::net::TcpStream::connect_timeout(&address, patience).ok()).collect();
    assert!(!waiting.is_empty());
    let started = tokio::time::Instant::now();
    let (_, end) = ask(
        "Ollama",
        json!({ "baseUrl": format!("http://{address}"), "timeoutSeconds": 600 }),
    )
    .await;
    assert_eq!(end.unwrap_err().kind, Kind::Unreachable);
    let took = started.elapsed();
    assert!(
        (30..40).contains(&took.as_secs()),
        "three attempts of ten seconds took {took:?}"
    );
}

#[tokio::test]
async fn fallbacks_are_asked_in_order_with_their_own_keys() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    let other = key_file("sk-another");
    let down = || Step {
        error: Some(Refusal {
            retry_after: Some(30),
            ..Refusal::new(503, "no")
        }),
        ..Step::default()
    };
    fake.script(
        "first",
        [
            down(),
            Step {
                error: Some(Refusal::new(400, "prompt is too long")),
                ..Step::default()
            },
        ],
    );
    fake.script("second", [down()]);
    fake.script("third", [Step::say("I stand in.")]);
    let fields = |first: &str| {
        json!({
            "baseUrl": root(&fake, "anthropic", first), "apiKeyFile": key.path(),
            "fallbacks": [
                config("OpenAI", json!({ "baseUrl": root(&fake, "openai", "second"), "apiKeyFile": other.path() })),
                config("Gemini", json!({ "baseUrl": root(&fake, "gemini", "third"), "apiKeyFile": other.path() })),
            ],
        })
    };
    assert_eq!(
        ask("Anthropic", fields("first")).await,
        ("I stand in.".to_owned(), Ok(()))
    );
    assert_eq!(fake.requests("first")[0].headers["x-api-key"], KEY);
    assert_eq!(fake.requests("second")[0].headers["authorization"], "Bearer sk-another");
    assert_eq!(fake.requests("third")[0].headers["x-goog-api-key"], "sk-another");
    // Another model would find the same wrong with the request.
    assert_eq!(
        ask("Anthropic", fields("first")).await.1.unwrap_err().kind,
        Kind::ContextOverflow
    );
    assert_eq!(fake.requests("second").len(), 1);
    // With all of them down, the first says why.
    fake.script("alone", [down()]);
    let error = ask("Anthropic", fields("alone")).await.1.unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after),
        (Kind::Overloaded, Some(Duration::from_secs(30)))
    );
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_left_alone() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    let base = fake.script(
        "down",
        std::iter::repeat_with(|| Step {
            error: Some(Refusal::new(500, "no")),
            ..Step::default()
        })
        .take(20),
    );
    let endpoints = Endpoints::default();
    let connect = |name: &str| {
        let fields = json!({ "name": name, "baseUrl": base, "apiKeyFile": key.path() });
        connect(&config("OpenAI", fields), &endpoints, &Metrics::default()).unwrap()
    };
    let model = connect("a-model");
    for _ in 0..4 {
        assert_eq!(model.stream(&question()).await.err().unwrap().kind, Kind::Overloaded);
    }
    let started = Instant::now();
    let error = model.stream(&question()).await.err().unwrap();
    assert!(
        error.retry_after.is_some_and(|after| after <= Duration::from_secs(5)),
        "{error:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(4), "it waited");
    assert_eq!(fake.requests("down").len(), 5, "the fifth failure opens the circuit");

    let same = connect("a-model").stream(&question()).await.err().unwrap();
    assert!(
        same.retry_after.is_some(),
        "another agent asks the same model: {same:?}"
    );
    assert_eq!(fake.requests("down").len(), 5);
    let other = connect("another-model").stream(&question()).await.err().unwrap();
    assert_eq!(
        other.retry_after, None,
        "a gateway may have a model that works: {other:?}"
    );
    assert!(fake.requests("down").len() > 5);
}

#[tokio::test]
async fn dropping_an_answer_ends_the_request() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    for (wire, provider) in WIRES {
        fake.script(
            wire,
            [Step {
                pause_ms: 20,
                ..Step::say("word ".repeat(500))
            }],
        );
        let fields = json!({ "baseUrl": root(&fake, wire, wire), "apiKeyFile": key.path() });
        let mut answer = connect(&config(provider, fields), &Endpoints::default(), &Metrics::default())
            .unwrap()
            .stream(&question())
            .await
            .unwrap();
        answer.next().await.unwrap().unwrap();
        drop(answer);
        for _ in 0..500 {
            if fake.requests(wire)[0].outcome() == Outcome::Dropped {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(fake.requests(wire)[0].outcome(), Outcome::Dropped, "{wire}");
    }
}

/// A round with tools: what the model thought and called comes back to it as its provider wants it.
#[tokio::test]
async fn a_round_of_tools_is_accepted_by_every_provider() {
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    for (wire, provider) in WIRES {
        let call = Step {
            reasoning: Some("I must look.".into()),
            content: Some("A moment.".into()),
            ..Step::call([Call::new("f", json!({ "x": "ü" })), Call::new("g", json!({}))])
        };
        fake.script(wire, [call, Step::say("done")]);
        let fields = json!({ "baseUrl": root(&fake, wire, wire), "apiKeyFile": key.path() });
        let model = connect(&config(provider, fields), &Endpoints::default(), &Metrics::default()).unwrap();
        let mut request = question();
        let events: Vec<_> = model
            .stream(&request)
            .await
            .unwrap()
            .map(Result::unwrap)
            .collect()
            .await;
        let names: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::ToolCall(delta) => delta.name.as_deref(),
                _ => None,
            })
            .collect();
        assert_eq!(names, ["f", "g"], "{wire}");
        let details = events.iter().find_map(|event| match event {
            Event::Extra(fields) => fields.get("reasoning_details").cloned(),
            _ => None,
        });
        assert_eq!(details.is_some(), wire != "openai", "{wire}: {events:?}");
        let calls = json!([
            { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\":\"ü\"}" } },
            { "id": "b", "type": "function", "function": { "name": "g", "arguments": "" } },
        ]);
        let said =
            json!({ "role": "assistant", "content": "A moment.", "tool_calls": calls, "reasoning_details": details });
        request.messages.push(serde_json::from_value(said).unwrap());
        request
            .messages
            .extend([Message::tool_result("a", "1"), Message::tool_result("b", "2")]);
        let last = model
            .stream(&request)
            .await
            .unwrap()
            .map(Result::unwrap)
            .collect::<Vec<_>>()
            .await;
        assert!(last.contains(&Event::Content("done".into())), "{wire}: {last:?}");
        let sent = fake.requests(wire)[1].body.to_string();
        assert_eq!(
            sent.contains("c2lnbmVk"),
            wire != "openai",
            "{wire}: the signature must come back: {sent}"
        );
    }
}
