//! Frames as a supervisor writes them.

pub(crate) const READY: &[u8] =
    br#"{"protocol": 2, "python": "3.12.1", "walls": ["seccomp"], "missing": ["files"], "canary": "blocked"}"#;

pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend(payload);
    bytes
}

pub(crate) fn exit(stdout_bytes: u64, files_bytes: u64) -> Vec<u8> {
    let payload = format!(
        r#"{{"code": 3, "signal": null, "timed_out": false, "terminated": false, "truncated": true, "oom_killed": false,
            "duration_ms": 5, "cpu_ms": 4, "max_rss_kb": 9000, "stdout_bytes": {stdout_bytes}, "stderr_bytes": 0,
            "files_bytes": {files_bytes}, "files_dropped": [{{"name": "p", "reason": "a pipe"}}], "from_a_later_version": 1}}"#
    );
    frame(0x85, payload.as_bytes())
}
