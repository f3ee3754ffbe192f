//! What others wrote, where people read it: in a terminal and in the log. It stays text: nothing in it moves the cursor,
//! begins a line, or turns the direction of what is read.

use std::borrow::Cow;

/// A text for one line: line ends are shown as `\n` as well.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, acts)
}

/// A text of lines, which stay lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && acts(c))
}

/// A text within a JSON document, with what terminals act upon written as JSON writes it: the document says the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Below U+0080, JSON leaves none but DEL.
    let raw = |c: char| c != '\n' && c > '~' && acts(c);
    if !text.contains(raw) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if raw(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A cell of a table that spreadsheets open: what would be a formula there is text; numbers stay numbers.
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    let begins = text.trim_start_matches(|c: char| c.is_whitespace() || c.is_control()).chars().next();
    let is_formula =
        begins.is_some_and(|first| "=+-@＝＋－＠".contains(first)) || text.starts_with(['\t', '\r', '\n']);
    if is_formula && !is_number(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let fine = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match digits.split_once('.') {
        Some((whole, rest)) => fine(whole) && fine(rest),
        None => fine(digits),
    }
}

fn escaped(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Whether a character does something instead of being seen: controls (C0, DEL, C1), separators of lines, marks, embeddings,
/// overrides and isolates of direction (Unicode Standard Annex 9), and tags.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown_and_nothing_else_is_changed() {
        for fine in ["", "Zürich – 東京 \"air\" \\n", "שלום", "👩‍🔬", "a/b c"] {
            assert_eq!(line(fine), fine);
        }
        assert_eq!(line("\u{1b}[2J\u{9b}1m\u{7f}"), "\\u{1b}[2J\\u{9b}1m\\u{7f}");
        assert_eq!(line("a\r\nb\tc"), "a\\r\\nb\\tc");
        assert_eq!(line("exe.\u{202e}fdp"), "exe.\\u{202e}fdp");
        assert_eq!(lines("a\nb\u{1b}c\rd"), "a\nb\\u{1b}c\\rd");
    }

    #[test]
    fn a_json_document_says_the_same() {
        let value = serde_json::json!({"text": "a\u{1b}\u{9b}\u{202e}\u{e0041}\n\u{7f}ü"});
        let text = value.to_string();
        let shown = json(&text);
        assert!(shown.is_ascii() || shown.contains('ü'));
        assert!(!shown.contains(|c: char| c != '\n' && acts(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn a_cell_starts_no_formula() {
        for text in [
            "=1+1",
            "+1+1",
            "-1+1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            " =1",
            "=cmd|' /C calc'!A0",
            "-",
            "＝1",
            "-1e5",
            "+",
        ] {
            assert_eq!(cell(text), format!("'{text}"), "{text:?}");
        }
        for text in ["12.50", "-12.50", "+3", "-0", "did:web:a", "a=b", "", "2026-01-01"] {
            assert_eq!(cell(text), text);
        }
    }
}
