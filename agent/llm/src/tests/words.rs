//! What people say to a model is no business of the log, whatever a provider repeats of it.

use rockbot_fakes::{FakeModel, Refusal, Step};
use serde_json::json;

use super::{KEY, Lines, WIRES, ask, config, key_file, root};
use crate::ModelErrorKind as Kind;

const PROMPT: &str = "my cat ate the last will";

#[tokio::test]
async fn a_prompt_that_a_refusal_repeats_is_not_logged() {
    let lines = Lines::default();
    let _guard = lines.listen().await;
    let fake = FakeModel::start().await.unwrap();
    let key = key_file(KEY);
    for (wire, provider) in WIRES {
        let quoted = |status, before: &str| Step {
            error: Some(Refusal::new(status, &format!("{before}: [{{'content': '{PROMPT}'}}]"))),
            ..Step::default()
        };
        let steps = [
            // As servers in Python say it.
            (
                quoted(
                    if wire == "openai" { 422 } else { 400 },
                    "Input should be a valid string",
                ),
                Kind::InvalidRequest,
            ),
            (quoted(400, "prompt is too long"), Kind::ContextOverflow),
            (
                Step {
                    error_event: Some(json!({ "type": "error", "error": { "code": 400, "message": PROMPT } })),
                    ..Step::default()
                },
                if wire == "openai" {
                    Kind::InvalidRequest
                } else {
                    Kind::Overloaded
                },
            ),
        ];
        for (index, (step, kind)) in steps.into_iter().enumerate() {
            let scenario = format!("{wire}-{index}");
            fake.script(&scenario, [step.clone(), step.clone(), step]);
            let fields = json!({
                "baseUrl": root(&fake, wire, &scenario), "apiKeyFile": key.path(),
                "fallbacks": [config("Demo", json!({}))],
            });
            let (_, end) = ask(provider, fields).await;
            match kind {
                Kind::Overloaded => assert_eq!(end, Ok(()), "the fallback answers"),
                kind => assert_eq!(end.unwrap_err().kind, kind, "{scenario}"),
            }
        }
    }
    let log = lines.text();
    assert!(log.contains("InvalidRequest") && log.contains("status=422"), "{log}");
    assert_eq!(log.lines().find(|line| line.contains(PROMPT)), None);
}
