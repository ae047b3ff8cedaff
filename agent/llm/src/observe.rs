//! What is told of each call of a model: one span and its metrics, whatever provider it goes to and however it ends.
//!
//! While an answer flows nothing is told; each event is looked at, and that is all.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use rockbot_agent_config::{ModelConfig, Provider};
use rockbot_telemetry::{Array, KeyValue, Span, SpanKind, StringValue, Value, captures_content, semconv};
use url::Url;

use crate::{
    Event, EventStream, Metrics, Model, ModelError, Usage,
    chat::ChatRequest,
    content::{self, Said},
    metrics::Called,
};

const CHAT: &str = "chat";
/// Whoever wanted the answer went away.
const CANCELLED: &str = "cancelled";

/// A model whose calls are told of.
pub(crate) struct Observed {
    model: Box<dyn Model>,
    called: Called,
    /// Host and port of the provider, unless the model needs none.
    server: Option<(String, u16)>,
    metrics: Metrics,
}

impl Observed {
    pub(crate) fn new(model: Box<dyn Model>, config: &ModelConfig, url: Option<&Url>, metrics: &Metrics) -> Self {
        let server = url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
        Self {
            model,
            called: Called {
                gen_ai_operation_name: CHAT,
                gen_ai_provider_name: provider_name(config.provider),
                gen_ai_request_model: config.name.clone(),
            },
            server,
            metrics: metrics.clone(),
        }
    }

    fn begin(&self, request: &ChatRequest) -> Call {
        let span = Span::start(SpanKind::Client, || {
            let Called {
                gen_ai_operation_name,
                gen_ai_provider_name,
                gen_ai_request_model,
            } = &self.called;
            let mut attributes = vec![
                KeyValue::new(semconv::GEN_AI_OPERATION_NAME, *gen_ai_operation_name),
                KeyValue::new(semconv::GEN_AI_PROVIDER_NAME, *gen_ai_provider_name),
                KeyValue::new(semconv::GEN_AI_REQUEST_MODEL, gen_ai_request_model.clone()),
                KeyValue::new(semconv::GEN_AI_REQUEST_STREAM, true),
            ];
            if let Some((host, port)) = &self.server {
                attributes.push(KeyValue::new(semconv::SERVER_ADDRESS, host.clone()));
                attributes.push(KeyValue::new(semconv::SERVER_PORT, i64::from(*port)));
            }
            (format!("{gen_ai_operation_name} {gen_ai_request_model}"), attributes)
        });
        let said = captures_content().then(|| {
            span.record(|| content::input(request).into_iter().collect());
            Said::default()
        });
        Call {
            span,
            metrics: self.metrics.clone(),
            called: self.called.clone(),
            started: Instant::now(),
            first_chunk: None,
            usage: None,
            finish: None,
            // Unless it learns better.
            error: CANCELLED,
            said,
        }
    }
}

#[async_trait]
impl Model for Observed {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        let mut call = self.begin(request);
        let context = call.span.context();
        match context.run(self.model.stream(request)).await {
            Ok(answer) => Ok(Answer { answer, call }.boxed()),
            Err(error) => {
                call.error = error.kind.as_str();
                call.usage = error.usage.as_deref().cloned();
                Err(error)
            }
        }
    }

    fn problems(&self) -> Vec<String> {
        self.model.problems()
    }
}

/// A call of a model. Dropping it tells of it.
struct Call {
    span: Span,
    metrics: Metrics,
    called: Called,
    started: Instant,
    first_chunk: Option<Duration>,
    usage: Option<Usage>,
    finish: Option<String>,
    /// Empty when it has ended well.
    error: &'static str,
    /// What the model says, if that shall be told.
    said: Option<Said>,
}

impl Call {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::Usage(usage) => self.usage = Some(usage.clone()),
            Event::Finish(reason) => self.finish = Some(reason.clone()),
            Event::Role(_) | Event::Origin(_) => {}
            Event::Content(_) | Event::Reasoning(_) | Event::ToolCall(_) | Event::Logprobs(_) | Event::Extra(_) => {
                if self.first_chunk.is_none() {
                    let after = self.started.elapsed();
                    self.first_chunk = Some(after);
                    self.metrics.answers(&self.called, after);
                }
            }
        }
        if let Some(said) = &mut self.said {
            said.add(event);
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        let mut add = |name, value: Option<Value>| attributes.extend(value.map(|value| KeyValue::new(name, value)));
        let tokens = |count: u64| i64::try_from(count).ok().map(Value::from);
        let usage = self.usage.as_ref();
        add(
            semconv::GEN_AI_USAGE_INPUT_TOKENS,
            usage.and_then(|usage| tokens(usage.prompt_tokens)),
        );
        add(
            semconv::GEN_AI_USAGE_OUTPUT_TOKENS,
            usage.and_then(|usage| tokens(usage.completion_tokens)),
        );
        let reasons = |reason: &String| Value::Array(Array::String(vec![StringValue::from(reason.clone())]));
        add(
            semconv::GEN_AI_RESPONSE_FINISH_REASONS,
            self.finish.as_ref().map(reasons),
        );
        let seconds = self.first_chunk.map(|after| Value::from(after.as_secs_f64()));
        add(semconv::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, seconds);
        attributes.extend(self.said.as_ref().and_then(|said| said.output(self.finish.as_deref())));
        attributes
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.metrics.ended(&self.called, self.error, took, self.usage.as_ref());
        self.span.record(|| self.attributes());
        if !self.error.is_empty() {
            self.span.fail(self.error);
        }
    }
}

struct Answer {
    answer: EventStream,
    call: Call,
}

impl Stream for Answer {
    type Item = Result<Event, ModelError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.answer.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(event))) => self.call.on_event(event),
            Poll::Ready(Some(Err(error))) => self.call.error = error.kind.as_str(),
            Poll::Ready(None) if self.call.error == CANCELLED => self.call.error = "",
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }
}

/// In the words of the conventions, as far as they have one.
fn provider_name(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAI => "openai",
        Provider::Anthropic => "anthropic",
        Provider::Gemini => "gcp.gemini",
        Provider::Ollama => "ollama",
        Provider::Demo => "rockbot.demo",
    }
}
