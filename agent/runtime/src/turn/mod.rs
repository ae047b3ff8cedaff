//! The turn: from a client's request to the agent's answer, as a pure step machine.
//!
//! Events of the model and results of tools go in; what the client sees and the next step come out. It calls no model,
//! runs no tool, reads no clock and rolls no dice: [`crate::run`] does all of that.
//!
//! Calls of the agent's own tools stay inside the turn. Calls of tools that the client brought end it: the client runs
//! them and asks again with the results. It then sends a history without the agent's own calls, so the turn hands out
//! a [`Hidden`] that puts them back (see [`restore`]).

mod failures;
mod hidden;
mod reply;
mod trail;

use std::collections::HashSet;

use failures::Failures;
pub use hidden::{HANDOFF, Hidden, keys, restore};
use reply::Reply;
use rockbot_llm::{
    Event, ToolCallDelta,
    chat::{ChatRequest, Content, Message, Tool, ToolCall},
};
use serde_json::{Map, Value, json};
use thiserror::Error;
pub use trail::Trail;

/// Messages of a conversation: more than any model can read.
const MAX_MESSAGES: usize = 4096;
/// Tools that a client may bring, as many as OpenAI accepts.
const MAX_TOOLS: usize = 128;

/// What an agent adds to every request.
pub struct Setup {
    /// The agent's own tools, in the order in which they are offered.
    pub tools: Vec<Tool>,
    /// Rounds of tool calls before the turn ends.
    pub max_rounds: u32,
    /// Makes identities of tool calls; each must be new.
    pub new_id: Box<dyn FnMut() -> String + Send>,
}

/// What must happen next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Send [`Turn::request`] to the model, feed its events to [`Turn::on_event`], then call [`Turn::on_answer`].
    CallModel,
    /// Run these calls, then give what became of them to [`Turn::on_results`] in the same order.
    RunTools(Vec<OwnCall>),
    /// The turn is over.
    Finish(Finish),
}

/// A call of one of the agent's own tools, or of a tool that does not exist: the model is told so.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnCall {
    /// The call.
    pub call: ToolCall,
    /// Why it must not run; the model reads this in place of a result.
    pub refused: Option<String>,
    /// Whether it may end the turn with a question to a human: not beside calls of the client's tools, whose results
    /// come first.
    pub may_ask: bool,
}

/// What became of an [`OwnCall`].
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The result, as the model reads it.
    pub message: Message,
    /// Whether it is a failure.
    pub failed: bool,
    /// With what the turn ends, when the tool has ended it.
    pub last_words: Option<String>,
}

/// How a turn ends.
#[derive(Debug, PartialEq)]
pub struct Finish {
    /// Why, in OpenAI's words.
    pub reason: String,
    /// What the agent itself adds to the answer.
    pub remark: Option<String>,
    /// What the client's next request will lack, if anything.
    pub hidden: Option<Hidden>,
}

/// What the client sees of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More text.
    Content(String),
    /// More reasoning.
    Reasoning(String),
    /// More of a call of one of the client's tools; indices are contiguous from 0.
    ToolCall(ToolCallDelta),
    /// How probable the tokens of the text before it were, as OpenAI has it.
    Logprobs(Map<String, Value>),
    /// Fields that RockBot does not know.
    Extra(Map<String, Value>),
    /// Who has answered, as OpenAI has it: `service_tier` and `system_fingerprint`.
    Origin(Map<String, Value>),
}

/// A request that no turn can be made of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{param}: {message}")]
pub struct InvalidRequest {
    /// Path of the field.
    pub param: String,
    /// What is wrong with it and what is allowed.
    pub message: String,
}

/// One turn.
pub struct Turn {
    request: ChatRequest,
    /// Where the messages of this turn begin.
    begin: usize,
    client_tools: HashSet<String>,
    failures: Failures,
    rounds: u32,
    max_rounds: u32,
    new_id: Box<dyn FnMut() -> String + Send>,
    reply: Reply,
    text: Text,
    /// Calls that the client has been shown.
    shown_calls: u32,
}

/// How the text that the client has seen so far ends.
#[derive(Clone, Copy, PartialEq)]
enum Text {
    Nothing,
    Open,
    /// A round of tools came after it: what follows is a new paragraph.
    Interrupted,
}

impl Turn {
    /// Prepares a turn; after [`Turn::restore`] and [`Turn::instruct`] the first step is [`Step::CallModel`].
    ///
    /// # Errors
    /// [`InvalidRequest`] naming the field.
    pub fn new(mut request: ChatRequest, setup: Setup) -> Result<Self, InvalidRequest> {
        check(&request, &setup.tools)?;
        let client_tools = request
            .tools
            .iter()
            .flatten()
            .filter_map(Tool::name)
            .map(str::to_owned)
            .collect();
        let tools: Vec<_> = setup
            .tools
            .into_iter()
            .chain(request.tools.take().into_iter().flatten())
            .collect();
        // Providers refuse an empty list.
        request.tools = (!tools.is_empty()).then_some(tools);
        Ok(Self {
            begin: request.messages.len(),
            request,
            client_tools,
            failures: Failures::default(),
            rounds: 0,
            max_rounds: setup.max_rounds,
            new_id: setup.new_id,
            reply: Reply::default(),
            text: Text::Nothing,
            shown_calls: 0,
        })
    }

    /// Puts back what the client has not seen of the turns before: see [`restore`].
    pub fn restore<'a>(&mut self, trail: &mut Option<Trail>, find: impl Fn(&str) -> Option<&'a Hidden>) {
        let messages = std::mem::take(&mut self.request.messages);
        self.request.messages = restore(messages, trail, find);
    }

    /// Puts `instructions` first. They join a system message that comes first, because many models accept only one.
    pub fn instruct(&mut self, instructions: &str) {
        let messages = &mut self.request.messages;
        let system = messages
            .first_mut()
            .filter(|message| matches!(&*message.role, "system" | "developer"))
            .and_then(|message| message.content.as_mut());
        match system {
            _ if instructions.is_empty() => {}
            Some(Content::Text(text)) => *text = format!("{instructions}\n\n{text}"),
            Some(Content::Parts(parts)) => parts.insert(0, json!({ "type": "text", "text": instructions })),
            None => messages.insert(0, Message::text("system", instructions)),
        }
        self.begin = messages.len();
    }

    /// What the model is asked.
    pub fn request(&self) -> &ChatRequest {
        &self.request
    }

    /// Takes in one event of the model and says what the client sees of it.
    pub fn on_event(&mut self, event: Event) -> Option<Delta> {
        match event {
            Event::Content(text) => Some(Delta::Content(self.content(text))),
            Event::Reasoning(text) => {
                self.reply.reasoning.push_str(&text);
                Some(Delta::Reasoning(text))
            }
            Event::ToolCall(delta) => self.tool_call(delta).map(Delta::ToolCall),
            Event::Finish(reason) => {
                self.reply.finish = Some(reason);
                None
            }
            Event::Extra(fields) => {
                self.reply.keep(&fields);
                Some(Delta::Extra(fields))
            }
            Event::Logprobs(fields) => Some(Delta::Logprobs(fields)),
            Event::Origin(fields) => Some(Delta::Origin(fields)),
            // The server says who speaks, once for the whole turn, and adds up what all rounds cost.
            Event::Role(_) | Event::Usage(_) => None,
        }
    }

    /// The model has answered. What it said is now the last message of the request.
    pub fn on_answer(&mut self) -> Step {
        let mut reply = std::mem::take(&mut self.reply);
        let reason = reply.finish.take().unwrap_or_else(|| "stop".to_owned());
        self.identify(&mut reply);
        let own = reply.own_calls();
        let shown = reply.calls.len() > own.len();
        self.request.messages.push(reply.into_message());
        // The calls of a cut answer are cut as well; running them would be guessing.
        if (own.is_empty() && !shown) || matches!(reason.as_str(), "length" | "content_filter") {
            return Step::Finish(answered(reason));
        }
        if own.is_empty() {
            return Step::Finish(self.hand_over());
        }
        // A turn that ends with this round anyway may run its last tools.
        if self.rounds >= self.max_rounds && !shown {
            return Step::Finish(self.give_up());
        }
        self.rounds += 1;
        Step::RunTools(self.failures.examine(own, !shown))
    }

    /// The agent's own tools have answered, in the order of their calls.
    pub fn on_results(&mut self, outcomes: Vec<Outcome>) -> Step {
        self.failures.learn(&outcomes);
        let (mut awaited, mut last_words) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            if let Some(words) = outcome.last_words {
                awaited.extend(outcome.message.tool_call_id.clone());
                last_words.push(words);
            }
            self.request.messages.push(outcome.message);
        }
        if self.shown_calls > 0 {
            return Step::Finish(self.hand_over());
        }
        if !awaited.is_empty() {
            return Step::Finish(self.ask(awaited, &last_words));
        }
        self.request.tool_choice = self.request.tool_choice.take().and_then(unforced);
        if self.text == Text::Open {
            self.text = Text::Interrupted;
        }
        Step::CallModel
    }

    fn content(&mut self, text: String) -> String {
        self.reply.content.push_str(&text);
        let interrupted = self.text == Text::Interrupted;
        self.text = Text::Open;
        if interrupted { format!("\n\n{text}") } else { text }
    }

    /// The client sees calls of its own tools, under identities that nobody can guess and that no provider repeats.
    fn tool_call(&mut self, delta: ToolCallDelta) -> Option<ToolCallDelta> {
        let call = self.reply.add(&delta);
        if let Some(index) = call.shown_as {
            let fragment = ToolCallDelta {
                index,
                id: None,
                name: None,
                arguments: delta.arguments,
                extra: delta.extra,
            };
            return (!fragment.arguments.is_empty() || !fragment.extra.is_empty()).then_some(fragment);
        }
        if !self.client_tools.contains(&call.name) {
            return None;
        }
        let index = self.shown_calls;
        self.shown_calls += 1;
        call.shown_as = Some(index);
        call.id = (self.new_id)();
        let (id, name) = (Some(call.id.clone()), Some(call.name.clone()));
        Some(ToolCallDelta {
            index,
            id,
            name,
            arguments: call.arguments.clone(),
            extra: call.extra.clone(),
        })
    }

    /// Some providers give their calls no identity, or the same in every round.
    fn identify(&mut self, reply: &mut Reply) {
        let mut used: HashSet<_> = self
            .request
            .messages
            .iter()
            .flat_map(Message::calls)
            .map(|call| call.id.clone())
            .collect();
        for call in &mut reply.calls {
            if call.id.is_empty() || !used.insert(call.id.clone()) {
                call.id = (self.new_id)();
            }
        }
    }

    fn hand_over(&self) -> Finish {
        Finish {
            reason: "tool_calls".to_owned(),
            remark: None,
            hidden: Hidden::of(&self.request.messages[self.begin..], &self.client_tools),
        }
    }

    /// A human goes on: the question is what the client sees of this turn.
    fn ask(&self, awaited: Vec<String>, words: &[String]) -> Finish {
        Finish {
            remark: Some(format!("{}{}", self.paragraph(), words.join("\n\n"))),
            hidden: Some(Hidden {
                call_ids: Vec::new(),
                messages: self.request.messages[self.begin..].into(),
                awaited,
            }),
            ..answered("stop".to_owned())
        }
    }

    /// What comes between the text that the client has seen and a remark of the agent.
    fn paragraph(&self) -> &'static str {
        if self.text == Text::Nothing { "" } else { "\n\n" }
    }

    fn give_up(&self) -> Finish {
        let remark = format!(
            "{}I stopped before I had an answer: the model asked for tools in more than {} rounds, which is \
             this agent's limit (limits.maxToolRounds).",
            self.paragraph(),
            self.max_rounds
        );
        Finish {
            reason: "length".to_owned(),
            remark: Some(remark),
            hidden: None,
        }
    }
}

fn check(request: &ChatRequest, own: &[Tool]) -> Result<(), InvalidRequest> {
    let invalid = |param: String, message: &str| {
        Err(InvalidRequest {
            param,
            message: message.to_owned(),
        })
    };
    if request.messages.is_empty() {
        return invalid("messages".to_owned(), "must have at least one message");
    }
    if request.messages.len() > MAX_MESSAGES {
        let message = format!("at most {MAX_MESSAGES} are accepted; leave out or sum up the oldest");
        return invalid("messages".to_owned(), &message);
    }
    if request.tools.as_ref().is_some_and(|tools| tools.len() > MAX_TOOLS) {
        return invalid("tools".to_owned(), &format!("at most {MAX_TOOLS} are accepted"));
    }
    if request.n.is_some_and(|n| n != 1) {
        return invalid("n".to_owned(), "an agent gives one answer; leave it out or set it to 1");
    }
    for (index, tool) in request.tools.iter().flatten().enumerate() {
        // Their calls are no JSON, and nothing here passes them on.
        if tool.kind == "custom" {
            let message = "\"custom\" is not supported; offer a function with one string as its parameter instead";
            return invalid(format!("tools[{index}].type"), message);
        }
        let Some(name) = tool.name() else { continue };
        if own.iter().any(|own| own.name() == Some(name)) {
            let param = format!("tools[{index}].function.name");
            return invalid(
                param,
                &format!("{name:?} is the name of a tool of this agent; choose another"),
            );
        }
    }
    Ok(())
}

/// What is left of `choice` after a round. A tool that the client forced is forced once: otherwise the model could never
/// answer. Which tools it allows holds for the whole turn.
fn unforced(mut choice: Value) -> Option<Value> {
    if choice == "required" || choice["type"] == "function" {
        return None;
    }
    if let Some(mode) = choice.pointer_mut("/allowed_tools/mode") {
        *mode = "auto".into();
    }
    Some(choice)
}

/// The end of an answer that is complete by itself.
fn answered(reason: String) -> Finish {
    let reason = if reason == "tool_calls" {
        "stop".to_owned()
    } else {
        reason
    };
    Finish {
        reason,
        remark: None,
        hidden: None,
    }
}

#[cfg(test)]
mod tests;
