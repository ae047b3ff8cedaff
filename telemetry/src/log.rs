//! The log of a process: one line an event, on one of its standard streams.

use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, ParseError, Targets},
    fmt::writer::BoxMakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{LogArgs, LogFormat};

/// A library that logs as an error whatever keeps an MCP server from answering. Its users say so themselves.
const QUIET: &str = "rmcp";

/// Target of lines that a log has whatever its level is: who did what.
pub const AUDIT: &str = "audit";

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output, of a process whose log is what it prints.
    Stdout,
    /// Standard error, of a process that prints something else.
    Stderr,
}

/// Reads levels, those of [`QUIET`] being off unless they are named, and [`AUDIT`] always on.
pub(crate) fn levels(text: &str) -> Result<Targets, ParseError> {
    let asked: Targets = text.parse()?;
    let quiet = Targets::new().with_target(QUIET, LevelFilter::OFF);
    let default = asked.default_level();
    let levels = quiet.with_targets(asked).with_target(AUDIT, LevelFilter::INFO);
    Ok(match default {
        Some(level) => levels.with_default(level),
        None => levels,
    })
}

/// Starts the log of this process.
pub fn start_log(args: &LogArgs, to: LogTo) {
    let writer = match to {
        LogTo::Stdout => BoxMakeWriter::new(std::io::stdout),
        LogTo::Stderr => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry();
    let levels = args.log_level.clone();
    match args.log_format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            registry.with(lines.with_filter(levels)).init();
        }
        LogFormat::Text => registry.with(lines.with_filter(levels)).init(),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter as Level;

    use super::*;

    #[test]
    fn t16_no_level_leaves_an_audit_record_out() {
        for text in ["error", "off", "error,audit=off", "rockbot_llm=debug"] {
            let levels = levels(text).unwrap();
            assert!(levels.would_enable(AUDIT, &tracing::Level::INFO), "{text}");
        }
    }

    #[test]
    fn a_noisy_library_is_off_unless_it_is_named() {
        for (text, own, noisy) in [
            ("info", true, false),
            ("warn,rmcp=info", false, true),
            ("rmcp=debug,rockbot_llm=info", true, true),
        ] {
            let levels = levels(text).unwrap();
            assert_eq!(levels.would_enable("rockbot_llm", &tracing::Level::INFO), own, "{text}");
            assert_eq!(
                levels.would_enable("rmcp::service", &tracing::Level::INFO),
                noisy,
                "{text}"
            );
        }
        assert_eq!(levels("warn").unwrap().default_level(), Some(Level::WARN));
        assert!(levels("info,rmcp=loud").is_err());
    }
}
