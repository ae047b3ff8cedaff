//! A model with others that stand in for it.

use async_trait::async_trait;
use futures::{StreamExt, future, stream};
use tracing::warn;

use crate::{Event, EventStream, Model, ModelError, ModelErrorKind, Usage, chat::ChatRequest};

/// Models in the order in which they are asked.
pub(crate) struct Failover(pub(crate) Vec<Box<dyn Model>>);

#[async_trait]
impl Model for Failover {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        // The first is the agent's model; what became of the others is in the log.
        let mut first = None;
        let mut spent: Option<Usage> = None;
        for (index, model) in self.0.iter().enumerate() {
            let mut error = match model.stream(request).await {
                Ok(answer) => return Ok(after(spent, answer)),
                Err(error) => error,
            };
            if let Some(usage) = error.usage.take() {
                spent.get_or_insert_default().add(&usage);
            }
            // Another model would find the same wrong with it.
            if error.is_about_the_request() {
                return Err(priced(error, spent));
            }
            let next = (index + 1 < self.0.len()).then_some(index);
            let (kind, status, said) = (error.kind, error.status, error.loggable());
            warn!(index, fallback = ?next, ?kind, status, "a model did not answer: {said}");
            first.get_or_insert(error);
        }
        let none = || ModelError::new(ModelErrorKind::Configuration, "the agent has no model");
        Err(priced(first.unwrap_or_else(none), spent))
    }

    fn problems(&self) -> Vec<String> {
        self.0.iter().flat_map(|model| model.problems()).collect()
    }
}

fn priced(error: ModelError, spent: Option<Usage>) -> ModelError {
    ModelError {
        usage: spent.map(Box::new),
        ..error
    }
}

/// `answer`, for which models that it stands in for have `spent` something already.
fn after(spent: Option<Usage>, answer: EventStream) -> EventStream {
    let Some(spent) = spent else { return answer };
    let begin = stream::once(future::ready(Ok(Event::Usage(spent.clone()))));
    let counted = answer.map(move |event| match event {
        Ok(Event::Usage(mut usage)) => {
            usage.add(&spent);
            Ok(Event::Usage(usage))
        }
        other => other,
    });
    begin.chain(counted).boxed()
}
