//! `tests/requests/CASE.json`, as clients send them, and the body that each becomes on each wire.

use serde_json::{Value, json};

use super::{WIRES, files, is_golden, wire};
use crate::chat::ChatRequest;

fn requests() -> Vec<std::path::PathBuf> {
    let is_request = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.matches('.').count() == 1
    };
    files("requests", ".json").into_iter().filter(is_request).collect()
}

fn read(path: &std::path::Path) -> ChatRequest {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn requests_are_written_as_before() {
    let mut known = 0;
    for path in requests() {
        for (name, provider) in WIRES {
            let wire = wire(provider, json!({}));
            let body = match wire.body(&read(&path)) {
                Ok(body) => serde_json::from_slice(&body).unwrap(),
                Err(error) => json!({ "refused": error.message }),
            };
            let text = serde_json::to_string_pretty::<Value>(&body).unwrap() + "\n";
            is_golden(&path.with_extension(format!("{name}.json")), &text);
            known += 1;
        }
    }
    assert_eq!(
        files("requests", ".json").len(),
        known + requests().len(),
        "a record without its request"
    );
    assert!(known > 20);
}

/// What a client sends that RockBot does not know reaches a server of the same wire as it came.
#[test]
fn unknown_fields_survive_a_round_trip() {
    for path in requests() {
        let mut sent: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let wire = wire("OpenAI", json!({ "baseUrl": "http://vllm.test/v1" }));
        let mut body: Value = serde_json::from_slice(&wire.body(&read(&path)).unwrap()).unwrap();
        assert_eq!(
            (body["model"].take(), body["stream"].take()),
            (json!("a-model"), json!(true))
        );
        for own in ["model", "stream", "stream_options"] {
            sent.as_object_mut().unwrap().remove(own);
            body.as_object_mut().unwrap().remove(own);
        }
        // The one name that the server may not know.
        if let Some(bound) = sent.as_object_mut().unwrap().remove("max_completion_tokens") {
            sent["max_tokens"] = bound;
        }
        assert_eq!(body, sent, "{}", path.display());
    }
}

#[test]
fn the_configuration_fills_in_what_a_request_leaves_out() {
    let fields = json!({
        "temperature": 0.3, "topP": 0.4, "maxTokens": 50,
        "extraBody": { "seed": 1, "generationConfig": { "topK": 5, "temperature": 2 }, "thinking": { "type": "enabled" } },
    });
    let body = |provider: &str, base: Value, request: &Value| -> Value {
        let mut fields = fields.clone();
        fields["baseUrl"] = base;
        let request: ChatRequest = serde_json::from_value(request.clone()).unwrap();
        serde_json::from_slice(&wire(provider, fields).body(&request).unwrap()).unwrap()
    };
    let silent = json!({ "messages": [{ "role": "user", "content": "x" }] });
    let firm = json!({ "messages": [], "temperature": 1, "top_p": 1, "max_tokens": 9, "seed": 2 });
    // Whoever chooses one way to sample wants no default of the other beside it.
    let choosy = json!({ "messages": [{ "role": "user", "content": "x" }], "top_p": 0.7 });
    let compatible = json!("http://llama.test/v1");
    let cases = [
        (
            "OpenAI",
            &compatible,
            &silent,
            json!({ "temperature": 0.3, "top_p": 0.4, "max_tokens": 50, "seed": 1 }),
        ),
        (
            "OpenAI",
            &compatible,
            &firm,
            json!({ "temperature": 1.0, "top_p": 1.0, "max_tokens": 9, "seed": 2 }),
        ),
        (
            "OpenAI",
            &Value::Null,
            &silent,
            json!({ "max_completion_tokens": 50, "thinking": { "type": "enabled" } }),
        ),
        (
            "Anthropic",
            &Value::Null,
            &silent,
            json!({ "temperature": 0.3, "top_p": null, "max_tokens": 50, "thinking": { "type": "enabled" } }),
        ),
        (
            "Anthropic",
            &Value::Null,
            &firm,
            json!({ "temperature": 1.0, "top_p": null, "max_tokens": 9 }),
        ),
        (
            "Anthropic",
            &Value::Null,
            &choosy,
            json!({ "temperature": null, "top_p": 0.7 }),
        ),
        (
            "OpenAI",
            &compatible,
            &choosy,
            json!({ "temperature": null, "top_p": 0.7, "max_tokens": 50 }),
        ),
        (
            "Gemini",
            &Value::Null,
            &silent,
            json!({ "generationConfig": { "temperature": 0.3, "topP": 0.4, "maxOutputTokens": 50, "topK": 5 } }),
        ),
        (
            "Gemini",
            &Value::Null,
            &firm,
            json!({ "generationConfig": { "temperature": 1.0, "topP": 1.0, "maxOutputTokens": 9, "seed": 2, "topK": 5 } }),
        ),
    ];
    for (provider, base, request, expected) in cases {
        let body = body(provider, base.clone(), request);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&body[name], value, "{provider} {name} for {request}");
        }
    }
}

#[test]
fn a_bound_goes_out_once_under_the_name_that_the_server_knows() {
    let (old, new, both) = (
        json!({ "max_tokens": 9 }),
        json!({ "max_completion_tokens": 9 }),
        json!({ "max_tokens": 8, "max_completion_tokens": 9 }),
    );
    let azure = json!("https://x.openai.azure.com/openai/v1");
    let servers = [
        ("OpenAI", Value::Null, "max_completion_tokens"),
        ("OpenAI", azure, "max_completion_tokens"),
        ("OpenAI", json!("http://vllm.test/v1"), "max_tokens"),
        ("Ollama", json!("http://ollama.test"), "max_tokens"),
        ("Anthropic", Value::Null, "max_tokens"),
    ];
    for (provider, base, name) in servers {
        for (fields, bound) in [(&old, 9), (&new, 9), (&both, 9), (&json!({}), 50)] {
            let mut request = fields.clone();
            request["messages"] = json!([{ "role": "user", "content": "x" }]);
            let request: ChatRequest = serde_json::from_value(request).unwrap();
            let wire = wire(provider, json!({ "baseUrl": base, "maxTokens": 50 }));
            let body: Value = serde_json::from_slice(&wire.body(&request).unwrap()).unwrap();
            let bounds = ["max_tokens", "max_completion_tokens"].into_iter();
            let sent: Vec<_> = bounds.filter(|bound| body.get(bound).is_some()).collect();
            assert_eq!(
                (sent.as_slice(), &body[name]),
                (&[name][..], &json!(bound)),
                "{provider} {base} {fields}"
            );
        }
    }
}

#[test]
fn a_url_is_what_its_provider_expects() {
    let cases = [
        ("OpenAI", None, "https://api.openai.com/v1/chat/completions"),
        (
            "OpenAI",
            Some("http://vllm:8000/v1/"),
            "http://vllm:8000/v1/chat/completions",
        ),
        (
            "OpenAI",
            Some("https://x.openai.azure.com/openai/deployments/d?api-version=2"),
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2",
        ),
        (
            "Ollama",
            Some("http://ollama:11434"),
            "http://ollama:11434/v1/chat/completions",
        ),
        (
            "Ollama",
            Some("http://ollama:11434/v1"),
            "http://ollama:11434/v1/chat/completions",
        ),
        ("Anthropic", None, "https://api.anthropic.com/v1/messages"),
        (
            "Anthropic",
            Some("http://proxy/anthropic/"),
            "http://proxy/anthropic/v1/messages",
        ),
        ("Anthropic", Some("http://proxy/v1"), "http://proxy/v1/messages"),
        (
            "Gemini",
            None,
            "https://generativelanguage.googleapis.com/v1beta/models/a-model:streamGenerateContent?alt=sse",
        ),
        (
            "Gemini",
            Some("http://proxy/v1"),
            "http://proxy/v1/models/a-model:streamGenerateContent?alt=sse",
        ),
    ];
    for (provider, base, expected) in cases {
        assert_eq!(wire(provider, json!({ "baseUrl": base })).url().as_str(), expected);
    }
    for base in ["", "api.openai.com/v1", "ftp://x.test", "mailto:x"] {
        for (_, provider) in WIRES {
            let error = crate::wire::of(&super::config(provider, json!({ "baseUrl": base })))
                .err()
                .unwrap();
            assert!(error.message.contains("baseUrl"), "{provider} {base}");
        }
    }
}

#[test]
fn a_key_travels_in_the_header_of_its_provider() {
    let cases = [
        ("OpenAI", None, "authorization", "Bearer "),
        ("OpenAI", Some("http://vllm:8000/v1/"), "authorization", "Bearer "),
        ("OpenAI", Some("https://x.openai.azure.com/openai/v1"), "api-key", ""),
        (
            "OpenAI",
            Some("https://gateway.test/openai/deployments/d?api-version=2"),
            "api-key",
            "",
        ),
        ("Ollama", Some("http://ollama"), "authorization", "Bearer "),
        ("Anthropic", None, "x-api-key", ""),
        ("Gemini", None, "x-goog-api-key", ""),
    ];
    for (provider, base, name, prefix) in cases {
        let (header, before) = wire(provider, json!({ "baseUrl": base })).key_header();
        assert_eq!((header.as_str(), before), (name, prefix), "{provider} {base:?}");
    }
}
