//! What others wrote, where people read it: in a terminal and in the log. It stays text: nothing in it moves the cursor,
//! begins a line, or turns the direction of what is read.

use std::borrow::Cow;

/// A text for one line: line ends are shown as `\n` as well.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    written(text, acts, |c| c.escape_default().to_string())
}

/// A text of lines, which stay lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    written(text, |c| c != '\n' && acts(c), |c| c.escape_default().to_string())
}

/// A text within a JSON document, with what terminals act upon written as JSON writes it: the document says the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Below U+0080, JSON leaves none but DEL.
    written(text, |c| c > '~' && acts(c), trust::json_escape)
}

/// A text within an XML document, as [`json`].
#[must_use]
pub fn xml(text: &str) -> Cow<'_, str> {
    // XML cannot carry what acts below DEL, line ends and tabs apart.
    written(text, |c| c > '~' && acts(c), |c| format!("&#x{:x};", u32::from(c)))
}

/// A cell of a table that spreadsheets open: what would be a formula there is text; numbers stay numbers. A spreadsheet may
/// separate cells by something else than a comma, and then splits this one within its quotes.
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    for piece in text.split_inclusive(SEPARATORS) {
        if is_formula(piece.trim_end_matches(SEPARATORS)) {
            out.push('\'');
        }
        out.push_str(piece);
    }
    if text.starts_with(['\t', '\r', '\n']) {
        out.insert(0, '\'');
    }
    if out.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// What spreadsheets take for the end of a cell where they do not heed its quotes.
const SEPARATORS: [char; 5] = [';', '|', '\t', '\r', '\n'];

fn is_formula(piece: &str) -> bool {
    let before = |c: char| c.is_whitespace() || c.is_control() || c == '"';
    let begins = piece.trim_start_matches(before).chars().next();
    begins.is_some_and(|first| "=+-@＝＋－＠".contains(first)) && !is_number(piece)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let fine = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match digits.split_once('.') {
        Some((whole, rest)) => fine(whole) && fine(rest),
        None => fine(digits),
    }
}

/// A text with every character that `acts` written out.
fn written(text: &str, acts: impl Fn(char) -> bool, write: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) { out.push_str(&write(c)) } else { out.push(c) }
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
    fn an_xml_document_says_the_same() {
        assert_eq!(xml("<a>x\u{202e}\u{9b}ü\n</a>"), "<a>x&#x202e;&#x9b;ü\n</a>");
    }

    #[test]
    fn a_cell_starts_no_formula() {
        for text in ["=1+1", "+1+1", "-1+1", "@SUM(A1)", " =1", "=cmd|' /C calc'!A0", "-", "＝1", "-1e5", "+"]
        {
            assert_eq!(cell(text), format!("'{text}"), "{text:?}");
        }
        for (text, safe) in [
            ("x;=HYPERLINK(\"a\")", "x;'=HYPERLINK(\"a\")"),
            ("x; \"=1\"", "x;' \"=1\""),
            ("a|b\t@c", "a|b\t'@c"),
            ("a\r\n+1+1;-2", "a\r\n'+1+1;-2"),
            ("=1;=2", "'=1;'=2"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
        ] {
            assert_eq!(cell(text), safe, "{text:?}");
        }
        for text in [
            "a;b",
            "x; y = z",
            "a;-12.50",
            "12.50",
            "-12.50",
            "+3",
            "-0",
            "did:web:a",
            "a=b",
            "",
            "2026-01-01",
        ] {
            assert_eq!(cell(text), text);
        }
    }
}
