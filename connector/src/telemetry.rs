//! Log lines on standard error, and errors with all their causes.

use std::error::Error;
use std::fmt::Debug;
use std::io::{IsTerminal as _, Write};

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::config::{Log, LogFormat};
use crate::shown;

/// Starts logging; once, at start. The variable `CONCORDAT_LOG` overrides the configured level.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_from_env("CONCORDAT_LOG")
        .or_else(|_| EnvFilter::try_new(&log.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that cannot be written, on a full disk for example, must not end whoever writes to it: the notice of it would go
    // the same way, and panic.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_ansi(is_coloured());
    // A second start keeps the first.
    let _ = match log.format {
        LogFormat::Json => {
            builder.json().with_span_list(false).with_writer(|| AsJson(std::io::stderr())).try_init()
        }
        LogFormat::Text => {
            builder.with_target(false).with_writer(std::io::stderr).fmt_fields(plain_fields()).try_init()
        }
    };
    log_panics();
}

/// Colours are for terminals, and for whoever does not refuse them (no-color.org).
fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Panics are lines of the log as well: what collects it finds them.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("without a message");
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            tracing::error!(place, trace = %trace, "a thread panicked: {text}");
        } else {
            tracing::error!(place, "a thread panicked: {text}");
        }
    }));
}

/// Fields and message as they are always written, each on one line: what others wrote begins no line of its own, and does
/// nothing to the terminal that shows it.
fn plain_fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", shown::line(&text)),
            name => write!(writer, "{}={}", name.trim_start_matches("r#"), shown::line(&text)),
        }
    })
    .delimited(" ")
}

/// Lines of JSON, with what terminals act upon written as escapes.
struct AsJson<W>(W);

impl<W: Write> Write for AsJson<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Each event comes as a whole.
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(shown::json(text).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// An error and its causes as one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool) -> String {
        let kept = Kept::default();
        let to = kept.clone();
        let log = || {
            let evil = "x\n2026-01-01 ERROR forged\u{1b}[2J\u{9b}1m\u{202e}y\r";
            let error = std::io::Error::other(evil);
            tracing::info!(text = evil, shown = %evil, %error, debug = ?evil, "said: {evil}");
        };
        let builder = tracing_subscriber::fmt().with_ansi(false);
        if json {
            let subscriber = builder.json().with_writer(move || AsJson(to.clone())).finish();
            tracing::subscriber::with_default(subscriber, log);
        } else {
            let subscriber = builder.with_writer(move || to.clone()).fmt_fields(plain_fields()).finish();
            tracing::subscriber::with_default(subscriber, log);
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_others_wrote_is_one_line_of_the_log() {
        let text = logged(false);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert_eq!(text.matches("forged").count(), 5, "{text}");
        assert!(
            !text.trim_end_matches('\n').contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{text:?}"
        );
        let json = logged(true);
        assert_eq!(json.matches('\n').count(), 1, "{json}");
        assert!(
            !json.trim_end_matches('\n').contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{json:?}"
        );
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(
            told["fields"]["shown"].as_str().unwrap().contains("\u{202e}y\r"),
            "a program reads it as it was"
        );
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .json()
            .with_writer(move || AsJson(to.clone()))
            .finish();
        let usual = std::panic::take_hook();
        tracing::subscriber::with_default(subscriber, || {
            log_panics();
            std::panic::catch_unwind(|| panic!("a bug\nin two lines")).unwrap_err();
        });
        std::panic::set_hook(usual);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["level"], "ERROR");
        assert_eq!(told["fields"]["message"], "a thread panicked: a bug\nin two lines");
        assert!(told["fields"]["place"].as_str().unwrap().contains("telemetry.rs"), "{told}");
    }
}
