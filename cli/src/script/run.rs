//! `rockbot script run`: one script, with its own output and exit code.

use std::{io::Read, path::Path, process::ExitCode};

use anyhow::Context;
use rockbot_scripts_api::{Client, ClientSettings, ScriptRequest, ScriptResult, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{NOT_RUN, output::Terminal, unless_interrupted};
use crate::{
    args::{OutputFormat, ScriptRunArgs},
    files,
};

/// Pieces of output that may wait for a slow terminal before the script waits, too.
const WAITING_OUTPUT: usize = 64;

/// Runs the script; the result is the process's exit code.
pub(crate) async fn run(args: ScriptRunArgs) -> ExitCode {
    unless_interrupted(try_run(&args)).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(NOT_RUN)
    })
}

async fn try_run(args: &ScriptRunArgs) -> anyhow::Result<ExitCode> {
    let request = ScriptRequest {
        script: read_script(&args.file)?,
        input_data: args.input.as_deref().map(read_input).transpose()?,
        timeout_seconds: args.timeout,
        pip_packages: args.packages.clone(),
    };
    request.validate()?;
    let runner = runner(args)?;
    let result = match args.output {
        OutputFormat::Json => {
            let result = runner.run(request).await?;
            println!("{}", serde_json::to_string(&result)?);
            result
        }
        OutputFormat::Text => {
            let result = run_on_terminal(&*runner, request).await?;
            remark(&result, args.output_dir.is_some());
            result
        }
    };
    if let Some(directory) = &args.output_dir {
        for file in &result.files {
            files::keep(directory, file)?;
        }
    }
    // Codes beyond a byte do not exist for a process; the sandbox reports signals as 128 + n already.
    Ok(ExitCode::from(u8::try_from(result.exit_code).unwrap_or(1)))
}

fn runner(args: &ScriptRunArgs) -> anyhow::Result<Box<dyn ScriptRunner>> {
    Ok(match (&args.url, &args.token_file) {
        (Some(url), Some(token_file)) => Box::new(Client::new(ClientSettings {
            url: url.clone(),
            token_file: token_file.clone(),
        })?),
        _ => Box::new(LocalRunner::single_use()?),
    })
}

/// Shows output as it comes. What cannot be shown ends the script.
async fn run_on_terminal(runner: &dyn ScriptRunner, request: ScriptRequest) -> anyhow::Result<ScriptResult> {
    let (output, mut chunks) = mpsc::channel(WAITING_OUTPUT);
    let mut terminal = Terminal::default();
    let run = async { anyhow::Ok(runner.run_streaming(request, output).await?) };
    let show = async {
        while let Some(chunk) = chunks.recv().await {
            terminal.show(&chunk)?;
        }
        anyhow::Ok(())
    };
    let (result, ()) = tokio::try_join!(run, show)?;
    terminal.finish(&result)?;
    Ok(result)
}

/// What a person has to know beside the script's own words.
fn remark(result: &ScriptResult, kept: bool) {
    let mut remarks = Vec::new();
    if result.timed_out {
        remarks.push("the script was ended after its timeout".to_owned());
    }
    if result.oom_killed {
        remarks.push("the script ran out of memory".to_owned());
    }
    if result.truncated {
        remarks.push("output beyond the cap was dropped".to_owned());
    }
    if !kept && !result.files.is_empty() {
        let names: Vec<_> = result.files.iter().map(files::describe).collect();
        remarks.push(format!(
            "the script left files, which --output-dir keeps: {}",
            names.join(", ")
        ));
    }
    for file in &result.files_dropped {
        remarks.push(format!("{} does not come back: {}", file.name, file.reason));
    }
    for remark in remarks {
        eprintln!("rockbot: {remark}");
    }
}

fn read_script(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut script = String::new();
        std::io::stdin()
            .read_to_string(&mut script)
            .context("cannot read the script from standard input")?;
        return Ok(script);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read the script {}", file.display()))
}

fn read_input(text: &str) -> anyhow::Result<Value> {
    let from_file;
    let json = match text.strip_prefix('@') {
        Some(file) => {
            from_file = std::fs::read_to_string(file).with_context(|| format!("--input: cannot read {file}"))?;
            &from_file
        }
        None => text,
    };
    serde_json::from_str(json).context("--input: not JSON; a plain string needs quotes of its own: --input '\"text\"'")
}
