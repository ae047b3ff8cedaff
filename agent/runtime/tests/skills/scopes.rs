//! D6: what a caller may not use is neither offered nor run, and neither speaks nor listens.

use std::sync::Arc;

use rockbot_agent::sdk::{Context, Delta, json, skill};
use rockbot_llm::chat::Tool;
use rstest::rstest;

use crate::site::{Site, call, say, text};

struct Vault;

#[skill]
impl Vault {
    /// For everybody.
    #[tool]
    fn look(&self) -> &'static str {
        "seen"
    }

    /// For owners.
    #[tool(scope = "owner")]
    fn open(&self) -> &'static str {
        "opened"
    }

    /// For admins and auditors.
    #[tool(scope = ["admin", "audit"])]
    fn count(&self) -> &'static str {
        "counted"
    }

    /// For admins.
    #[handoff(scope = "admin")]
    fn delegate(&self) -> &'static str {
        "delegated"
    }

    #[prompt(scope = "owner")]
    fn secret(context: &Context) -> String {
        format!("The code is 1234, {}.", context.scope)
    }

    #[hook(on_chunk, scope = "audit")]
    fn mark(chunk: &mut Delta) {
        if let Delta::Content(text) = chunk {
            text.push_str(" (audited)");
        }
    }
}

#[rstest]
#[case("all", "look", false, "ok")]
#[case("owner", "look open", true, "ok")]
#[case("admin", "count delegate look open", true, "ok")]
#[case("audit", "count look", false, "ok (audited)")]
#[case("Admin", "look", false, "ok")]
#[tokio::test]
async fn d6_scopes_hold_when_offered_and_when_run(
    #[case] scope: &str,
    #[case] allowed: &str,
    #[case] knows_code: bool,
    #[case] said: &str,
) {
    let names = ["count", "delegate", "look", "open"];
    // The model calls everything, offered or not.
    let site = Site::new(
        vec![Arc::new(Vault)],
        [call(&names.map(|name| (name, json!({})))), say("ok")],
    );
    assert_eq!(text(&site.ask_as(scope).await), said);
    let saw = &site.model_saw()[0];
    let offered: Vec<_> = saw.tools.iter().flatten().filter_map(Tool::name).collect();
    assert_eq!(offered.join(" "), allowed);
    for (name, result) in names.iter().zip(site.results()) {
        if offered.contains(name) {
            assert!(!result.contains("tool_not_found"), "{name}: {result}");
        } else {
            assert!(
                result.contains("tool_not_found") && !result.contains("ed\""),
                "{name}: {result}"
            );
        }
    }
    assert_eq!(saw.messages[0].plain_text().contains("1234"), knows_code);
}
