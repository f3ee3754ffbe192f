//! Rows as pictures: a line for each series over time, and a map of where they are.

use std::collections::BTreeMap;

use dataplane::rows::{Row, geometry, number};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use plotters::prelude::*;
use serde_json::Value as Json;

const SIZE: (u32, u32) = (640, 300);
/// Most points of a line; more are brought together.
const POINTS: usize = 400;
/// Most lines.
const LINES: usize = 12;

/// Numbers over time.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    /// What they are, with the unit where the rows say it.
    pub(super) what: String,
    /// By name, in the order of time.
    pub(super) lines: BTreeMap<String, Vec<(Timestamp, f64)>>,
}

/// What rows say of places: name, positions, and the newest number there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) positions: Vec<(f64, f64)>,
    pub(super) value: Option<f64>,
}

fn instant(value: &Json) -> Option<Timestamp> {
    let text = value.as_str()?.trim();
    if text.len() < 10 {
        return None;
    }
    let civil = || TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    text.parse().ok().or_else(civil)
}

/// Columns of which most rows have what `is` looks for.
fn columns(rows: &[Row], is: impl Fn(&Json) -> bool) -> Vec<&str> {
    let Some(first) = rows.first() else { return Vec::new() };
    let most = |name: &&str| {
        let found = rows.iter().filter_map(|row| row.get(name)).filter(|value| !value.is_null());
        let (fits, all) = found.fold((0, 0), |(fits, all), value| (fits + usize::from(is(value)), all + 1));
        all > 0 && fits * 10 >= all * 8
    };
    first.0.iter().map(|(name, _)| &**name).filter(most).collect()
}

/// The column whose texts tell rows apart into a few groups.
fn group(rows: &[Row]) -> Option<&str> {
    let texts = columns(rows, |value| value.is_string() && instant(value).is_none());
    let count = |name: &str| {
        let mut seen: Vec<&str> = rows.iter().filter_map(|row| row.get(name)?.as_str()).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
    };
    texts.into_iter().find(|name| (2..=LINES).contains(&count(name)))
}

fn is_coordinate(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["lat", "lon", "lng", "x", "y", "id"].contains(&name.as_str())
        || name.contains("latitude")
        || name.contains("longitude")
        || name.ends_with("_id")
}

/// The column of numbers that rows are about.
fn measured(rows: &[Row]) -> Option<&str> {
    let numbers = columns(rows, |value| value.is_number());
    let find = |wanted: &str| numbers.iter().find(|name| **name == wanted);
    find("value").or_else(|| numbers.iter().find(|name| !is_coordinate(name))).copied()
}

/// What the rows say over time; `None` where they say nothing of time or have no numbers.
pub(super) fn series(rows: &[Row]) -> Option<Series> {
    let time = columns(rows, |value| instant(value).is_some()).into_iter().next()?;
    let value = measured(rows)?;
    let said = |name: &str| rows.first()?.get(name)?.as_str().map(str::to_owned);
    let what = said("parameter").unwrap_or_else(|| value.to_owned());
    let what = said("unit").map_or_else(|| what.clone(), |unit| format!("{what} ({unit})"));
    let by = group(rows);
    let mut lines: BTreeMap<String, Vec<(Timestamp, f64)>> = BTreeMap::new();
    for row in rows {
        let Some((at, number)) = row.get(time).and_then(instant).zip(row.get(value).and_then(number)) else {
            continue;
        };
        let name = by.and_then(|by| row.get(by)?.as_str()).unwrap_or(value);
        lines.entry(name.to_owned()).or_default().push((at, number));
    }
    for line in lines.values_mut() {
        line.sort_by_key(|(at, _)| *at);
    }
    (!lines.is_empty()).then_some(Series { what, lines })
}

/// Where the rows are; empty where they do not say.
pub(super) fn places(rows: &[Row]) -> Vec<Place> {
    let value = measured(rows);
    let named = ["name", "location", "station", "city", "place", "title", "id"];
    let mut found: BTreeMap<String, Place> = BTreeMap::new();
    for row in rows {
        let Some(geometry) = geometry(row) else { continue };
        let mut positions = Vec::new();
        collect(geometry.get("coordinates").unwrap_or(&Json::Null), &mut positions);
        if positions.is_empty() {
            continue;
        }
        let name = named.iter().find_map(|name| row.get(name)?.as_str()).unwrap_or_default();
        let value = value.and_then(|value| row.get(value)).and_then(number);
        let place = Place { name: name.to_owned(), positions, value };
        found.insert(geometry.to_string(), place);
        if found.len() >= 2000 {
            break;
        }
    }
    found.into_values().collect()
}

fn collect(coordinates: &Json, positions: &mut Vec<(f64, f64)>) {
    let Json::Array(all) = coordinates else { return };
    match (all.first().and_then(Json::as_f64), all.get(1).and_then(Json::as_f64)) {
        (Some(x), Some(y)) => positions.push((x, y)),
        _ => all.iter().for_each(|one| collect(one, positions)),
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "seconds on an axis")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "seconds on an axis")]
fn label(at: f64, span: f64) -> String {
    let form = match span {
        span if span > 10.0 * 86_400.0 => "%Y-%m-%d",
        span if span > 3_600.0 => "%d %b %H:%M",
        _ => "%H:%M:%S",
    };
    Timestamp::from_second(at as i64).map(|at| at.strftime(form).to_string()).unwrap_or_default()
}

/// At most [`POINTS`], each the mean of as many.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "a mean of few points")]
fn thinned(line: &[(Timestamp, f64)]) -> Vec<(f64, f64)> {
    let together = line.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(Timestamp, f64)]| {
        let sum: f64 = chunk.iter().map(|(_, value)| value).sum();
        (chunk.first().map_or(0.0, |(at, _)| seconds(*at)), sum / chunk.len() as f64)
    };
    line.chunks(together).map(mean).collect()
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return None;
    }
    Some(if low < high { (low, high) } else { (low - 1.0, high + 1.0) })
}

/// A line chart.
pub(super) fn lines(series: &Series) -> Option<String> {
    let lines: Vec<_> = series.lines.iter().take(LINES).map(|(name, line)| (name, thinned(line))).collect();
    let points = || lines.iter().flat_map(|(_, line)| line.iter());
    let (left, right) = bounds(points().map(|(x, _)| *x))?;
    let (low, high) = bounds(points().map(|(_, y)| *y))?;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(44)
            .build_cartesian_2d(left..right, low.min(0.0)..high * 1.05)
            .ok()?;
        chart
            .configure_mesh()
            .x_labels(6)
            .x_label_formatter(&|at| label(*at, right - left))
            .y_desc(&series.what)
            .light_line_style(WHITE)
            .draw()
            .ok()?;
        for (at, (name, line)) in lines.iter().enumerate() {
            let colour = Palette99::pick(at).to_rgba();
            chart
                .draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(1)))
                .ok()?
                .label(name.as_str())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], colour.stroke_width(2)));
        }
        if lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.8))
                .draw()
                .ok()?;
        }
        root.present().ok()?;
    }
    Some(svg)
}

/// A map: longitude and latitude with their grid, each place where it is.
pub(super) fn map(places: &[Place]) -> Option<String> {
    let all = || places.iter().flat_map(|place| place.positions.iter());
    let (west, east) = bounds(all().map(|(x, _)| *x))?;
    let (south, north) = bounds(all().map(|(_, y)| *y))?;
    let (dx, dy) = ((east - west) * 0.12, (north - south) * 0.12);
    let values = bounds(places.iter().filter_map(|place| place.value));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(44)
            .build_cartesian_2d(west - dx..east + dx, south - dy..north + dy)
            .ok()?;
        let degrees = |at: &f64| format!("{at:.2}°");
        chart
            .configure_mesh()
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&degrees)
            .y_label_formatter(&degrees)
            .light_line_style(WHITE)
            .draw()
            .ok()?;
        let few = places.len() <= LINES;
        for place in places {
            let share = match (place.value, values) {
                (Some(value), Some((low, high))) => (value - low) / (high - low),
                _ => 0.5,
            };
            let colour = HSLColor(0.6 - 0.6 * share.clamp(0.0, 1.0), 0.7, 0.45);
            let Some(first) = place.positions.first() else { continue };
            if place.positions.len() == 1 {
                chart.draw_series([Circle::new(*first, 5, colour.filled())]).ok()?;
            } else {
                let outline = PathElement::new(place.positions.clone(), colour.stroke_width(2));
                chart.draw_series([outline]).ok()?;
            }
            if few && !place.name.is_empty() {
                let text = match place.value {
                    Some(value) => format!("{} {value}", place.name),
                    None => place.name.clone(),
                };
                chart.draw_series([Text::new(format!("  {text}"), *first, ("sans-serif", 12))]).ok()?;
            }
        }
        root.present().ok()?;
    }
    Some(svg)
}

#[cfg(test)]
mod tests {
    use dataplane::rows::{Form, read_all};

    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        read_all(Form::JsonLines, text.as_bytes(), 1000).unwrap()
    }

    #[test]
    fn rows_over_time_become_a_line_for_each_group() {
        let rows = rows(
            "{\"at\":\"2026-01-01 00:00:00+00:00\",\"station\":\"A\",\"lat\":48.1,\"lon\":11.5,\"no2\":12.5}\n\
             {\"at\":\"2026-01-01 01:00:00+00:00\",\"station\":\"B\",\"lat\":48.2,\"lon\":11.6,\"no2\":17}\n",
        );
        let found = series(&rows).unwrap();
        assert_eq!(
            (found.what.as_str(), found.lines.keys().cloned().collect::<Vec<_>>()),
            ("no2", vec!["A".to_owned(), "B".to_owned()])
        );
        let svg = lines(&found).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("polyline"));
        let places = places(&rows);
        assert_eq!(places.len(), 2);
        let svg = map(&places).unwrap();
        assert!(svg.contains("circle") && svg.contains("A 12.5"));
    }

    #[test]
    fn rows_without_time_or_place_become_no_picture() {
        let rows = rows("{\"name\":\"<script>\",\"size\":3}\n");
        assert!(series(&rows).is_none() && places(&rows).is_empty() && map(&[]).is_none());
    }

    #[test]
    fn what_rows_say_is_text_in_a_picture() {
        let rows = rows("{\"name\":\"<script>alert(1)</script>\",\"lat\":1,\"lon\":2}\n");
        assert!(!map(&places(&rows)).unwrap().contains("<script"));
    }
}
