//! Which citations a text has. A provider counts the characters of what its model has said in one go, and a client those
//! of one item: a citation counts where both are the same.

use std::mem;

use serde_json::{Map, Value, json};

/// The citations of an answer that is being made.
#[derive(Default)]
pub(super) struct Citations {
    waiting: Vec<Value>,
    /// Whether the model has said anything.
    spoke: bool,
    /// Whether that is in the item whose text grows, all of it and nothing else.
    is_whole: bool,
}

impl Citations {
    /// An item with text begins.
    pub(super) fn begin(&mut self) {
        self.is_whole = !mem::replace(&mut self.spoke, true);
    }

    /// Tools run; what the model says after it has spoken before begins with a new paragraph that no provider counts.
    pub(super) fn interrupt(&mut self) {
        self.waiting.clear();
        self.is_whole = false;
    }

    /// Takes in the field `annotations` of a delta; providers send them before, among or after the text.
    pub(super) fn add(&mut self, fields: &Map<String, Value>) {
        let annotations = fields.get("annotations").and_then(Value::as_array);
        self.waiting
            .extend(annotations.into_iter().flatten().filter_map(of_url));
    }

    /// Those of the text that is complete now.
    pub(super) fn take(&mut self) -> Vec<Value> {
        let all = mem::take(&mut self.waiting);
        if self.is_whole { all } else { Vec::new() }
    }
}

/// What chat completions have in an object is beside the type here.
fn of_url(annotation: &Value) -> Option<Value> {
    let cited = annotation.get("url_citation")?;
    let url = cited["url"].as_str()?;
    Some(json!({
        "type": "url_citation",
        "start_index": cited["start_index"].as_u64()?,
        "end_index": cited["end_index"].as_u64()?,
        "title": cited["title"].as_str().unwrap_or(url),
        "url": url,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_that_is_all_that_was_said_has_citations() {
        let cited = json!({ "url": "http://a/", "start_index": 0, "end_index": 1 });
        let Value::Object(fields) = json!({ "annotations": [{ "type": "url_citation", "url_citation": cited }] })
        else {
            panic!("no object");
        };
        let mut citations = Citations::default();
        citations.add(&fields);
        citations.begin();
        citations.add(&fields);
        assert_eq!(citations.take().len(), 2, "before and after the text begins");
        citations.add(&fields);
        citations.begin();
        assert_eq!(citations.take(), [] as [Value; 0], "the second item of one answer");
        citations.interrupt();
        citations.begin();
        citations.add(&fields);
        assert_eq!(
            citations.take(),
            [] as [Value; 0],
            "there is text of before the tools ran"
        );

        let mut citations = Citations::default();
        citations.add(&fields);
        citations.interrupt();
        citations.begin();
        citations.add(&fields);
        let expected = json!({
            "type": "url_citation", "start_index": 0, "end_index": 1, "title": "http://a/", "url": "http://a/",
        });
        assert_eq!(citations.take(), [expected], "the first text, after tools");
    }
}
