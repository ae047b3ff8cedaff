//! Chat completions: answers at once or as a stream.

mod completion;
mod stream;
mod wire;

use axum::response::Response;
use rockbot_llm::chat::ChatRequest;

use self::wire::Head;
use crate::{
    ask::{Ask, Asked},
    error::ApiError,
};

impl Ask for ChatRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    async fn answer(self, asked: Asked) -> Result<Response, ApiError> {
        let Asked {
            agent,
            caller,
            mut record,
        } = asked;
        let streamed = self.stream.unwrap_or_default();
        let options = stream::Options {
            usage: self
                .stream_options
                .as_ref()
                .and_then(|options| options.include_usage)
                .unwrap_or_default(),
            tool_events: caller.wants_tool_events,
        };
        let head = Head::new(&agent.config().name);
        let turn = agent.turn(self, caller.asked).map_err(ApiError::from);
        let turn = turn.inspect_err(|error| record.fail(error))?;
        if streamed {
            stream::answer(turn, head, options, record).await
        } else {
            completion::answer(turn, head, record).await
        }
    }
}
