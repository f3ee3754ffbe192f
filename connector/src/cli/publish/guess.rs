//! What a file tells of itself: size, checksum, columns, extent, period.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use catalog::extent::Extent;
use catalog::{Description, Form};
use indicatif::ProgressBar;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ids::hex;
use dataplane::media_type_of;
use dataplane::rows::{Column, Form as Rows, RowError, Shape, Survey, Surveyor, in_degrees, recognised};

/// Largest GeoJSON file that is read for its extent, in bytes.
const MAX_GEOJSON: u64 = 256 * 1024 * 1024;

/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;

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
    let rows = Rows::of(media_type);
    if description.frequency.is_none() {
        measure(path, form, bar, &mut added)?;
    }
    if rows == Some(Rows::Csv) {
        match survey(path, form)? {
            Ok(survey) => {
                let own = form.media_type.get_or_insert_default();
                if let Some(charset) = survey.notes().iter().find(|note| note.starts_with("charset="))
                    && !own.contains("charset")
                {
                    own.push_str("; ");
                    own.push_str(charset);
                    added.retain(|(name, _)| *name != "media-type");
                    added.push(("media-type", own.clone()));
                }
                describe(&survey, description, &mut added);
            }
            Err(error) => added.push(("views", format!("none, only the file as it is: {error}"))),
        }
    }
    if rows == Some(Rows::GeoJson) && description.bbox.is_none() && path.metadata()?.len() <= MAX_GEOJSON {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
        let json = serde_json::from_slice(text).map_err(|error| RowError(format!("it is not JSON: {error}")));
        match json.and_then(|mut json| in_degrees(&mut json).map(|()| json)) {
            Ok(json) => {
                if let Some(bbox) = extent(&json) {
                    added.push(("bbox", bbox.map(|one| one.to_string()).join(",")));
                    description.bbox = Some(bbox);
                }
            }
            Err(error) => added.push(("views", format!("none with places: {error}"))),
        }
    }
    Ok(added)
}

/// Takes over what a table tells that nobody said.
fn describe(survey: &Survey, description: &mut Description, added: &mut Vec<(&'static str, String)>) {
    let columns: Vec<String> = survey.columns().iter().map(|column| column.name().to_owned()).collect();
    if description.form.columns.is_empty() && !columns.is_empty() {
        added.push(("columns", columns.join(", ")));
        description.form.columns = columns;
    }
    if !survey.notes().is_empty() {
        added.push(("read-as", survey.notes().join("; ")));
    }
    // Empty values are no reason for doubt, unless most are.
    let sure = |column: &Column| column.days().filter(|_| column.filled().saturating_mul(2) >= survey.rows());
    let period = survey.columns().iter().find_map(sure);
    if let (None, None, Some((first, last))) = (&description.from, &description.until, period) {
        added.push(("from", first.to_string()));
        added.push(("until", last.to_string()));
        description.from = Some(first.to_string());
        description.until = Some(last.to_string());
    }
}

/// Looks at a table as the views of it do.
fn survey(path: &Path, form: &Form) -> anyhow::Result<Result<Survey, RowError>> {
    let media_type = form.media_type.as_deref().unwrap_or_default();
    let Some(Ok(shape)) = Shape::of(media_type) else {
        return Ok(Err(RowError(format!("its media type `{media_type}` is no table"))));
    };
    let read = |shape: Shape| -> anyhow::Result<(Surveyor, Option<RowError>)> {
        let mut surveyor = Surveyor::new(shape, None);
        for chunk in chunks(path)? {
            if let Err(error) = surveyor.push(&chunk?) {
                return Ok((surveyor, Some(error)));
            }
        }
        Ok((surveyor, None))
    };
    let (mut surveyor, failed) = read(shape)?;
    let found = failed.map_or_else(|| surveyor.finish(), Err);
    if found.is_ok() || !surveyor.is_other() {
        return Ok(found);
    }
    let mut broken = None;
    let all = chunks(path)?.map_while(|chunk| chunk.map_err(|error| broken = Some(error)).ok());
    let encoding = recognised(all);
    if let Some(error) = broken {
        return Err(error).with_context(|| format!("reading {}", path.display()));
    }
    let (mut surveyor, failed) = read(shape.encoded(encoding))?;
    Ok(failed.map_or_else(|| surveyor.finish(), Err))
}

/// The bytes of a file, piece by piece.
fn chunks(path: &Path) -> anyhow::Result<impl Iterator<Item = std::io::Result<Vec<u8>>>> {
    let mut file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        match file.by_ref().take(PIECE).read_to_end(&mut chunk) {
            Ok(0) => None,
            Ok(_) => Some(Ok(chunk)),
            Err(error) => Some(Err(error)),
        }
    }))
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
    fn a_table_is_read_as_its_views_are() {
        let case = |name: &str| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/cases/data/").to_owned() + name;
            let mut description = Description::default();
            let added = complete(Path::new(&path), &mut description, &ProgressBar::hidden()).unwrap();
            (description, added)
        };
        let (found, _) = case("semi_latin1.csv");
        assert_eq!(found.form.columns, ["Straße", "Länge in m", "Höhe", "Datum", "Anzahl", "PLZ"]);
        assert_eq!(found.form.media_type.as_deref(), Some("text/csv; charset=windows-1252"));
        let (found, added) = case("dup.csv");
        assert_eq!(found.form.columns, ["id", "name", "name_2", "value"]);
        assert!(added.contains(&("read-as", "renamed=\"name:name%5F2\"".to_owned())), "{added:?}");
        assert_eq!(case("comment.csv").0.form.columns, ["a", "b"]);
        let (_, added) = case("ragged.csv");
        assert!(added.iter().any(|(name, said)| *name == "views" && said.contains("record 3")), "{added:?}");
        let (found, _) = case("rd.geojson");
        let [west, south, east, north] = found.bbox.unwrap();
        assert!((west - 4.88).abs() < 0.1 && (north - 52.37).abs() < 0.1, "{west} {south} {east} {north}");
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
        let (found, _) = guess("bom.geojson", &format!("\u{feff}{text}"), Description::default());
        assert_eq!(found.bbox, Some([4.2, 51.1, 4.5, 51.4]), "whatever stands before it");
        let (found, added) = guess("torn.geojson", "{\"type\":\"Feature", Description::default());
        assert!(found.bbox.is_none() && added.contains(&"views"), "{added:?}");
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
