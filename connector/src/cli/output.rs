//! What people and machines read on standard output.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::shown;

/// Where a command writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    silent: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json, silent: false }
    }

    /// Writes nothing: for commands that are parts of another.
    pub(super) const fn silent() -> Self {
        Self { json: false, silent: true }
    }

    /// Whether what is written is for machines.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// A line for people; nothing under `--json`.
    pub(super) fn say(self, text: &str) {
        if !self.json && !self.silent {
            write_line(text);
        }
    }

    /// The command's result: JSON for machines, `human` for people. `human` runs in
    /// [`for_people`].
    pub(super) fn result(self, value: &Value, human: impl FnOnce() -> String) {
        if self.silent {
            return;
        }
        if self.json {
            write_raw(&format!("{value:#}"));
        } else {
            let text = for_people(human);
            if !text.is_empty() {
                write_line(&text);
            }
        }
    }

    /// An error, on standard error.
    pub(super) fn error(self, text: &str) {
        let mut out = std::io::stderr().lock();
        // With standard error closed there is nobody to tell.
        let _ = if self.json {
            writeln!(out, "{}", serde_json::json!({"error": text}))
        } else {
            // A line that somebody else began stands apart from ours.
            writeln!(out, "concordat: {}", shown::lines(text).replace('\n', "\n  "))
        };
    }

    /// A progress bar of things on standard error, with the time that is left; hidden where nobody looks.
    pub(super) fn count_bar(self, label: &str) -> ProgressBar {
        let bar = ProgressBar::new(0);
        let look = "{msg} [{bar:30}] {pos}/{len} {eta} left";
        bar.set_style(ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(label.to_owned());
        self.for_who_watches(bar)
    }

    /// A sign on standard error that something goes on of which nobody knows how much is left, with the time since its begin.
    pub(super) fn wait_bar(self, label: &str) -> ProgressBar {
        let bar = ProgressBar::new_spinner();
        let look = ProgressStyle::with_template("{msg} {spinner} {elapsed}");
        bar.set_style(look.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(label.to_owned());
        let bar = self.for_who_watches(bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A progress bar of bytes on standard error, hidden where nobody looks.
    pub(super) fn bytes_bar(self, total: Option<u64>, label: &str) -> ProgressBar {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let look = if total.is_some() {
            "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "{msg} {spinner} {bytes} {bytes_per_sec}"
        };
        bar.set_style(ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(label.to_owned());
        self.for_who_watches(bar)
    }

    /// A bar is for people who watch: neither programs nor files get one.
    fn for_who_watches(self, bar: ProgressBar) -> ProgressBar {
        if self.json || self.silent || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar
    }
}

thread_local! {
    /// Whether what is read out of documents goes to people.
    static FOR_PEOPLE: Cell<bool> = const { Cell::new(false) };
}

/// What is said to people: while `human` runs, members of documents are read as text of one line ([`text`], [`plain`]).
pub(super) fn for_people<T>(human: impl FnOnce() -> T) -> T {
    FOR_PEOPLE.set(true);
    let said = human();
    FOR_PEOPLE.set(false);
    said
}

/// A text for people: whatever others wrote into it does nothing to their terminal.
fn write_line(text: &str) {
    write_raw(&shown::lines(text));
}

/// A closed pipe is not worth a panic.
fn write_raw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A table with a header; "nothing" where it has no rows.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "nothing to show".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(160);
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| shown::lines(cell)));
    }
    table.to_string()
}

/// `name: value` lines.
pub(super) fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = pairs.iter().filter(|(_, value)| !value.is_empty());
    // The lines of a value stand below it: none begins where names do.
    let below = format!("\n{:width$}  ", "");
    lines
        .map(|(name, value)| format!("{name:width$}  {}", shown::lines(value).replace('\n', &below)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A member of a document as text; empty where it is missing. Where it is shown to people ([`Output::result`]), it is one
/// line, whatever others wrote into it.
pub(super) fn text(document: &Value, name: &str) -> String {
    match document.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(&other.to_string()),
    }
}

/// A text out of a document, as [`text`].
pub(super) fn plain(text: &str) -> String {
    if FOR_PEOPLE.get() { shown::line(text).into_owned() } else { text.to_owned() }
}

/// A whole document for people, who may write it to a file: JSON, with what acts on terminals as JSON escapes it.
pub(super) fn document(document: &Value) -> String {
    shown::json(&format!("{document:#}")).into_owned()
}

/// Milliseconds since 1970 as a readable time.
pub(super) fn time(document: &Value, name: &str) -> String {
    let millis = document.get(name).and_then(Value::as_i64);
    millis
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map(short_time)
        .unwrap_or_default()
}

/// Seconds since 1970 as a readable time.
pub(super) fn time_of_seconds(document: &Value, name: &str) -> String {
    let seconds = document.get(name).and_then(Value::as_i64);
    seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).map(short_time).unwrap_or_default()
}

/// To the second, UTC.
pub(super) fn short_time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// Milliseconds with one decimal.
pub(super) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_for_people_is_json_that_says_the_same() {
        let value = serde_json::json!({"a\u{202e}": ["\u{1b}\u{9b}\u{e0041}\n\u{7f}ü"]});
        let written = document(&value);
        // Nothing is left for what escapes lines to break.
        assert_eq!(shown::lines(&written), written);
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
    }
}
