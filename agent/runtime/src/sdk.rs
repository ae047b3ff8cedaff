//! What people who write skills need: `use rockbot_agent::sdk::*;`.
//!
//! ```
//! use rockbot_agent::sdk::{Context, skill};
//!
//! struct Dice;
//!
//! #[skill]
//! impl Dice {
//!     /// Rolls a die.
//!     #[tool]
//!     fn roll(
//!         &self,
//!         /// How many sides it has.
//!         #[default(6)]
//!         sides: u32,
//!     ) -> Result<u32, String> {
//!         if sides == 0 { Err("a die has sides".to_owned()) } else { Ok(sides) }
//!     }
//!
//!     #[prompt]
//!     fn rules(context: &Context) -> String {
//!         format!("{} wants to win.", context.user_id)
//!     }
//! }
//! # fn main() {
//! use std::sync::Arc;
//! use rockbot_agent::{Agent, Environment};
//!
//! let environment = Environment {
//!     skills: vec![Arc::new(Dice)],
//!     ..Environment::default()
//! };
//! # let runtime = tokio::runtime::Runtime::new().unwrap();
//! # let _running = runtime.enter();
//! # let config = serde_json::from_str(r#"{ "name": "gambler", "model": { "provider": "Demo" } }"#).unwrap();
//! let agent = Agent::start(config, &environment).unwrap();
//! assert!(agent.tools().get_executor("roll").is_some());
//! # }
//! ```

pub use rockbot_llm::chat::Message;
pub use serde_json::{Value, json};

pub use crate::{
    Context, ToolResult,
    skills::{HandoffResult, HandoffType, Skill},
    tools::ToolInvokeRequest,
    turn::Delta,
};

/// Makes a function of a [`macro@skill`] a handoff: the model calls it like a tool, to have somebody else take over.
///
/// * `type = "agent"`, `"human"` or `"service"`: to whom; `"agent"` when absent. After a handoff to a human the turn ends
///   with what the handoff says, and the client's next message is the human's, which the model reads as the result;
///   otherwise the model reads what the function returns. In a round that also calls tools of the client a human is not
///   asked, and the function does not run. [`Context::ask_agent`] asks another agent.
/// * `name`, `description`, `scope`, `timeout_seconds`, the parameters: as for [`macro@tool`].
///
/// It returns a `HandoffResult`, or a text for one that worked, or a `Result` with either. An error is a result with
/// `success: false`.
///
/// ```
/// use std::sync::Arc;
/// use rockbot_agent::sdk::{Context, HandoffResult, Skill, skill};
///
/// struct Support;
///
/// #[skill]
/// impl Support {
///     /// Asks whoever talks to the agent.
///     #[handoff(type = "human")]
///     fn ask(question: String) -> String {
///         question
///     }
///
///     /// Opens a ticket with the agent of the support team.
///     #[handoff(scope = "owner")]
///     async fn escalate(issue: String, context: Context) -> Result<HandoffResult, String> {
///         if issue.is_empty() {
///             return Err("issue: must not be empty".to_owned());
///         }
///         let answer = context.ask_agent("support", &format!("Open a ticket: {issue}")).await;
///         Ok(answer.with("customer", context.user_id.clone()))
///     }
/// }
///
/// let tools = Arc::new(Support).parts().tools;
/// assert_eq!((&*tools[0].0.name, &*tools[1].0.name), ("ask", "escalate"));
/// assert!(tools[0].1.handoff().is_some());
/// ```
pub use rockbot_agent_macros::handoff;
/// Makes a function of a [`macro@skill`] a hook: it runs at one of eight moments of each request.
///
/// | Event | Besides the `Context`, the function may take |
/// |---|---|
/// | `on_connection`: the request begins | nothing |
/// | `on_chunk`: a piece of the answer goes out | `&mut Delta` |
/// | `on_message`: the model has said a whole message | `&Message` |
/// | `before_toolcall`: a tool is about to run | `&mut ToolInvokeRequest` |
/// | `after_toolcall`: the model is about to read a result | `&mut ToolResult` |
/// | `before_handoff`: a handoff is about to happen | `&mut ToolInvokeRequest` |
/// | `after_handoff`: the model is about to read what became of it | `&mut HandoffResult` |
/// | `finalize_connection`: the request is over, however it ended; exactly once | nothing |
///
/// * `priority = 50`: hooks of the higher priority run first.
/// * `scope = …`: for whose requests it runs, as for [`macro@tool`].
/// * `must_succeed = true`: its error, or its panic, refuses what is about to happen, as `failurePolicy: Fail` of a declared
///   hook does: the tool does not run, the handoff has failed, the request ends. The words of the error are passed on.
///
/// A hook changes what it is lent in place; what `before_handoff` makes of a call must still be a handoff. A hook returns
/// nothing, or a `Result<(), _>`; unless it must succeed, an error is logged, and the next hook runs.
///
/// ```
/// use std::sync::Arc;
/// use rockbot_agent::sdk::{Context, Delta, Skill, skill};
///
/// struct Polite;
///
/// #[skill]
/// impl Polite {
///     #[hook(on_connection, priority = 10, scope = "owner")]
///     async fn remember(context: &Context) {
///         context.set("customer", context.user_id.to_uppercase());
///     }
///
///     #[hook(on_chunk)]
///     fn soften(chunk: &mut Delta) {
///         if let Delta::Content(text) = chunk {
///             *text = text.replace("must", "may");
///         }
///     }
///
///     #[hook(before_toolcall, must_succeed = true)]
///     fn ask_first(context: &Context) -> Result<(), &'static str> {
///         context.get("permission").map(|_| ()).ok_or("nobody has permitted that")
///     }
/// }
///
/// let hooks = Arc::new(Polite).parts().hooks;
/// assert_eq!((hooks[0].priority, hooks[1].priority), (10, 50));
/// assert!(hooks[2].must_succeed);
/// ```
pub use rockbot_agent_macros::hook;
/// Makes a function of a [`macro@skill`] a prompt: what it returns joins the system message of each request.
///
/// * `priority = 50`: prompts of the lower priority come first; all of them after the agent's instructions.
/// * `scope = …`: for whose requests it speaks, as for [`macro@tool`].
///
/// It takes a `Context` or nothing and returns a text, or a `Result` with one. An empty text adds nothing; an error is
/// logged, and the other prompts remain.
///
/// ```
/// use std::sync::Arc;
/// use rockbot_agent::sdk::{Context, Skill, skill};
///
/// struct Identity;
///
/// #[skill]
/// impl Identity {
///     #[prompt(priority = 20, scope = "owner")]
///     async fn user(context: &Context) -> String {
///         format!("Current user: {}", context.user_id)
///     }
/// }
///
/// assert_eq!(Arc::new(Identity).parts().prompts[0].priority, 20);
/// ```
pub use rockbot_agent_macros::prompt;
/// Makes an `impl` block a skill: its functions with `#[tool]`, `#[hook]`, `#[prompt]` or `#[handoff]` join an agent
/// when the skill is added to it, and leave it when the skill is removed.
///
/// The skill is named after its type, in snake case and without the ending `Skill`; `#[skill(name = "…")]` says
/// otherwise. Functions may be `async` or not, and take `&self` or no `self`: one value serves all requests at once. A
/// function without `async` must not block.
///
/// Whoever wants to know about the request asks for a [`Context`], as `&Context` or as `Context`, at any place among the
/// parameters.
///
/// ```
/// use std::sync::Arc;
/// use rockbot_agent::sdk::{Context, Skill, skill};
///
/// struct GreetingSkill {
///     greeting: String,
/// }
///
/// #[skill]
/// impl GreetingSkill {
///     /// Greets whoever asks.
///     #[tool]
///     fn greet(&self, context: &Context) -> String {
///         format!("{}, {}!", self.greeting, context.user_id)
///     }
/// }
///
/// let skill = Arc::new(GreetingSkill { greeting: "Hello".to_owned() });
/// assert_eq!(skill.name(), "greeting");
/// assert_eq!(skill.parts().tools.len(), 1);
/// ```
pub use rockbot_agent_macros::skill;
/// Makes a function of a [`macro@skill`] a tool that the model can call.
///
/// * `name = "…"`: the function's name when absent.
/// * `description = "…"`: what the model reads; the doc comment when absent.
/// * `scope = "owner"` or `scope = ["owner", "billing"]`: for whose requests it is offered and runs; `"all"` when absent.
///   `all < owner < admin`, and other names admit those who hold exactly them.
/// * `timeout_seconds = 60`: how long a call may take.
///
/// Parameters become the tool's JSON Schema, and doc comments on them its descriptions. A type must be
/// `serde::Deserialize` and `schemars::JsonSchema`. `Option` may be left out, and so may a parameter with `#[default(…)]`,
/// whose type is `serde::Serialize` as well.
///
/// The answer may be anything that is `serde::Serialize`: a text goes to the model as it is, all else as JSON. The error
/// of a `Result` goes to the model as well, which can then try something else.
///
/// ```
/// use std::sync::Arc;
/// use rockbot_agent::sdk::{Skill, json, skill};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, JsonSchema, Serialize)]
/// #[serde(rename_all = "lowercase")]
/// enum Unit {
///     Celsius,
///     Kelvin,
/// }
///
/// struct Weather;
///
/// #[skill]
/// impl Weather {
///     /// Says how warm it is.
///     #[tool(name = "temperature", scope = ["owner", "weather"])]
///     async fn warmth(
///         /// Name of the city.
///         city: String,
///         #[default(Unit::Celsius)] unit: Unit,
///         hour: Option<u8>,
///     ) -> Result<f64, String> {
///         if city.is_empty() {
///             return Err("city: must not be empty".to_owned());
///         }
///         let celsius = 20.0 - f64::from(hour.unwrap_or(12)) / 2.0;
///         Ok(match unit {
///             Unit::Celsius => celsius,
///             Unit::Kelvin => celsius + 273.15,
///         })
///     }
/// }
///
/// let (tool, _) = Arc::new(Weather).parts().tools.remove(0);
/// assert_eq!((&*tool.name, &*tool.description), ("temperature", "Says how warm it is."));
/// assert_eq!(tool.parameters_schema["required"], json!(["city"]));
/// assert_eq!(tool.parameters_schema["properties"]["city"]["description"], "Name of the city.");
/// assert_eq!(tool.parameters_schema["properties"]["unit"]["default"], "celsius");
/// ```
pub use rockbot_agent_macros::tool;
