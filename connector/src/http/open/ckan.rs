//! The parameters of CKAN's catalogue endpoint (ckanext-dcat): `page`, `modified_since`, `q`, `fq` and `profiles`. Ours is
//! `after`, which a link to a next page carries.

use catalog::Filter;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Wanted;

/// As they were asked.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Parameters {
    page: Option<usize>,
    after: Option<String>,
    modified_since: Option<String>,
    q: Option<String>,
    fq: Option<String>,
    profiles: Option<String>,
}

impl Parameters {
    /// What they mean.
    ///
    /// # Errors
    /// One of them says something that this node does not understand: then a shorter list would be wrong.
    pub(super) fn read(&self) -> Result<Wanted, String> {
        if let Some(profiles) = &self.profiles
            && let Some(other) =
                profiles.split(',').map(str::trim).find(|one| !one.starts_with("euro_dcat_ap"))
        {
            return Err(format!(
                "profiles: `{other}` is not served; the catalogue is DCAT-AP 3 (euro_dcat_ap_3)"
            ));
        }
        let since = self.modified_since.as_deref().map(instant).transpose()?;
        let mut terms = Vec::new();
        // CKAN's way to ask for everything.
        if let Some(words) = self.q.as_deref().filter(|words| !["", "*:*"].contains(&words.trim())) {
            terms.push(json!({"text": words}));
        }
        for (field, value) in self.fq.as_deref().map(parts).transpose()?.into_iter().flatten() {
            terms.push(term(&field, &value)?);
        }
        let mut kept = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("modified_since", &self.modified_since),
            ("q", &self.q),
            ("fq", &self.fq),
            ("profiles", &self.profiles),
        ] {
            if let Some(value) = value {
                kept.append_pair(name, value);
            }
        }
        let kept = kept.finish();
        let filter = Filter::parse(&terms)?;
        let kept = if kept.is_empty() { kept } else { format!("{kept}&") };
        Ok(Wanted { number: self.page.unwrap_or(1), after: self.after.clone(), filter, since, kept })
    }
}

/// A day or a time, of UTC where it does not say.
fn instant(text: &str) -> Result<Timestamp, String> {
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).map(|at| at.timestamp());
    let day = || text.parse::<Date>().map(|day| day.at(0, 0, 0, 0));
    let read =
        text.parse::<Timestamp>().or_else(|_| text.parse::<DateTime>().or_else(|_| day()).and_then(utc));
    read.map_err(|_| format!("modified_since: `{text}` is no day and no time such as 2026-11-25T12:00:00Z"))
}

/// `field:value` and `field:"some value"`, with blanks, `+` or AND between them.
fn parts(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || format!("fq: `{text}` is not understood; use `field:value` or `field:\"some value\"`");
    let mut parts = Vec::new();
    let mut left = text.trim_start();
    while !left.is_empty() {
        left = left.strip_prefix("AND ").unwrap_or(left).trim_start_matches(['+', ' ']);
        let (field, rest) = left.split_once(':').ok_or_else(wrong)?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => rest.split_once('"').ok_or_else(wrong)?,
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        if value.is_empty() || !field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(wrong());
        }
        parts.push((field.to_owned(), value.to_owned()));
        left = rest.trim_start();
    }
    Ok(parts)
}

/// CKAN's field as a member of the catalog's filter.
fn term(field: &str, value: &str) -> Result<Value, String> {
    let member = match field {
        "tags" => "keyword",
        "organization" | "publisher" => "publisher",
        "license_id" => "license",
        // CKAN writes `CSV` where others write `text/csv`; the catalogue understands both.
        "res_format" => "format",
        "theme" => "theme",
        _ => {
            let known = "tags, organization, publisher, license_id, res_format, theme";
            return Err(format!("fq: the field `{field}` is not known; these are: {known}"));
        }
    };
    Ok(json!({member: value}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fq: &str) -> Result<Wanted, String> {
        Parameters { fq: Some(fq.to_owned()), ..Parameters::default() }.read()
    }

    #[test]
    fn parameters_are_understood_or_refused() {
        assert_eq!(
            parts("tags:air AND organization:\"City of A\" +res_format:CSV").unwrap(),
            [("tags", "air"), ("organization", "City of A"), ("res_format", "CSV")]
                .map(|(field, value)| (field.to_owned(), value.to_owned()))
        );
        assert_eq!(term("res_format", "CSV").unwrap(), json!({"format": "CSV"}));
        for wrong in ["tags", "tags:", "colour:red", "tags:\"a", "-tags:air"] {
            assert!(asked(wrong).unwrap_err().starts_with("fq:"), "{wrong}");
        }
        assert_eq!(asked("tags:air").unwrap().kept, "fq=tags%3Aair&");
        let plain = Parameters { q: Some("*:*".to_owned()), ..Parameters::default() }.read().unwrap();
        assert!(plain.filter.is_empty() && plain.number == 1);
        for (since, second) in
            [("1970-01-02", 86400), ("1970-01-01T00:01:00", 60), ("1970-01-01T00:01:00Z", 60)]
        {
            assert_eq!(instant(since).unwrap().as_second(), second);
        }
        assert!(instant("yesterday").unwrap_err().starts_with("modified_since:"));
        let schema = Parameters { profiles: Some("schemaorg".to_owned()), ..Parameters::default() };
        assert!(schema.read().unwrap_err().starts_with("profiles:"));
    }
}
