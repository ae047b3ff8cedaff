//! Whether the scripts namespace lets in script pods alone. Tried, not assumed: a policy may be missing, bound to nothing,
//! or not in force yet.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};
use tokio::sync::OnceCell;

use crate::pod::{StartError, call};

/// What the API server says of whoever refused.
const REFUSED_BY: &str = "ValidatingAdmissionPolicy";

/// The policy, and whether it was seen to refuse.
pub(crate) struct Admission {
    required: bool,
    seen: OnceCell<()>,
}

impl Admission {
    /// With `required` no pod is made before the policy refused one.
    pub(crate) fn new(required: bool) -> Self {
        Self {
            required,
            seen: OnceCell::new(),
        }
    }

    /// Whether the policy was seen to refuse.
    pub(crate) fn is_proved(&self) -> bool {
        self.seen.initialized()
    }

    /// Sees to it, once, that a pod that differs from `pod` in as little as its grace period is refused.
    pub(crate) async fn prove(&self, api: &Api<Pod>, pod: &Pod) -> Result<(), StartError> {
        if self.required {
            self.seen.get_or_try_init(|| is_refused(api, another(pod))).await?;
        }
        Ok(())
    }
}

fn another(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.termination_grace_period_seconds = spec.termination_grace_period_seconds.map(|seconds| seconds + 1);
    }
    pod
}

async fn is_refused(api: &Api<Pod>, pod: Pod) -> Result<(), StartError> {
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match call(api.create(&dry_run, &pod)).await {
        Ok(_) => Err(StartError::Unguarded),
        Err(StartError::Api(kube::Error::Api(status))) if status.message.contains(REFUSED_BY) => Ok(()),
        Err(error) => Err(error),
    }
}
