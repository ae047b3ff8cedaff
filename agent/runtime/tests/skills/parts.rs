//! D1, D3, D4, D5, D7, D8, D9: tools, prompts and handoffs, from a function to what the model reads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rockbot_agent::sdk::{Context, HandoffResult, Skill, Value, json, skill};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::site::{Site, call, say};

/// A colour of the rainbow.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Blue,
}

#[derive(Deserialize, JsonSchema)]
struct Point {
    /// To the right.
    x: f64,
    label: Option<String>,
}

struct PaintSkill {
    brush: &'static str,
}

#[skill]
impl PaintSkill {
    /// Paints
    /// something.
    ///
    /// It dries at once.
    #[tool(timeout_seconds = 5)]
    async fn paint(
        &self,
        context: &Context,
        /// Where to paint.
        points: Vec<Point>,
        #[default(Colour::Red)] colour: Colour,
        layers: Option<u8>,
    ) -> Result<String, std::num::ParseIntError> {
        tokio::task::yield_now().await;
        let Some(Point { x, label }) = points.into_iter().next() else {
            return "none".parse::<u8>().map(|_| String::new());
        };
        let colour = if matches!(colour, Colour::Red) { "red" } else { "blue" };
        Ok(format!(
            "{} {colour} {x} {label:?} {layers:?} for {}",
            self.brush, context.user_id
        ))
    }

    #[tool(name = "palette", description = "Lists colours.")]
    fn colours() -> BTreeMap<String, u32> {
        BTreeMap::from([("red".to_owned(), 1), ("blue".to_owned(), 2)])
    }

    /// Says nothing.
    #[tool]
    fn clean(&self) {}

    /// Breaks.
    #[tool]
    fn spill(&self, context: Context) -> String {
        assert!(context.user_id.is_empty(), "the secret of {}", context.user_id);
        String::new()
    }

    /// Never ends.
    #[tool(timeout_seconds = 1)]
    async fn stare(&self) -> String {
        std::future::pending().await
    }

    /// A function that is none of the model's business.
    fn helper(&self) -> &'static str {
        self.brush
    }
}

fn paint() -> Arc<PaintSkill> {
    Arc::new(PaintSkill { brush: "brush" })
}

#[test]
fn d1_a_function_becomes_a_tool() {
    let skill = paint();
    assert_eq!((skill.name(), skill.helper()), ("paint", "brush"));
    let tools = skill.parts().tools;
    let names: Vec<_> = tools.iter().map(|(tool, _)| tool.name.as_str()).collect();
    assert_eq!(names, ["paint", "palette", "clean", "spill", "stare"]);
    let (paint, palette) = (&tools[0].0, &tools[1].0);
    assert_eq!(paint.description, "Paints something.\n\nIt dries at once.");
    assert_eq!(palette.description, "Lists colours.");
    let point = json!({
        "type": "object",
        "properties": {
            "x": { "type": "number", "format": "double", "description": "To the right." },
            "label": { "type": ["string", "null"] },
        },
        "required": ["x"],
    });
    let expected = json!({
        "type": "object",
        "properties": {
            "points": { "type": "array", "items": point, "description": "Where to paint." },
            "colour": {
                "type": "string", "enum": ["red", "blue"], "description": "A colour of the rainbow.", "default": "red",
            },
            "layers": { "type": ["integer", "null"], "format": "uint8", "minimum": 0, "maximum": 255 },
        },
        "additionalProperties": false,
        "required": ["points"],
    });
    assert_eq!(paint.parameters_schema, expected);
    assert_eq!(
        palette.parameters_schema,
        json!({ "type": "object", "properties": {}, "additionalProperties": false })
    );
}

#[expect(non_camel_case_types, reason = "the name of a type may be a word of Rust, too")]
struct r#dyn;

#[skill]
impl r#dyn {
    /// Has names that are words of Rust.
    #[tool]
    fn r#match(
        r#type: String,
        #[default(json!({}))] r#where: Value,
        r#in: Value,
        /// Where it goes.
        #[default(Value::Null)]
        r#for: Value,
    ) -> String {
        format!("{type} {where} {in} {for}")
    }

    #[prompt]
    fn r#static() -> &'static str {
        ""
    }

    #[hook(on_connection)]
    fn r#move() {}
}

#[tokio::test]
async fn d1_words_of_rust_and_values_of_any_type_are_parameters() {
    let skill = Arc::new(r#dyn);
    assert_eq!(skill.name(), "dyn");
    let parts = skill.parts();
    assert_eq!((&*parts.prompts[0].name, &*parts.hooks[0].name), ("static", "move"));
    let tool = &parts.tools[0].0;
    assert_eq!(tool.name, "match");
    let expected = json!({
        "type": "object",
        "properties": {
            "type": { "type": "string" },
            "where": { "default": {} },
            "in": {},
            "for": { "description": "Where it goes.", "default": null },
        },
        "additionalProperties": false,
        "required": ["type", "in"],
    });
    assert_eq!(tool.parameters_schema, expected);
    let site = Site::new(
        vec![Arc::new(r#dyn)],
        [call(&[("match", json!({ "type": "x", "in": [1] }))]), say("ok")],
    );
    site.ask().await;
    assert_eq!(site.results(), ["x {} [1] null"]);
}

#[tokio::test(start_paused = true)]
async fn d1_d5_d8_d9_the_model_reads_what_functions_answer_and_why_they_fail() {
    let calls: [(&str, Value); 8] = [
        (
            "paint",
            json!({ "points": [{ "x": 1, "label": "a" }], "colour": "blue", "layers": 3 }),
        ),
        ("paint", json!({ "points": [{ "x": 2 }], "layers": null })),
        ("palette", json!({})),
        ("clean", json!({})),
        ("paint", json!({ "points": [] })),
        ("paint", json!({ "points": "everywhere" })),
        ("spill", json!({})),
        ("stare", json!({})),
    ];
    let site = Site::new(vec![paint()], [call(&calls), say("ok")]);
    assert_eq!(site.ask().await, "ok");
    let results = site.results();
    assert_eq!(
        results[..4],
        [
            "brush blue 1 Some(\"a\") Some(3) for ada",
            "brush red 2 None None for ada",
            r#"{"blue":2,"red":1}"#,
            ""
        ]
    );
    let errors: Vec<Value> = results[4..]
        .iter()
        .map(|result| serde_json::from_str(result).unwrap())
        .collect();
    let error = |position: usize| {
        let error = &errors[position]["error"];
        (error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    };
    assert_eq!(error(0), ("execution_failed", "invalid digit found in string"));
    assert!(
        error(1).0 == "invalid_arguments" && error(1).1.contains("points"),
        "{errors:?}"
    );
    assert!(
        error(2).0 == "execution_failed" && error(2).1.contains("spill broke") && !error(2).1.contains("secret"),
        "{errors:?}"
    );
    assert!(
        error(3).0 == "timeout" && errors[3]["error"]["retryable"] == true,
        "{errors:?}"
    );
}

struct Voice;

#[skill(name = "voices")]
impl Voice {
    #[prompt(priority = 60)]
    fn last(&self) -> &'static str {
        "last"
    }

    #[prompt(priority = -5)]
    async fn first(context: Context) -> String {
        format!("first, for {}", context.user_id)
    }

    #[prompt]
    fn default_priority() -> Result<u8, String> {
        Ok(50)
    }

    #[prompt(priority = 1)]
    fn empty(&self) -> String {
        String::new()
    }

    #[prompt(priority = 2)]
    async fn fails(&self) -> Result<String, String> {
        Err("no words".to_owned())
    }

    #[prompt(priority = 3)]
    fn panics(&self) -> String {
        unreachable!()
    }
}

#[tokio::test]
async fn d3_d8_prompts_join_the_instructions_in_order() {
    let prompts = "first, for ada\n\n50\n\nlast";
    for (instructions, expected) in [("Be kind.", format!("Be kind.\n\n{prompts}")), ("", prompts.to_owned())] {
        let site = Site::instructed(instructions, vec![Arc::new(Voice)], []);
        site.ask().await;
        let message = &site.model_saw()[0].messages[0];
        assert_eq!((&*message.role, message.plain_text()), ("system", expected));
    }
}

struct Support;

#[skill]
impl Support {
    /// Asks a colleague.
    #[handoff]
    async fn colleague(&self, question: String) -> String {
        format!("{question}? No idea.")
    }

    /// Opens a ticket.
    #[handoff(name = "ticket", type = "human")]
    fn open(&self, context: &Context) -> Result<HandoffResult, String> {
        Ok(HandoffResult::done("Ticket 7 is open.").with("user", context.user_id.clone()))
    }

    /// Calls a service that is down.
    #[handoff(type = "service", timeout_seconds = 1)]
    async fn service(&self, wait: bool) -> Result<String, String> {
        if wait {
            std::future::pending::<()>().await;
        }
        Err("the service is down".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn d4_d8_the_model_reads_what_became_of_a_handoff() {
    let calls = [
        ("colleague", json!({ "question": "Why" })),
        ("service", json!({ "wait": false })),
        ("service", json!({ "wait": true })),
        ("service", json!({})),
    ];
    let site = Site::new(vec![Arc::new(Support)], [call(&calls), say("I see.")]);
    assert_eq!(site.ask().await, "I see.");
    let results = site.results();
    let results: Vec<Value> = results
        .iter()
        .map(|result| serde_json::from_str(result).unwrap())
        .collect();
    let handoff = |result: &str, to: &str, success: bool| json!({ "result": result, "handoff_type": to, "success": success, "metadata": {} });
    assert_eq!(results[0], handoff("Why? No idea.", "agent", true));
    assert_eq!(results[1], handoff("the service is down", "service", false));
    assert_eq!(
        results[2],
        handoff("service gave no answer within 1 s", "service", false)
    );
    assert_eq!(
        results[3]["error"]["code"], "invalid_arguments",
        "the model may correct itself"
    );
}

#[tokio::test]
async fn d4_a_handoff_to_a_human_ends_the_turn() {
    let site = Site::new(
        vec![Arc::new(Support)],
        [call(&[("ticket", json!({}))]), say("never said")],
    );
    assert_eq!(site.ask().await, "Ticket 7 is open.");
    assert_eq!(site.model_saw().len(), 1, "the human is next, not the model");
}

#[tokio::test]
async fn d7_a_skill_joins_and_leaves_as_a_whole() {
    struct Clash;

    #[skill]
    impl Clash {
        /// Is new.
        #[tool]
        fn fresh(&self) {}

        /// Is taken.
        #[tool]
        fn palette(&self) {}

        #[prompt]
        fn speaks() -> &'static str {
            "clash"
        }
    }

    let site = Site::new(vec![paint()], []);
    let skills = site.agent.skills();
    let error = skills.add(Arc::new(Clash)).unwrap_err().to_string();
    assert!(
        error.contains("\"clash\"") && error.contains("\"palette\"") && error.contains("paint"),
        "{error}"
    );
    assert!(
        site.agent.tools().get_executor("fresh").is_none(),
        "nothing of it is there"
    );
    assert!(skills.add(paint()).unwrap_err().to_string().contains("already"));
    skills.remove("paint");
    assert!(site.agent.tools().get_tools().is_empty());
    skills.add(Arc::new(Clash)).unwrap();
    assert_eq!(skills.names(), ["clash"]);
    site.ask().await;
    let saw = &site.model_saw()[0];
    assert!(saw.messages[0].plain_text().ends_with("clash"));
    assert_eq!(saw.tools.as_ref().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_skills_come_and_go_under_load() {
    let site = Arc::new(Site::new(vec![], []));
    let stop = Arc::new(AtomicBool::new(false));
    let (changing, agent) = (Arc::clone(&stop), Arc::clone(&site.agent));
    let changes = std::thread::spawn(move || {
        let mut changes = 0;
        while !changing.load(Ordering::Relaxed) {
            agent.skills().add(paint()).unwrap();
            agent.skills().add(Arc::new(Voice)).unwrap();
            agent.skills().remove("paint");
            agent.skills().remove("voices");
            changes += 1;
        }
        changes
    });
    let asking = (0..4).map(|_| {
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            for _ in 0..100 {
                assert_eq!(site.ask().await, "done");
            }
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(changes.join().unwrap() > 0);
    for request in site.model_saw() {
        let tools = request.tools.map_or(0, |tools| tools.len());
        assert!(tools == 0 || tools == 5, "a skill's tools are there together: {tools}");
        let system = request.messages[0].plain_text();
        assert!(system == "Be kind." || system.ends_with("50\n\nlast"), "{system}");
    }
}
