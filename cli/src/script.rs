//! `rockbot script run`: one script, in the sandbox of this machine, with its own exit code.

use std::{
    io::{Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use rockbot_scripts_api::{ScriptRequest, ScriptResult, ScriptRunner};
use rockbot_scripts_local::LocalRunner;
use serde_json::Value;

use crate::args::{OutputFormat, ScriptRunArgs};

/// Exit code when the script could not be run at all; docker and env use it for the same.
const NOT_RUN: u8 = 125;

/// Runs the script; the result is the process's exit code.
pub(crate) async fn run(args: ScriptRunArgs) -> ExitCode {
    match try_run(&args).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(NOT_RUN)
        }
    }
}

async fn try_run(args: &ScriptRunArgs) -> anyhow::Result<ExitCode> {
    let request = ScriptRequest {
        script: read_script(&args.file)?,
        input_data: args.input.as_deref().map(parse_input).transpose()?,
        timeout_seconds: args.timeout,
    };
    request.validate()?;
    let result = LocalRunner::single_use()?.run(request).await?;
    print(&result, args.output)?;
    // Codes beyond a byte do not exist for a process; the sandbox reports signals as 128 + n already.
    Ok(ExitCode::from(u8::try_from(result.exit_code).unwrap_or(1)))
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

fn parse_input(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).context("--input: not JSON; a plain string needs quotes of its own: --input '\"text\"'")
}

fn print(result: &ScriptResult, format: OutputFormat) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match format {
        OutputFormat::Json => writeln!(stdout, "{}", serde_json::to_string(result)?)?,
        OutputFormat::Text => {
            stdout.write_all(result.stdout.as_bytes())?;
            stdout.flush()?;
            let mut stderr = std::io::stderr().lock();
            stderr.write_all(result.stderr.as_bytes())?;
            if result.timed_out {
                writeln!(stderr, "rockbot: the script was ended after its timeout")?;
            }
            if result.truncated {
                writeln!(stderr, "rockbot: output beyond the cap was dropped")?;
            }
        }
    }
    stdout.flush()?;
    Ok(())
}
