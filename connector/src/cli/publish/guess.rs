//! What a file tells of itself: size, checksum, columns, extent, period.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use catalog::extent::Extent;
use catalog::{Description, Form};
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ids::hex;
use dataplane::media_type_of;

/// Largest GeoJSON file that is read for its extent, in bytes.
const MAX_GEOJSON: u64 = 256 * 1024 * 1024;

/// Completes `description` with what the file at `path` tells; names what it added. Data that is said to change has no size
/// and no checksum for long, so these are left out then.
///
/// # Errors
/// The file cannot be read.
pub(super) fn complete(
    path: &Path,
    description: &mut Description,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut added = Vec::new();
    let form = &mut description.form;
    let media_type = form.media_type.get_or_insert_with(|| {
        let guessed = media_type_of(path).to_owned();
        added.push(("media-type", guessed.clone()));
        guessed
    });
    let (is_csv, is_geojson) = (media_type == "text/csv", media_type == "application/geo+json");
    if description.frequency.is_none() {
        measure(path, form, bar, &mut added)?;
    }
    if is_csv {
        let table = table(path).with_context(|| format!("reading {} as CSV", path.display()))?;
        if form.columns.is_empty() && !table.columns.is_empty() {
            added.push(("columns", table.columns.join(", ")));
            form.columns = table.columns;
        }
        if let (None, None, Some((first, last))) = (&description.from, &description.until, table.period) {
            added.push(("from", first.to_string()));
            added.push(("until", last.to_string()));
            description.from = Some(first.to_string());
            description.until = Some(last.to_string());
        }
    }
    if is_geojson && description.bbox.is_none() && path.metadata()?.len() <= MAX_GEOJSON {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let json = serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        if let Some(bbox) = extent(&json) {
            added.push(("bbox", bbox.map(|one| one.to_string()).join(",")));
            description.bbox = Some(bbox);
        }
    }
    Ok(added)
}

fn measure(
    path: &Path,
    form: &mut Form,
    bar: &ProgressBar,
    added: &mut Vec<(&'static str, String)>,
) -> anyhow::Result<()> {
    let opened = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    let mut file = bar.wrap_read(opened);
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        digest.update(read);
        size = size.saturating_add(u64::try_from(count)?);
    }
    bar.finish_and_clear();
    if form.byte_size.is_none() {
        added.push(("byte-size", size.to_string()));
        form.byte_size = Some(size);
    }
    if form.sha256.is_none() {
        let digest = hex(&digest.finalize());
        added.push(("sha256", digest.clone()));
        form.sha256 = Some(digest);
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Table {
    columns: Vec<String>,
    /// First and last day of the first column that holds times.
    period: Option<(Date, Date)>,
}

fn table(path: &Path) -> csv::Result<Table> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path)?;
    let columns: Vec<String> = reader.headers()?.iter().map(|name| name.trim().to_owned()).collect();
    // `None` once a column held something else than times.
    let mut times = vec![Some(Times::default()); columns.len()];
    let mut row = csv::StringRecord::new();
    let mut rows = 0_usize;
    while reader.read_record(&mut row)? {
        rows += 1;
        for (value, column) in row.iter().zip(&mut times) {
            let value = value.trim();
            if value.is_empty() {
                continue;
            }
            *column = column.and_then(|times| Some(times.with(day(value)?)));
        }
        if times.iter().all(Option::is_none) {
            break;
        }
    }
    // Empty values are no reason for doubt, unless most are.
    let sure = |times: Times| times.period.filter(|_| times.count.saturating_mul(2) >= rows);
    Ok(Table { columns, period: times.into_iter().flatten().find_map(sure) })
}

/// The times of a column: how many, and the first and the last day.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    count: usize,
    period: Option<(Date, Date)>,
}

impl Times {
    fn with(self, day: Date) -> Self {
        let (first, last) = self.period.unwrap_or((day, day));
        Self { count: self.count + 1, period: Some((first.min(day), last.max(day))) }
    }
}

/// The day of a value that is a time; years and other numbers are none.
fn day(value: &str) -> Option<Date> {
    if value.len() < 10 || !value.contains('-') {
        return None;
    }
    value
        .parse::<Timestamp>()
        .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date())
        .or_else(|_| value.parse::<DateTime>().map(DateTime::date))
        .ok()
}

/// The smallest rectangle around every position in a GeoJSON document (RFC 7946).
fn extent(json: &Value) -> Option<[f64; 4]> {
    let mut extent = Extent::default();
    extent.add_geo_json(json);
    extent.bounds()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(name: &str, text: &str, mut description: Description) -> (Description, Vec<&'static str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let added = complete(&path, &mut description, &ProgressBar::hidden()).unwrap();
        (description, added.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn a_table_tells_columns_and_period() {
        let text = "station,time,value\nA,2019-05-07T02:00:00Z,\"1,5\"\nA,2019-06-17 23:00:00,2\nB,,3\n";
        let (found, added) = guess("no2.csv", text, Description::default());
        assert_eq!(added, ["media-type", "byte-size", "sha256", "columns", "from", "until"]);
        assert_eq!(found.form.columns, ["station", "time", "value"]);
        assert_eq!((found.from.as_deref(), found.until.as_deref()), (Some("2019-05-07"), Some("2019-06-17")));
        assert_eq!(found.form.byte_size, u64::try_from(text.len()).ok());
        assert_eq!(found.form.sha256.unwrap().len(), 64);
        let said = Description {
            frequency: Some("urn:hourly".to_owned()),
            from: Some("2018-01-01".to_owned()),
            ..Description::default()
        };
        let (found, added) = guess("no2.csv", text, said);
        assert_eq!(added, ["media-type", "columns"], "what changes has no checksum, and what is said stays");
        assert_eq!(found.from.as_deref(), Some("2018-01-01"));
        let (found, _) = guess("x.csv", "a,b\n2019,x\n2020,y\n", Description::default());
        assert_eq!(found.from, None, "numbers are no days");
    }

    #[test]
    fn a_map_tells_its_extent() {
        let text = r#"{"type":"FeatureCollection","features":[
            {"type":"Feature","properties":{"coordinates":[99,99]},"geometry":{"type":"Point","coordinates":[4.4,51.2]}},
            {"type":"Feature","geometry":{"type":"GeometryCollection","geometries":[
                {"type":"Polygon","coordinates":[[[4.2,51.1],[4.5,51.1],[4.5,51.4],[4.2,51.1]]]}]}},
            {"type":"Feature","geometry":null}]}"#;
        let (found, _) = guess("a.geojson", text, Description::default());
        assert_eq!(found.bbox, Some([4.2, 51.1, 4.5, 51.4]));
        let fiji = r#"{"type":"MultiPoint","coordinates":[[177,-20],[-178,-16]]}"#;
        let (found, _) = guess("fiji.geojson", fiji, Description::default());
        assert_eq!(found.bbox, Some([177.0, -20.0, -178.0, -16.0]), "over the antimeridian");
        assert_eq!(
            guess("a.geojson", r#"{"type":"FeatureCollection","features":[]}"#, Description::default())
                .0
                .bbox,
            None
        );
    }
}
