//! Responses that are kept: how long, for whom, and what happens when they cannot be.

use reqwest::StatusCode;
use rockbot_fakes::Step;
use serde_json::{Value, json};

use super::{PATH, text};
use crate::site::{Site, agent, key_file};

#[tokio::test]
async fn a_conversation_goes_on_from_a_response_until_that_is_deleted() {
    let site = Site::scripted((0..9).map(|number| Step::say(format!("answer {number}")))).await;
    let ask = async |body: Value| site.ask_at("/v1/responses", body).await;
    let (_, first) = ask(json!({ "model": "a", "input": "one", "instructions": "Forget this." })).await;
    let (_, second) = ask(json!({ "input": "two", "previous_response_id": first["id"] })).await;
    assert_eq!(second["previous_response_id"], first["id"]);
    let said: Vec<_> = site.model_saw()[1]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, ["You are a.", "one", "answer 0", "two"]);

    let path = format!("/v1/responses/{}", first["id"].as_str().unwrap());
    assert_eq!(site.get_json(&path).await, (StatusCode::OK, first.clone()));
    let (_, items) = site.get_json(&format!("{path}/input_items")).await;
    assert_eq!(
        items["data"][0]["content"],
        json!([{ "type": "input_text", "text": "one" }])
    );
    assert_eq!(
        (&items["first_id"], &items["has_more"]),
        (&items["data"][0]["id"], &json!(false))
    );

    let (status, deleted) = site.delete_json(&path).await;
    assert_eq!(
        (status, deleted),
        (
            StatusCode::OK,
            json!({ "id": first["id"], "object": "response", "deleted": true })
        )
    );
    assert_eq!(site.get_json(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(site.delete_json(&path).await.0, StatusCode::NOT_FOUND);
    let (status, error) = ask(json!({ "input": "x", "previous_response_id": first["id"] })).await;
    assert_eq!(
        (status, &error["error"]["code"], &error["error"]["param"]),
        (
            StatusCode::BAD_REQUEST,
            &json!("previous_response_not_found"),
            &json!("previous_response_id")
        )
    );
    let (_, third) = ask(json!({ "input": "three", "previous_response_id": second["id"], "store": false })).await;
    assert_eq!(
        (text(&third), &third["store"]),
        ("answer 2".to_owned(), &json!(false)),
        "it stands on its own"
    );
    let (status, _) = ask(json!({ "input": "x", "previous_response_id": third["id"] })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "it was not to be kept");
}

#[tokio::test]
async fn d6_a_response_belongs_to_the_scope_that_it_was_made_under() {
    let site = Site::start().await;
    let url = site.model.base_url("echo");
    let mut config = agent("a", &url);
    config["access"] = json!({ "apiKeys": [{ "name": "k", "scope": "owner", "file": key_file() }] });
    site.set(vec![config, agent("b", &url)]);
    let owner = |request: reqwest::RequestBuilder| request.header("authorization", "Bearer sk-test");
    let response = owner(site.post(PATH, &json!({ "input": "mine" })))
        .send()
        .await
        .unwrap();
    let response: Value = response.json().await.unwrap();
    let id = response["id"].as_str().unwrap();
    for path in [
        format!("{PATH}/{id}"),
        format!("/v1/responses/{id}"),
        format!("{PATH}/{id}/input_items"),
    ] {
        assert_eq!(
            owner(site.get(&path)).send().await.unwrap().status(),
            StatusCode::OK,
            "{path}"
        );
        assert_eq!(
            site.get(&path).send().await.unwrap().status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        site.get_json(&format!("/b/responses/{id}")).await.0,
        StatusCode::NOT_FOUND,
        "another agent's"
    );
    let (status, _) = site
        .ask_at(PATH, json!({ "input": "x", "previous_response_id": id }))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_kept_on_a_volume_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = async || {
        let site = Site::start().await;
        let mut config = agent("a", &site.model.base_url("echo"));
        config["storage"] = json!({ "type": "Volume", "directory": directory.path() });
        site.set(vec![config]);
        site
    };
    let site = start().await;
    let (_, first) = site.ask_at(PATH, json!({ "input": "one" })).await;
    site.shutdown.cancel();
    site.serving.await.unwrap();
    drop(site.server);
    let site = start().await;
    let (status, second) = site
        .ask_at(PATH, json!({ "input": "two", "previous_response_id": first["id"] }))
        .await;
    assert_eq!(status, StatusCode::OK, "{second}");
}

#[tokio::test]
async fn a_storage_that_cannot_be_used_costs_no_answer() {
    let site = Site::start().await;
    let mut config = agent("a", &site.model.base_url("echo"));
    config["storage"] = json!({ "type": "Volume", "directory": "/proc/nowhere" });
    site.set(vec![config]);
    let (status, answer) = site.ask_at(PATH, json!({ "input": "hello" })).await;
    assert_eq!(
        (status, text(&answer), &answer["store"]),
        (StatusCode::OK, "hello".to_owned(), &json!(false))
    );
    let (status, error) = site
        .ask_at(PATH, json!({ "input": "x", "previous_response_id": answer["id"] }))
        .await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("storage_unavailable"))
    );
    assert!(
        !error.to_string().contains("/proc"),
        "paths are nobody's business: {error}"
    );
    let (_, health) = site.get_json("/health/detailed").await;
    assert_eq!(health["agents"]["a"]["problems"], json!(["its storage cannot be used"]));
}

#[tokio::test]
async fn a_storage_that_cannot_be_used_hides_no_response_of_another_agent() {
    let site = Site::start().await;
    let mut broken = agent("a", &site.model.base_url("echo"));
    broken["storage"] = json!({ "type": "Volume", "directory": "/proc/nowhere" });
    site.set(vec![broken, agent("b", &site.model.base_url("echo"))]);
    let (_, kept) = site.ask_at("/b/responses", json!({ "input": "hello" })).await;
    let path = format!("/v1/responses/{}", kept["id"].as_str().unwrap());
    assert_eq!(site.get_json(&path).await, (StatusCode::OK, kept));
    assert_eq!(site.delete_json(&path).await.0, StatusCode::OK);
    let (status, error) = site.get_json(&path).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("storage_unavailable")),
        "nobody knows what the broken one has"
    );
}
