//! A volume claim beside the live one.

use std::cmp::Ordering;

use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::api::resource::Quantity};

use crate::quantity;

/// The claim for as much as the live one asks for, if that is more: somebody has made it grow. To ask for less is refused, and
/// whatever is to be applied after it would wait for ever.
pub fn never_smaller(mut claim: PersistentVolumeClaim, live: Option<&PersistentVolumeClaim>) -> PersistentVolumeClaim {
    if let (Some(Quantity(wanted)), Some(Quantity(given))) = (size(&claim), live.and_then(size))
        && quantity::compare(given, wanted) == Some(Ordering::Greater)
    {
        let given = Quantity(given.clone());
        let spec = claim.spec.get_or_insert_default();
        let requests = spec.resources.get_or_insert_default().requests.get_or_insert_default();
        requests.insert(SIZE.to_owned(), given);
    }
    claim
}

const SIZE: &str = "storage";

fn size(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get(SIZE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_grows_and_never_shrinks() {
        let claim = |size: &str| -> PersistentVolumeClaim {
            let resources = json!({ "requests": { "storage": size } });
            serde_json::from_value(json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": resources } }))
                .unwrap()
        };
        for (wanted, live, applied) in [
            ("10Gi", None, "10Gi"),
            ("10Gi", Some("10240Mi"), "10Gi"),
            ("10Gi", Some("20Gi"), "20Gi"),
            ("20Gi", Some("10Gi"), "20Gi"),
        ] {
            let live = live.map(claim);
            assert_eq!(never_smaller(claim(wanted), live.as_ref()), claim(applied), "{wanted}");
        }
    }
}
