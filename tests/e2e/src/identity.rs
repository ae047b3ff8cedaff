//! ServiceAccount tokens, and what the API server lets their owner do.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    authorization::v1::SelfSubjectRulesReview,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::{cluster::Cluster, namespace::Namespace};

/// A token of `account`, for `audience` or for the API server itself, bound to `pod` when given.
///
/// # Errors
/// When the API server refuses.
pub async fn token(ns: &Namespace, account: &str, audience: Option<&str>, pod: Option<&Pod>) -> Result<String> {
    let bound =
        pod.map(|pod| json!({ "apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid }));
    let audiences: Vec<_> = audience.into_iter().collect();
    let request: TokenRequest = serde_json::from_value(json!({
        "spec": { "audiences": audiences, "boundObjectRef": bound, "expirationSeconds": 600 },
    }))?;
    let accounts: Api<ServiceAccount> = ns.api();
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    answer
        .status
        .and_then(|status| status.token)
        .context("a token request without a token")
}

/// The one running pod of Deployment `name`.
///
/// # Errors
/// When there is none, or more than one.
pub async fn pod_of(ns: &Namespace, name: &str) -> Result<Pod> {
    let pods = ns
        .api::<Pod>()
        .list(&ListParams::default().fields("status.phase=Running"))
        .await?;
    let prefix = format!("{name}-");
    let mine: Vec<_> = pods
        .into_iter()
        .filter(|pod| pod.name_any().starts_with(&prefix) && pod.metadata.deletion_timestamp.is_none())
        .collect();
    ensure!(mine.len() == 1, "{} pods of {name} run, not one", mine.len());
    mine.into_iter().next().context("no pod")
}

/// A client that is nobody but the owner of `token`.
///
/// # Errors
/// When the kubeconfig cannot be read.
pub async fn client_as(cluster: &Cluster, token: &str) -> Result<Client> {
    let mut file = Kubeconfig::read_from(cluster.settings.kubeconfig())?;
    for user in &mut file.auth_infos {
        user.auth_info = Some(serde_json::from_value::<AuthInfo>(json!({ "token": token }))?);
    }
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Everything that `client` may do in `namespace`, one rule a line, sorted.
///
/// # Errors
/// When the API server refuses even that question.
pub async fn rules_of(client: &Client, namespace: &str) -> Result<Vec<String>> {
    let review = serde_json::from_value(json!({ "spec": { "namespace": namespace } }))?;
    let answer = Api::<SelfSubjectRulesReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    let status = answer.status.context("a rules review without an answer")?;
    ensure!(
        !status.incomplete,
        "the rules review is incomplete: {:?}",
        status.evaluation_error
    );
    let resources = status.resource_rules.iter().map(|rule| format!("{rule:?}"));
    let urls = status.non_resource_rules.iter().map(|rule| format!("{rule:?}"));
    let mut rules: Vec<_> = resources.chain(urls).collect();
    rules.sort();
    Ok(rules)
}
