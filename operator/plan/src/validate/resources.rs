//! Refuses resources that no pod can have.

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rockbot_crds::Resources;

use super::Problems;
use crate::quantity;

/// Checks what the user asks for. The definition has no rule for it: one about numbers that may be text as well costs more than
/// an API server grants.
pub(super) fn resources(spec: Option<&Resources>, problems: &mut Problems) {
    let Some(Resources {
        requests: Some(requests),
        limits: Some(limits),
    }) = spec
    else {
        return;
    };
    for (name, Quantity(request)) in requests {
        if let Some(Quantity(limit)) = limits.get(name)
            && quantity::compare(request, limit) == Some(Ordering::Greater)
        {
            problems.add(
                &format!("spec.resources.requests.{name}"),
                format!("is {request}; it must be at most spec.resources.limits.{name}, which is {limit}"),
            );
        }
    }
}
