//! A model with others that stand in for it.

use async_trait::async_trait;
use tracing::warn;

use crate::{EventStream, Model, ModelError, chat::ChatRequest};

/// Models in the order in which they are asked.
pub(crate) struct Failover(pub(crate) Vec<Box<dyn Model>>);

#[async_trait]
impl Model for Failover {
    async fn stream(&self, request: &ChatRequest) -> Result<EventStream, ModelError> {
        let mut first = None;
        for (index, model) in self.0.iter().enumerate() {
            match model.stream(request).await {
                // Another model would find the same wrong with it.
                Err(error) if error.is_about_the_request() => return Err(error),
                Err(error) => {
                    let next = (index + 1 < self.0.len()).then_some(index);
                    warn!(index, fallback = ?next, kind = ?error.kind, "a model did not answer: {error}");
                    first.get_or_insert(error);
                }
                answer => return answer,
            }
        }
        // The first is the agent's model; what became of the others is in the log.
        Err(first.unwrap_or_else(|| ModelError::new(crate::ModelErrorKind::Configuration, "the agent has no model")))
    }

    fn problems(&self) -> Vec<String> {
        self.0.iter().flat_map(|model| model.problems()).collect()
    }
}
