//! Drives a turn: calls the model, runs the tools, and yields what happens.
//!
//! Everything of a turn runs inside the stream that is returned. Whoever drops it ends the model's answer and the tools.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use rand::{Rng, distr::Alphanumeric};
use rockbot_llm::{
    Event, ModelError, Usage,
    chat::{ChatRequest, Message, ToolCall},
};
use rockbot_scripts_api::OutputFile;
use rockbot_telemetry::TraceContext;
use serde_json::{Map, json};
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::{
    Agent, Context, RequestContext,
    budget::Bill,
    skills::{self, Finalizer, HandoffResult, HandoffType, Hooks, Occasion, Present, Stopped},
    tools::{ToolError, ToolErrorCode, ToolInvokeRequest, ToolInvokeResponse, ToolSet},
    turn::{self, Delta, Finish, HANDOFF, Hidden, InvalidRequest, Outcome, OwnCall, Setup, Step, Trail, Turn},
};

/// Tools of one round that run at the same time.
const PARALLEL_TOOLS: usize = 8;
/// Events that may wait to be taken before more of the answer is read: what the model says goes out at once, and a
/// model waits for a slow client.
const BUFFER: usize = 1;
/// What becomes of a question to a human in a round that also calls tools of the client: the client runs those, asks again
/// with their results, and its next message is no answer of a human.
const NOT_ASKED: &str = "not asked: the person's client runs the other tools of this round first; ask again when their \
                         results are there, if it is still needed";

/// What happens in a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEvent {
    /// The model has accepted the request. Comes first.
    Started,
    /// More of the answer.
    Delta(Delta),
    /// A tool of the agent starts.
    ToolCall(ToolCall),
    /// A tool of the agent has ended.
    ToolResult(ToolResult),
    /// What the turn has cost so far: the latest one counts.
    Usage(Usage),
    /// The turn is over, for this reason in OpenAI's words. Comes last.
    Finished(String),
}

/// The result of a tool of the agent, as the model reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// The call that it answers.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Text for the model.
    pub content: String,
    /// Whether it is a failure.
    pub is_error: bool,
    /// Files that the tool made for a person. The model reads only their names.
    pub files: Vec<OutputFile>,
}

/// Why a turn did not come to its end.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TurnError {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The turn took too long.
    #[error("no answer within {0} s, this agent's limit (limits.requestTimeoutSeconds)")]
    Timeout(u32),
    /// A hook that must succeed did not.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Agent {
    /// Answers `request`. Nothing happens before the stream is polled; it ends after the first error.
    ///
    /// # Errors
    /// [`InvalidRequest`] naming the field.
    pub fn turn(
        self: &Arc<Self>,
        request: ChatRequest,
        asked: RequestContext,
    ) -> Result<impl Stream<Item = Result<TurnEvent, TurnError>> + Send + use<>, InvalidRequest> {
        let tools = self.tools.snapshot();
        let hands_off_to = |kind| tools.values().any(|tool| tool.executor.handoff() == Some(kind));
        let conversation = match hands_off_to(HandoffType::Agent) {
            true => request.messages.clone(),
            false => Vec::new(),
        };
        let trail = hands_off_to(HandoffType::Human).then(|| Trail::of(&asked));
        let limits = &self.config.limits;
        let offered = tools.values().filter(|tool| tool.admits(&asked.scope));
        let setup = Setup {
            tools: offered.map(|tool| tool.offer()).collect(),
            max_rounds: limits.max_tool_rounds,
            new_id: Box::new(new_id),
        };
        let turn = Turn::new(request, setup)?;
        let (events, received) = mpsc::channel(BUFFER);
        let context = Context::among(&self.peers, &*self.config.name, asked, conversation);
        let skills = self.skills.snapshot();
        let driver = Driver {
            agent: Arc::clone(self),
            tools,
            hooks: Hooks::new(Arc::clone(&skills), context.clone()),
            skills,
            context,
            events,
            conversation: trail.map(Conversation::new),
        };
        let seconds = limits.request_timeout_seconds;
        let driven = tokio::time::timeout(Duration::from_secs(seconds.into()), driver.drive(turn));
        let driven = driven.map(move |result| result.unwrap_or(Err(TurnError::Timeout(seconds))));
        // Whoever polls the stream is elsewhere by then.
        let driven = TraceContext::current().run(driven).in_current_span();
        Ok(both(received, driven.boxed()))
    }
}

/// Nine letters and digits: some providers accept no other identity of a call.
fn new_id() -> String {
    rand::rng().sample_iter(Alphanumeric).take(9).map(char::from).collect()
}

/// What `events` receives while `driver` runs, then its error, if any.
fn both(
    mut events: mpsc::Receiver<TurnEvent>,
    driver: BoxFuture<'static, Result<(), TurnError>>,
) -> impl Stream<Item = Result<TurnEvent, TurnError>> + Send {
    let mut driver = driver.fuse();
    let mut failure = None;
    stream::poll_fn(move |context| {
        if let Poll::Ready(Some(event)) = events.poll_recv(context) {
            return Poll::Ready(Some(Ok(event)));
        }
        if let Poll::Ready(Err(error)) = driver.poll_unpin(context) {
            failure = Some(error);
        }
        // The driver holds the sender: once it has ended, what it sent is received before the end is.
        match events.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(Some(Ok(event))),
            Poll::Ready(None) => Poll::Ready(failure.take().map(Err)),
            Poll::Pending => Poll::Pending,
        }
    })
}

/// The conversation that a question to a human is found by.
struct Conversation {
    /// What the client has sent.
    before: Trail,
    /// What it has read since then.
    said: Mutex<String>,
}

impl Conversation {
    fn new(before: Trail) -> Self {
        Self {
            before,
            said: Mutex::default(),
        }
    }

    fn said(&self) -> MutexGuard<'_, String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self) -> String {
        let mut trail = self.before.clone();
        trail.add(&Message::text("assistant", &**self.said()));
        trail.key()
    }
}

struct Driver {
    agent: Arc<Agent>,
    tools: Arc<ToolSet>,
    skills: Arc<Present>,
    hooks: Hooks,
    context: Context,
    events: mpsc::Sender<TurnEvent>,
    /// Of agents that ask humans.
    conversation: Option<Conversation>,
}

impl Driver {
    /// However the turn ends, and also when it is dropped, its connection is finalised.
    async fn drive(mut self, mut turn: Turn) -> Result<(), TurnError> {
        self.restore(&mut turn).await;
        let mut finalizer = Finalizer::new(&self.hooks);
        let result = self.steps(turn).await;
        finalizer.run().await;
        result
    }

    /// Puts back what the client has not seen of the turns before.
    async fn restore(&mut self, turn: &mut Turn) {
        let mut trail = self
            .conversation
            .as_ref()
            .map(|conversation| conversation.before.clone());
        let keys = turn::keys(&turn.request().messages, trail.clone());
        let found = self.agent.kept.find(&keys).await;
        turn.restore(&mut trail, |key| found.get(key));
        self.conversation = trail.map(Conversation::new);
    }

    async fn steps(&self, mut turn: Turn) -> Result<(), TurnError> {
        self.hooks.run(Occasion::Connection).await?;
        let instructions = &self.agent.config.instructions;
        turn.instruct(&skills::system_message(instructions, &self.skills, &self.context).await);
        let mut step = Step::CallModel;
        let mut started = false;
        loop {
            step = match step {
                Step::CallModel => {
                    self.call_model(&mut turn, &mut started).await?;
                    let step = turn.on_answer();
                    if let Some(said) = turn.request().messages.last() {
                        self.hooks.run(Occasion::Message(said)).await?;
                    }
                    step
                }
                Step::RunTools(calls) => turn.on_results(self.run_tools(calls).await),
                Step::Finish(finish) => {
                    return self.finish(finish).await;
                }
            };
        }
    }

    /// One round. However it ends, what it has cost is paid.
    async fn call_model(&self, turn: &mut Turn, started: &mut bool) -> Result<(), TurnError> {
        self.context.begin_round();
        let mut bill = Bill::new(self.agent.budget.clone());
        let read = self.read_answer(turn, started, &mut bill).await;
        bill.settle().await;
        read
    }

    async fn read_answer(&self, turn: &mut Turn, started: &mut bool, bill: &mut Bill) -> Result<(), TurnError> {
        let mut answer = match self.agent.model.stream(turn.request()).await {
            Ok(answer) => answer,
            Err(mut error) => {
                if let Some(usage) = error.usage.take() {
                    bill.count(&usage);
                    let usage = self.context.count(*usage);
                    self.emit(TurnEvent::Usage(usage)).await;
                }
                return Err(error.into());
            }
        };
        if !std::mem::replace(started, true) {
            self.emit(TurnEvent::Started).await;
        }
        while let Some(event) = answer.next().await {
            let event = event?;
            bill.add(&event);
            self.on_event(turn, event).await?;
        }
        Ok(())
    }

    async fn on_event(&self, turn: &mut Turn, event: Event) -> Result<(), TurnError> {
        if let Event::Usage(usage) = &event {
            let usage = self.context.count(usage.clone());
            self.emit(TurnEvent::Usage(usage)).await;
        }
        match turn.on_event(event) {
            Some(delta) => self.emit_delta(delta).await,
            None => Ok(()),
        }
    }

    /// Runs calls side by side and gives back what became of them, in the order of the calls.
    async fn run_tools(&self, calls: Vec<OwnCall>) -> Vec<Outcome> {
        stream::iter(calls)
            .map(|call| self.run_tool(call))
            .buffered(PARALLEL_TOOLS)
            .collect()
            .await
    }

    async fn run_tool(&self, OwnCall { call, refused, may_ask }: OwnCall) -> Outcome {
        self.emit(TurnEvent::ToolCall(call.clone())).await;
        let request = ToolInvokeRequest {
            tool_call_id: call.id.clone(),
            tool_name: call.function.name,
            arguments: call.function.arguments,
            session_id: self.context.request_id.clone(),
            context: self.context.clone(),
        };
        let (mut result, last_words) = match refused {
            Some(reason) => (failure(&request.error(ToolErrorCode::ExecutionFailed, reason)), None),
            None => self.invoke(request, may_ask).await,
        };
        result.id.clone_from(&call.id);
        let outcome = Outcome {
            message: Message::tool_result(&result.id, &*result.content),
            failed: result.is_error,
            last_words,
        };
        self.emit(TurnEvent::ToolResult(result)).await;
        outcome
    }

    /// Runs one call and the hooks around it. Also returns the words with which it ends the turn, if it does. A hook that
    /// must succeed and does not takes the place of the result.
    async fn invoke(&self, mut request: ToolInvokeRequest, may_ask: bool) -> (ToolResult, Option<String>) {
        if let Some(to) = self.hands_off_to(&request) {
            return self.hand_off(request, to, may_ask).await;
        }
        let stopped = |request: &ToolInvokeRequest, stopped: Stopped| {
            failure(&request.error(ToolErrorCode::ExecutionFailed, stopped.to_string()))
        };
        if let Err(reason) = self.hooks.run(Occasion::BeforeToolcall(&mut request)).await {
            return (stopped(&request, reason), None);
        }
        // The hook may have made it one.
        if let Some(to) = self.hands_off_to(&request) {
            return self.hand_off(request, to, may_ask).await;
        }
        let mut result = match self.agent.invoker.invoke(&self.tools, &request).await {
            Ok(response) => answered(response),
            Err(error) => failure(&error),
        };
        match self.hooks.run(Occasion::AfterToolcall(&mut result)).await {
            Ok(()) => (result, None),
            Err(reason) => (stopped(&request, reason), None),
        }
    }

    fn hands_off_to(&self, request: &ToolInvokeRequest) -> Option<HandoffType> {
        self.tools.get(&request.tool_name)?.executor.handoff()
    }

    /// Runs a handoff and the hooks around it. The hooks may choose another handoff, and nothing but one: those around tools
    /// have not seen the call.
    async fn hand_off(
        &self,
        mut request: ToolInvokeRequest,
        to: HandoffType,
        may_ask: bool,
    ) -> (ToolResult, Option<String>) {
        let ran = self.hooks.run(Occasion::BeforeHandoff(&mut request)).await;
        let chosen = self.hands_off_to(&request);
        let to = chosen.unwrap_or(to);
        let failed = |reason: String| HandoffResult {
            handoff_type: to,
            ..HandoffResult::failed(reason)
        };
        let refused = match (ran, chosen) {
            (Err(reason), _) => Some(reason.to_string()),
            (Ok(()), None) => Some(format!(
                "not run: a hook made {:?} of it, which is no handoff of this agent",
                request.tool_name
            )),
            (Ok(()), Some(HandoffType::Human)) if !may_ask => Some(NOT_ASKED.to_owned()),
            (Ok(()), Some(_)) => None,
        };
        if let Some(reason) = refused {
            return (handed_off(&request, &failed(reason)), None);
        }
        match self.agent.invoker.invoke(&self.tools, &request).await {
            Ok(ToolInvokeResponse {
                handoff: Some(mut handoff),
                ..
            }) => {
                if let Err(reason) = self.hooks.run(Occasion::AfterHandoff(&mut handoff)).await {
                    handoff = failed(reason.to_string());
                }
                handoff.handoff_type = to;
                (handed_off(&request, &handoff), handoff.last_words())
            }
            Ok(response) => (answered(response), None),
            Err(error) => (failure(&error), None),
        }
    }

    async fn finish(&self, finish: Finish) -> Result<(), TurnError> {
        if let Some(remark) = finish.remark {
            self.emit_delta(Delta::Content(remark)).await?;
        }
        if let Some(hidden) = finish.hidden {
            self.keep(hidden).await;
        }
        self.emit(TurnEvent::Finished(finish.reason)).await;
        Ok(())
    }

    /// Keeps what the client's next request will lack. When a human is to go on, the client is told.
    async fn keep(&self, hidden: Hidden) {
        // The client's next request has the calls in their order.
        let mut keys: Vec<_> = hidden.call_ids.first().cloned().into_iter().collect();
        if let Some(name) = hidden.asks() {
            let id: String = rand::rng().sample_iter(Alphanumeric).take(24).map(char::from).collect();
            let handoff = json!({ "id": id, "name": name, "type": HandoffType::Human });
            let told = Map::from_iter([(HANDOFF.to_owned(), handoff)]);
            self.emit(TurnEvent::Delta(Delta::Extra(told))).await;
            keys.push(id);
            keys.extend(self.conversation.as_ref().map(Conversation::key));
        }
        self.agent.kept.keep(&keys, &hidden).await;
    }

    async fn emit_delta(&self, mut delta: Delta) -> Result<(), TurnError> {
        self.hooks.run(Occasion::Chunk(&mut delta)).await?;
        if let (Some(conversation), Delta::Content(text)) = (&self.conversation, &delta) {
            conversation.said().push_str(text);
        }
        self.emit(TurnEvent::Delta(delta)).await;
        Ok(())
    }

    /// The receiver lives as long as the driver: both are parts of one stream.
    async fn emit(&self, event: TurnEvent) {
        let _ = self.events.send(event).await;
    }
}

fn answered(response: ToolInvokeResponse) -> ToolResult {
    ToolResult {
        id: response.tool_call_id,
        name: response.tool_name,
        content: response.content,
        is_error: response.is_error,
        files: response.files,
    }
}

fn failure(error: &ToolError) -> ToolResult {
    ToolResult {
        id: error.tool_call_id.clone(),
        name: error.tool_name.clone(),
        content: error.to_content(),
        is_error: true,
        files: Vec::new(),
    }
}

fn handed_off(request: &ToolInvokeRequest, handoff: &HandoffResult) -> ToolResult {
    answered(request.handoff(handoff.clone()))
}
