//! What the script pods of one manager have in common, beyond what every script pod is.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// Image, resources and runtime of script pods. The chart's admission policy lets in these and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Image with `python3` and nothing of RockBot.
    pub image: String,
    /// What the container asks for while it is parked: little, so that many may wait.
    pub requests: Amounts,
    /// What the container may use at most.
    pub limits: Amounts,
    /// RuntimeClass of the pod, such as gVisor's or Kata's; the node's usual runtime without one.
    pub runtime_class: Option<String>,
    /// Whether user ids in the pod are the node's own. Without it the pod has a user namespace.
    pub host_users: bool,
}

impl Shape {
    /// Pods of `image`, everything else as it usually is.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            requests: Amounts::new("10m", "48Mi", "16Mi"),
            limits: Amounts::new("500m", "256Mi", "256Mi"),
            runtime_class: None,
            host_users: true,
        }
    }
}

/// Amounts of what a container has, as Kubernetes writes quantities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// CPUs, for example `500m`.
    pub cpu: String,
    /// Memory, for example `256Mi`; files in a script's work directory are part of it.
    pub memory: String,
    /// Disk, for example `256Mi`: unpacked packages and logs.
    pub ephemeral_storage: String,
}

impl Amounts {
    fn new(cpu: &str, memory: &str, ephemeral_storage: &str) -> Self {
        Self {
            cpu: cpu.to_owned(),
            memory: memory.to_owned(),
            ephemeral_storage: ephemeral_storage.to_owned(),
        }
    }

    /// Each amount under the name that Kubernetes has for it.
    pub fn named(&self) -> [(&'static str, &str); 3] {
        [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("ephemeral-storage", &self.ephemeral_storage),
        ]
    }
}

/// Amounts that do not read as such.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} names no amounts; each of the three once, as in cpu=500m,memory=256Mi,ephemeral-storage=256Mi")]
pub struct AmountsError(String);

impl FromStr for Amounts {
    type Err = AmountsError;

    /// Reads `cpu=…,memory=…,ephemeral-storage=…`, in any order.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut amounts = Self::new("", "", "");
        for entry in text.split(',') {
            let amount = match entry.split_once('=') {
                Some(("cpu", amount)) => (&mut amounts.cpu, amount),
                Some(("memory", amount)) => (&mut amounts.memory, amount),
                Some(("ephemeral-storage", amount)) => (&mut amounts.ephemeral_storage, amount),
                _ => return Err(AmountsError(text.to_owned())),
            };
            let (field, amount) = amount;
            let quantity = amount.starts_with(|first: char| first.is_ascii_digit())
                && amount.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
            if !field.is_empty() || !quantity {
                return Err(AmountsError(text.to_owned()));
            }
            amount.clone_into(field);
        }
        let complete = amounts.named().iter().all(|(_, amount)| !amount.is_empty());
        complete.then_some(amounts).ok_or_else(|| AmountsError(text.to_owned()))
    }
}

impl fmt::Display for Amounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [cpu, memory, disk] = self.named().map(|(name, amount)| format!("{name}={amount}"));
        write!(out, "{cpu},{memory},{disk}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written() {
        let limits = Shape::new("python").limits;
        assert_eq!(limits.to_string(), "cpu=500m,memory=256Mi,ephemeral-storage=256Mi");
        assert_eq!(limits.to_string().parse(), Ok(limits));
        for wrong in [
            "",
            "cpu=1",
            "cpu=1,memory=1Gi",
            "cpu=1,memory=1Gi,ephemeral-storage=",
            "cpu=1,memory=1Gi,ephemeral-storage=-1",
            "cpu=1,cpu=2,memory=1Gi,ephemeral-storage=1Gi",
            "cpu=1,memory=1Gi,ephemeral-storage=1Gi,nvidia.com/gpu=1",
            "cpu:1,memory:1Gi,ephemeral-storage:1Gi",
        ] {
            let error = wrong.parse::<Amounts>().unwrap_err().to_string();
            assert!(error.contains("cpu=500m"), "{error}");
        }
    }
}
