//! OpenAI's Responses API over the same turns as chat completions: translated here, decided nowhere.

mod answer;
mod citations;
mod events;
mod input;
mod item;
mod object;
mod output;
mod request;
mod stored;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt, stream};
use rockbot_agent::{TurnError, TurnEvent};

pub(crate) use self::request::ResponsesRequest;
pub(crate) use self::stored::{delete, delete_at, get, get_at, input_items, input_items_at};
use self::{answer::Answer, events::Events, request::invalid, stored::Conversation};
use crate::{
    ask::{Ask, Asked},
    error::ApiError,
    sse,
};

impl Ask for ResponsesRequest {
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    async fn answer(mut self, asked: Asked) -> Result<Response, ApiError> {
        let Asked {
            agent,
            caller,
            mut record,
        } = asked;
        let streamed = self.stream.unwrap_or_default();
        let prepared = async {
            let conversation = Conversation::begin(&mut self, &agent, &caller.asked.scope, record.room()).await?;
            let (chat, echo) = self.into_chat(conversation.messages(), &agent.config().name)?;
            // The turn knows a function by where chat completions have it.
            let turn = agent
                .turn(chat, caller.asked)
                .map_err(|error| invalid(error.param.replace(".function.", "."), &error.message))?;
            Ok((conversation, turn, echo))
        };
        let (conversation, turn, echo) = prepared.await.inspect_err(|error: &ApiError| record.fail(error))?;
        if streamed {
            let turn = sse::begin(turn, &mut record).await?;
            Ok(sse::response(written(turn, Answer::new(echo, conversation, record))))
        } else {
            at_once(turn, Answer::new(echo, conversation, record)).await
        }
    }
}

/// Waits for the end of `turn`.
async fn at_once(
    turn: impl Stream<Item = Result<TurnEvent, TurnError>>,
    mut answer: Answer,
) -> Result<Response, ApiError> {
    let mut turn = std::pin::pin!(turn);
    let mut events = Events::unwritten();
    while let Some(event) = turn.next().await {
        let event = event.map_err(|error| answer.fail(error))?;
        if let Some(response) = answer.take(event, &mut events).await {
            return Ok(Json(response).into_response());
        }
    }
    Err(answer.fail(ApiError::internal()))
}

/// The events of `turn` as they come, until the answer is complete or fails.
fn written(
    turn: impl Stream<Item = Result<TurnEvent, TurnError>> + Send + Unpin + 'static,
    answer: Answer,
) -> impl Stream<Item = axum::response::sse::Event> + Send {
    let mut events = Events::default();
    answer.begin(&mut events);
    let state = Writing {
        turn,
        answer,
        events,
        ended: false,
    };
    stream::unfold(state, |mut state| async {
        loop {
            if let Some(event) = state.events.next() {
                return Some((event, state));
            }
            if state.ended {
                return None;
            }
            state.read().await;
        }
    })
}

struct Writing<T> {
    turn: T,
    answer: Answer,
    events: Events,
    ended: bool,
}

impl<T: Stream<Item = Result<TurnEvent, TurnError>> + Unpin> Writing<T> {
    async fn read(&mut self) {
        let Self {
            turn, answer, events, ..
        } = self;
        self.ended = match turn.next().await {
            Some(Ok(event)) => answer.take(event, events).await.is_some(),
            Some(Err(error)) => answer.break_off(error, events),
            None => answer.break_off(ApiError::internal(), events),
        };
    }
}
