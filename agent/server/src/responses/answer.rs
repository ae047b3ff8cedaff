//! One answer while it is made: the events of a turn go in, the response comes out, once.

use chrono::Utc;
use rockbot_agent::TurnEvent;
use serde_json::{Value, json};

use super::{
    events::Events,
    item::ItemStatus,
    object::{Echo, Object, Status},
    output::Output,
    stored::Conversation,
};
use crate::{error::ApiError, record::Record};

/// An answer that is being made.
pub(super) struct Answer {
    echo: Echo,
    output: Output,
    conversation: Conversation,
    record: Record,
    tools_ran: bool,
}

impl Answer {
    pub(super) fn new(echo: Echo, conversation: Conversation, record: Record) -> Self {
        Self {
            output: Output::new(echo.encrypted_reasoning),
            echo,
            conversation,
            record,
            tools_ran: false,
        }
    }

    /// Says that there will be an answer.
    pub(super) fn begin(&self, events: &mut Events) {
        let response = Object::begun(&self.echo, self.conversation.is_kept());
        for kind in ["response.created", "response.in_progress"] {
            events.add(kind, || json!({ "response": response }));
        }
    }

    /// Takes in `event`. Returns the response when that was the last.
    pub(super) async fn take(&mut self, event: TurnEvent, events: &mut Events) -> Option<Value> {
        match event {
            TurnEvent::Delta(delta) => self.output.add(delta, events),
            TurnEvent::Usage(usage) => self.record.count(&usage),
            TurnEvent::ToolCall(_) => {
                self.tools_ran = true;
                self.output.interrupt(events);
            }
            TurnEvent::Finished(reason) => return Some(self.finish(&reason, events).await),
            TurnEvent::Started | TurnEvent::ToolResult(_) => {}
        }
        None
    }

    /// The error response of an answer of which the client has seen nothing.
    pub(super) fn fail(&mut self, error: impl Into<ApiError>) -> ApiError {
        let error = error.into().final_if(self.tools_ran);
        self.record.fail(&error);
        error
    }

    /// Tells of an error in the middle of an answer. Some clients look for the event, others at the response.
    pub(super) fn break_off(&mut self, error: impl Into<ApiError>, events: &mut Events) -> bool {
        let error = self.fail(error);
        self.output.end(ItemStatus::Incomplete, events);
        events.add(
            "error",
            || json!({ "code": error.code, "message": error.message, "param": error.param }),
        );
        let response = Object::begun(&self.echo, false).failed(&error, self.output.items(), self.record.usage());
        events.add("response.failed", || json!({ "response": response }));
        true
    }

    /// What is kept can be asked for as soon as the client knows that the response is complete.
    async fn finish(&mut self, reason: &str, events: &mut Events) -> Value {
        let now = Utc::now().timestamp();
        let (item_status, kind) = if Status::of(reason) == Status::Completed {
            (ItemStatus::Completed, "response.completed")
        } else {
            (ItemStatus::Incomplete, "response.incomplete")
        };
        self.output.end(item_status, events);
        let response = |store| {
            Object::begun(&self.echo, store)
                .ended(reason, now, self.output.items(), self.record.usage())
                .to_value()
        };
        let mut answer = response(self.conversation.is_kept());
        if self.conversation.is_kept()
            && !self
                .conversation
                .keep(&self.echo.id, &answer, self.output.message())
                .await
        {
            answer = response(false);
        }
        self.record.succeed();
        events.add(kind, || json!({ "response": answer }));
        answer
    }
}
