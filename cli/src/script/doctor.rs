//! `rockbot script doctor`: which walls hold on this machine or on a cluster, in words.

use std::{fmt::Write, process::ExitCode, time::Duration};

use anyhow::Context;
use rockbot_scripts_local::{Inspection, LocalRunner};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    args::{OutputFormat, ScriptDoctorArgs},
    style::Style,
};

/// The wall around a pod, which its manager's canary tries.
const NETWORK_POLICY: &str = "network_policy";
/// The wall around the namespace of pods, which their manager tries.
const ADMISSION_POLICY: &str = "admission_policy";
/// Longest wait for a manager's status.
const STATUS_DEADLINE: Duration = Duration::from_secs(10);

/// What there is to say about a wall.
struct Words {
    /// As the supervisor calls it.
    name: &'static str,
    stops: &'static str,
    remedy: &'static str,
}

/// The walls of one machine, the strongest first.
const OF_A_MACHINE: [Words; 7] = [
    Words {
        name: "seccomp",
        stops: "network of every kind, io_uring, namespaces, mounts, debuggers, kernel modules",
        remedy: "needs Linux on x86_64 or aarch64, a kernel with CONFIG_SECCOMP_FILTER, and a 64-bit python3",
    },
    Words {
        name: "files",
        stops: "reading this machine's files, and writing anywhere but the script's own directory",
        remedy: "needs Landlock: Linux 6.2 or newer with `landlock` in /sys/kernel/security/lsm (boot with lsm=landlock,…)",
    },
    Words {
        name: "signals",
        stops: "ending or disturbing this user's other processes",
        remedy: "needs Landlock with scopes: Linux 6.12 or newer",
    },
    Words {
        name: "no_new_privs",
        stops: "gaining rights through setuid programs such as sudo",
        remedy: "needs Linux 3.5 or newer; a container runtime or gVisor-like kernel may lack it",
    },
    Words {
        name: "non_dumpable",
        stops: "reading the supervisor's memory, environment and descriptors",
        remedy: "run rockbot as an ordinary user on Linux, not under a debugger",
    },
    Words {
        name: "capabilities",
        stops: "what only root may do, when rockbot itself runs as root",
        remedy: "run rockbot as an ordinary user",
    },
    Words {
        name: "rlimits",
        stops: "fork bombs, memory beyond 4 GiB a process, files beyond 256 MiB, core dumps",
        remedy: "see `ulimit -Ha`: no limit may be one that cannot be lowered",
    },
];

/// The walls inside and around a script's pod, the strongest first.
const OF_A_POD: [Words; 8] = [
    Words {
        name: NETWORK_POLICY,
        stops: "network of every kind, whatever happens inside the pod",
        remedy: "the network plugin ignores NetworkPolicies or applies them late: see docs/operations.md",
    },
    Words {
        name: ADMISSION_POLICY,
        stops: "every pod in the namespace of scripts but the scripts manager's own, whoever makes it",
        remedy: "scripts.admissionPolicy.enabled is false, or no pod was made yet",
    },
    Words {
        name: "seccomp",
        stops: "network of every kind, io_uring, namespaces, mounts, debuggers, kernel modules",
        remedy: "needs nodes with Linux on x86_64 or aarch64, a kernel with CONFIG_SECCOMP_FILTER, and an image with a 64-bit python3",
    },
    Words {
        name: "files",
        stops: "writing anywhere but the script's own directories and /dev/shm; reading /sys and /run",
        remedy: "needs nodes with Landlock: Linux 5.13 or newer with `landlock` in /sys/kernel/security/lsm; gVisor has none",
    },
    Words {
        name: "no_new_privs",
        stops: "gaining rights through setuid programs of the image",
        remedy: "needs nodes with Linux 3.5 or newer; the kernel of scripts.runtimeClassName may lack it",
    },
    Words {
        name: "non_dumpable",
        stops: "reading the supervisor's memory, environment and descriptors",
        remedy: "needs nodes with Linux; the kernel of scripts.runtimeClassName may lack it",
    },
    Words {
        name: "capabilities",
        stops: "what only root may do",
        remedy: "script pods ask for none: see what the container runtime or an admission webhook adds to them",
    },
    Words {
        name: "rlimits",
        stops: "more than 128 processes, files beyond 256 MiB, core dumps",
        remedy: "see the limits of the nodes' container runtime: none may be one that cannot be lowered",
    },
];

/// Where scripts run.
struct Place {
    name: String,
    inspection: Inspection,
    words: &'static [Words],
    explanation: &'static str,
}

/// What a wall is worth here.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    name: &'a str,
    holds: bool,
    stops: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    /// Python's version, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    python: Option<&'a str>,
    /// Whether every wall holds.
    strict: bool,
    walls: Vec<Finding<'a>>,
}

/// The parts of a manager's `GET /v1/status` that are about walls.
#[derive(Debug, Deserialize)]
struct Status {
    walls: Walls,
    canary: Canary,
}

#[derive(Debug, Deserialize)]
struct Walls {
    held: Vec<String>,
    missing: Vec<String>,
    admission_policy: bool,
}

#[derive(Debug, Deserialize)]
struct Canary {
    answers: bool,
    blocked: u64,
    reached: u64,
}

/// Asks a sandbox that it starts, or the manager that has started some.
pub(crate) async fn run(args: ScriptDoctorArgs) -> anyhow::Result<ExitCode> {
    let place = match &args.url {
        None => Place {
            name: format!("this machine ({})", std::env::consts::ARCH),
            inspection: LocalRunner::single_use()?.inspect().await?,
            words: &OF_A_MACHINE,
            explanation: HERE,
        },
        Some(url) => Place {
            name: format!("the cluster behind {url}"),
            inspection: of_cluster(ask(url).await?),
            words: &OF_A_POD,
            explanation: THERE,
        },
    };
    let findings = findings(&place);
    match args.output {
        OutputFormat::Json => println!("{}", serde_json::to_string(&findings)?),
        OutputFormat::Text => print!("{}", text(&place, &findings, Style::of(&std::io::stdout()))),
    }
    Ok(if findings.strict {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the walls of one machine are not.
const HERE: &str = "Where a wall is missing, scripts are refused on this machine; a cluster can run them all the same. A pod adds what\n\
                    one machine cannot: limits of memory, disk and processes by the kernel, and a network policy around it.";
/// Where to read on.
const THERE: &str =
    "What the scripts manager does about a missing wall: scripts.walls and scripts.requireNetworkPolicy of the chart.";

async fn ask(manager: &Url) -> anyhow::Result<Status> {
    let url = manager.join("/v1/status")?;
    let http = reqwest::Client::builder().timeout(STATUS_DEADLINE).build()?;
    let response = http.get(url.clone()).send().await;
    let response = response.with_context(|| format!("cannot reach {url}; is a port-forward running?"))?;
    let status = response.error_for_status()?.json().await;
    status.with_context(|| format!("{url} is not the status of a scripts manager"))
}

/// What the manager's pods told it, and what it tried itself. Nothing is proved by pods that did not reach a canary that
/// does not answer.
fn of_cluster(Status { walls, canary }: Status) -> Inspection {
    let Walls {
        mut held,
        mut missing,
        admission_policy,
    } = walls;
    let enforced = canary.answers && canary.blocked > 0 && canary.reached == 0;
    for (name, holds) in [(NETWORK_POLICY, enforced), (ADMISSION_POLICY, admission_policy)] {
        let list = if holds { &mut held } else { &mut missing };
        list.push(name.to_owned());
    }
    Inspection {
        python: String::new(),
        held,
        missing,
    }
}

fn findings(place: &Place) -> Findings<'_> {
    let Inspection { python, held, missing } = &place.inspection;
    let all = held
        .iter()
        .map(|name| (name, true))
        .chain(missing.iter().map(|name| (name, false)));
    let mut walls: Vec<_> = all.map(|(name, holds)| finding(place.words, name, holds)).collect();
    let rank = |wall: &Finding<'_>| place.words.iter().position(|words| words.name == wall.name);
    walls.sort_by_key(|wall| (wall.holds, rank(wall).unwrap_or(place.words.len())));
    Findings {
        python: Some(python.as_str()).filter(|python| !python.is_empty()),
        strict: missing.is_empty(),
        walls,
    }
}

fn finding<'a>(words: &'static [Words], name: &'a str, holds: bool) -> Finding<'a> {
    let words = words.iter().find(|words| words.name == name);
    Finding {
        name,
        holds,
        stops: words.map_or("", |words| words.stops),
        remedy: words.filter(|_| !holds).map(|words| words.remedy),
    }
}

fn text(place: &Place, findings: &Findings<'_>, style: Style) -> String {
    let python = findings
        .python
        .map(|python| format!(", with Python {python}"))
        .unwrap_or_default();
    let mut text = format!("Sandbox of {}{python}:\n\n", place.name);
    for wall in &findings.walls {
        let (mark, verb) = if wall.holds {
            (style.good("holds  "), "stops")
        } else {
            (style.bad("MISSING"), "would stop")
        };
        let name = style.bold(&format!("{:<16}", wall.name));
        let _ = writeln!(text, "  {mark}  {name}  {verb} {}", wall.stops);
        if let Some(remedy) = wall.remedy {
            let _ = writeln!(text, "  {:<7}  {:<16}  → {remedy}", "", "");
        }
    }
    let verdict = if findings.strict {
        "Every wall holds."
    } else {
        "A wall is missing."
    };
    let _ = writeln!(text, "\n{verdict}\n{}", place.explanation);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(held: &[&str], missing: &[&str]) -> Place {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        Place {
            name: "this machine".to_owned(),
            inspection: Inspection {
                python: "3.12.1".to_owned(),
                held: names(held),
                missing: names(missing),
            },
            words: &OF_A_MACHINE,
            explanation: HERE,
        }
    }

    #[test]
    fn what_is_missing_comes_first_and_says_what_to_do() {
        let place = here(&["no_new_privs", "seccomp"], &["files"]);
        let findings = findings(&place);
        let names: Vec<_> = findings.walls.iter().map(|wall| wall.name).collect();
        assert_eq!(names, ["files", "seccomp", "no_new_privs"]);
        assert!(!findings.strict);
        let text = text(&place, &findings, Style::of(&std::fs::File::open("/dev/null").unwrap()));
        assert!(text.contains("MISSING  files"), "{text}");
        assert!(text.contains("→ needs Landlock"), "{text}");
        assert_eq!(text.matches('→').count(), 1, "{text}");
    }

    #[test]
    fn a_machine_without_a_filter_is_told_which_ones_have_one() {
        let remedy = finding(&OF_A_MACHINE, "seccomp", false).remedy.unwrap_or_default();
        assert!(remedy.contains("x86_64 or aarch64"), "{remedy}");
        assert_eq!(finding(&OF_A_MACHINE, "seccomp", true).remedy, None);
    }

    #[test]
    fn policies_hold_only_where_they_were_seen_to() {
        let missing = |answers: bool, blocked: u64, reached: u64, admission_policy: bool| {
            let status = serde_json::json!({
                "parked": 3,
                "walls": {
                    "mode": "strict", "held": ["seccomp"], "missing": [], "admission_policy": admission_policy,
                },
                "canary": { "answers": answers, "blocked": blocked, "reached": reached, "unknown": 0 },
            });
            of_cluster(serde_json::from_value(status).unwrap()).missing
        };
        assert!(missing(true, 3, 0, true).is_empty());
        assert_eq!(missing(true, 3, 1, true), [NETWORK_POLICY], "one got through");
        assert_eq!(missing(false, 3, 0, true), [NETWORK_POLICY], "the canary is dead");
        assert_eq!(missing(true, 0, 0, true), [NETWORK_POLICY], "none has tried");
        assert_eq!(missing(true, 3, 0, false), [ADMISSION_POLICY], "no pod was refused");
    }
}
