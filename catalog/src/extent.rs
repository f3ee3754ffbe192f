//! Extents: the smallest rectangle around positions, and how geometries are written as texts.

use policy_engine::area::{Area, System, is_area};
use serde_json::Value as Json;

/// Deepest nesting of collections that is followed.
const MAX_DEPTH: usize = 8;
/// Longitudes that are nearer to each other than this, in degrees, are remembered as one stretch, so that any number of
/// positions takes little memory.
const NEAR: f64 = 0.1;
/// A box over the antimeridian is taken where it is narrower than the other one by more than this, in degrees.
const CLEARLY: f64 = 1.0;

/// Takes positions in degrees and tells the smallest rectangle around them, which may lie over the antimeridian.
#[derive(Debug, Clone, Default)]
pub struct Extent {
    /// From where to where there is something, from west to east.
    covered: Vec<(f64, f64)>,
    latitudes: Option<(f64, f64)>,
    /// Something was given that is no position in degrees.
    is_strange: bool,
}

impl Extent {
    /// Takes a position.
    pub fn add(&mut self, longitude: f64, latitude: f64) {
        if self.latitude(latitude) {
            self.span(longitude, longitude);
        }
    }

    /// Takes a line: of two positions that are more than half the world apart, the short way is meant, as in a ship's track.
    pub fn add_line(&mut self, line: &[[f64; 2]]) {
        if line.iter().all(|[_, latitude]| self.latitude(*latitude)) {
            let ends = ends(&unwrapped(line));
            ends.into_iter().for_each(|(west, east)| self.span(west, east));
        }
    }

    /// Takes the outer ring of a polygon. Its sides are straight on the map (RFC 7946, section 3.1.1), unless the ring goes
    /// the right way round only over the antimeridian.
    pub fn add_ring(&mut self, ring: &[[f64; 2]]) {
        if !ring.iter().all(|[_, latitude]| self.latitude(*latitude)) {
            return;
        }
        let (flat, around) = (ring.iter().map(|[x, _]| *x).collect::<Vec<_>>(), unwrapped(ring));
        let first = ring.first().map(|[x, _]| *x);
        // A rectangle may be written either way round: then it must begin in its west as well.
        let begins_in_the_west = ring.len() > 5 || first == flat.iter().copied().reduce(f64::max);
        let over = turns(&flat, ring) < 0.0 && turns(&around, ring) > 0.0 && begins_in_the_west;
        ends(if over { &around } else { &flat }).into_iter().for_each(|(west, east)| self.span(west, east));
    }

    /// Takes a rectangle.
    pub fn add_area(&mut self, [west, south, east, north]: Area) {
        if self.latitude(south) && self.latitude(north) {
            self.span(west, if west <= east { east } else { east + 360.0 });
        }
    }

    /// Takes every geometry of a GeoJSON document (RFC 7946); other members are passed over.
    pub fn add_geo_json(&mut self, json: &Json) {
        let coordinates = json.get("coordinates").unwrap_or(&Json::Null);
        match json.get("type").and_then(Json::as_str).unwrap_or_default() {
            "FeatureCollection" => self.each(json.get("features")),
            "Feature" => self.each(json.get("geometry")),
            "GeometryCollection" => self.each(json.get("geometries")),
            "Point" => self.points(std::slice::from_ref(coordinates)),
            "MultiPoint" => self.points(list(coordinates)),
            "LineString" => self.add_line(&positions(coordinates)),
            "MultiLineString" => list(coordinates).iter().for_each(|line| self.add_line(&positions(line))),
            "Polygon" => self.polygon(coordinates),
            "MultiPolygon" => list(coordinates).iter().for_each(|one| self.polygon(one)),
            _ => {}
        }
    }

    /// The smallest rectangle around everything; `None` where there is nothing, or something that is not in degrees.
    #[must_use]
    pub fn bounds(&self) -> Option<Area> {
        let (south, north) = self.latitudes.filter(|_| !self.is_strange)?;
        let ((west, _), (_, east)) = (self.covered.first()?, self.covered.last()?);
        let outside = (west + 180.0) + (180.0 - east);
        let gaps = self.covered.iter().zip(self.covered.iter().skip(1));
        let widest = gaps.max_by(|(a, b), (c, d)| (b.0 - a.1).total_cmp(&(d.0 - c.1)));
        Some(match widest {
            Some(((_, east), (west, _))) if west - east > outside + CLEARLY => [*west, south, *east, north],
            _ => [*west, south, *east, north],
        })
    }

    fn each(&mut self, within: Option<&Json>) {
        match within {
            Some(Json::Array(all)) => all.iter().for_each(|one| self.add_geo_json(one)),
            Some(one) => self.add_geo_json(one),
            None => {}
        }
    }

    fn points(&mut self, all: &[Json]) {
        all.iter().filter_map(position).for_each(|[longitude, latitude]| self.add(longitude, latitude));
    }

    fn polygon(&mut self, rings: &Json) {
        if let Some(outer) = list(rings).first() {
            self.add_ring(&positions(outer));
        }
    }

    fn latitude(&mut self, latitude: f64) -> bool {
        let (south, north) = self.latitudes.unwrap_or((latitude, latitude));
        self.is_strange |= !(-90.0..=90.0).contains(&latitude);
        self.latitudes = Some((south.min(latitude), north.max(latitude)));
        !self.is_strange
    }

    /// Takes all longitudes from `west` to `east`, which may count on beyond 180 degrees.
    fn span(&mut self, west: f64, east: f64) {
        if !(-360.0..=360.0).contains(&west) || !(west..=720.0).contains(&east) {
            self.is_strange = true;
        } else if east - west >= 360.0 {
            self.cover(-180.0, 180.0);
        } else {
            let turn = if west > 180.0 {
                -360.0
            } else if west < -180.0 {
                360.0
            } else {
                0.0
            };
            let (west, east) = (west + turn, east + turn);
            self.cover(west, east.min(180.0));
            if east > 180.0 {
                self.cover(-180.0, east - 360.0);
            }
        }
    }

    /// Takes all longitudes from `west` to `east`, both within the world.
    fn cover(&mut self, west: f64, east: f64) {
        let first = self.covered.partition_point(|(_, end)| end + NEAR < west);
        let behind = self.covered.partition_point(|(begin, _)| begin - NEAR <= east);
        let touched = self.covered.get(first..behind).unwrap_or_default();
        let begin = touched.first().map_or(west, |(begin, _)| begin.min(west));
        let end = touched.last().map_or(east, |(_, end)| end.max(east));
        self.covered.splice(first..behind.max(first), [(begin, end)]);
    }
}

/// The longitudes of a line, counted on beyond 180 degrees where the short way goes over the antimeridian.
fn unwrapped(line: &[[f64; 2]]) -> Vec<f64> {
    let mut turn = 0.0;
    let mut before = None;
    let mut all = Vec::with_capacity(line.len());
    for [x, _] in line {
        let step = before.map_or(0.0, |before| x - before);
        if step > 180.0 && step < 360.0 {
            turn -= 360.0;
        } else if step < -180.0 && step > -360.0 {
            turn += 360.0;
        }
        before = Some(*x);
        all.push(x + turn);
    }
    all
}

/// Twice the area of a ring, negative where it goes clockwise.
fn turns(longitudes: &[f64], ring: &[[f64; 2]]) -> f64 {
    let points = || longitudes.iter().zip(ring.iter().map(|[_, y]| y));
    points().zip(points().skip(1)).map(|((x, y), (u, v))| x * v - u * y).sum()
}

fn ends(longitudes: &[f64]) -> Option<(f64, f64)> {
    let west = longitudes.iter().copied().reduce(f64::min)?;
    let east = longitudes.iter().copied().reduce(f64::max)?;
    // Several times around the world.
    Some(if east - west >= 360.0 {
        (-180.0, 180.0)
    } else if west < -360.0 {
        (west + 360.0, east + 360.0)
    } else {
        (west, east)
    })
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn position(json: &Json) -> Option<[f64; 2]> {
    let numbers = json.as_array()?;
    Some([numbers.first()?.as_f64()?, numbers.get(1)?.as_f64()?])
}

fn positions(json: &Json) -> Vec<[f64; 2]> {
    list(json).iter().filter_map(position).collect()
}

/// Why a geometry was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is no geometry that is understood, or its numbers are no degrees.
    Form,
    /// It is in a reference system that is not degrees.
    System(String),
}

impl Unread {
    /// What is the matter, as the rest of a sentence about the geometry.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Form => {
                "is no geometry in degrees that is understood (WKT, GeoJSON, or west,south,east,north)"
                    .to_owned()
            }
            Self::System(name) => {
                format!(
                    "is in the reference system {name}, whose numbers are no degrees of longitude and latitude"
                )
            }
        }
    }
}

/// The rectangle around a geometry: WKT, with a reference system before it where it is not longitude and latitude
/// (GeoSPARQL 1.1, section 8.5.1), GeoJSON, or four numbers with commas between.
///
/// # Errors
/// It is something else, or in another system.
pub fn read(text: &str) -> Result<Area, Unread> {
    let mut extent = Extent::default();
    if text.trim_start().starts_with('{') {
        let json: Json = serde_json::from_str(text).map_err(|_| Unread::Form)?;
        // GeoJSON of 2008 could name a system; its positions have x and y in each of them.
        if let Some(System::Other(name)) =
            json.pointer("/crs/properties/name").and_then(Json::as_str).map(System::of)
        {
            return Err(Unread::System(name));
        }
        extent.add_geo_json(&json);
    } else {
        let (system, rest) = System::split(text);
        let swapped = match system {
            System::LongitudeFirst => false,
            System::LatitudeFirst => true,
            System::Other(name) if rest.contains('(') => return Err(Unread::System(name)),
            System::Other(_) => return Err(Unread::Form),
        };
        wkt(rest, swapped, &mut extent, MAX_DEPTH).ok_or(Unread::Form)?;
    }
    extent.bounds().filter(|area| is_area(*area)).ok_or(Unread::Form)
}

fn wkt(text: &str, swapped: bool, extent: &mut Extent, depth: usize) -> Option<()> {
    let Some((head, rest)) = text.split_once('(') else {
        let area: [f64; 4] = numbers(text.split(','))?.try_into().ok()?;
        is_area(area).then(|| extent.add_area(area))?;
        return Some(());
    };
    let inside = rest.trim_end().strip_suffix(')')?;
    let kind = head.split_whitespace().next()?.to_ascii_uppercase();
    let place = |position: Vec<f64>| match (position.first(), position.get(1)) {
        (Some(x), Some(y)) if swapped => Some([*y, *x]),
        (Some(x), Some(y)) => Some([*x, *y]),
        _ => None,
    };
    let group = |group: &str| -> Option<Vec<[f64; 2]>> {
        group.split(',').map(|one| place(numbers(one.split_whitespace())?)).collect()
    };
    if kind == "GEOMETRYCOLLECTION" {
        let depth = depth.checked_sub(1)?;
        return parts(inside)?.into_iter().try_for_each(|part| wkt(part, swapped, extent, depth));
    }
    if kind == "ENVELOPE" {
        let [west, east, north, south]: [f64; 4] = numbers(inside.split(','))?.try_into().ok()?;
        let area = [west, south, east, north];
        is_area(area).then(|| extent.add_area(area))?;
        return Some(());
    }
    if kind == "BOX" || kind == "BOX2D" {
        let [[west, south], [east, north]]: [[f64; 2]; 2] = group(inside)?.try_into().ok()?;
        let area = [west, south, east, north];
        is_area(area).then(|| extent.add_area(area))?;
        return Some(());
    }
    let deep = inside.chars().try_fold(0_usize, |deep, one| match one {
        '(' => Some(deep + 1),
        ')' => deep.checked_sub(1),
        _ => Some(deep),
    });
    deep.filter(|left| *left == 0)?;
    let groups = inside.split(['(', ')']).filter(|one| one.contains(|c: char| c.is_ascii_alphanumeric()));
    for one in groups {
        let positions = group(one.trim_matches([',', ' ', '\n', '\t', '\r']))?;
        match kind.trim_start_matches("MULTI") {
            "POINT" => positions.iter().for_each(|[x, y]| extent.add(*x, *y)),
            "LINESTRING" => extent.add_line(&positions),
            "POLYGON" | "TRIANGLE" => extent.add_ring(&positions),
            _ => return None,
        }
    }
    Some(())
}

fn numbers<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Vec<f64>> {
    parts.map(|one| one.trim().parse().ok().filter(|number: &f64| number.is_finite())).collect()
}

/// What stands between commas that are in no parentheses.
fn parts(text: &str) -> Option<Vec<&str>> {
    let (mut deep, mut begin, mut all) = (0_usize, 0, Vec::new());
    for (at, one) in text.char_indices() {
        match one {
            '(' => deep += 1,
            ')' => deep = deep.checked_sub(1)?,
            ',' if deep == 0 => {
                all.push(text.get(begin..at)?.trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    all.push(text.get(begin..)?.trim());
    (deep == 0).then_some(all)
}

/// A rectangle in Well-Known Text: over the antimeridian in two parts, as RFC 7946 has it in section 3.1.9.
#[must_use]
pub fn to_wkt([west, south, east, north]: Area) -> String {
    let ring = |west: f64, east: f64| {
        format!("(({west} {south},{east} {south},{east} {north},{west} {north},{west} {south}))")
    };
    match (west <= east, west >= 180.0, east <= -180.0) {
        (true, ..) => format!("POLYGON{}", ring(west, east)),
        (false, true, _) => format!("POLYGON{}", ring(-180.0, east)),
        (false, false, true) => format!("POLYGON{}", ring(west, 180.0)),
        (false, false, false) => format!("MULTIPOLYGON({},{})", ring(west, 180.0), ring(-180.0, east)),
    }
}

/// A rectangle for people.
#[must_use]
pub fn words([west, south, east, north]: Area) -> String {
    let over = if west > east { " (over the antimeridian)" } else { "" };
    format!("west {west}, south {south}, east {east}, north {north}{over}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EPSG: &str = "<http://www.opengis.net/def/crs/EPSG/0/4326>";

    fn around(points: &[[f64; 2]]) -> Option<Area> {
        let mut extent = Extent::default();
        points.iter().for_each(|[x, y]| extent.add(*x, *y));
        extent.bounds()
    }

    fn of(json: &Json) -> Option<Area> {
        let mut extent = Extent::default();
        extent.add_geo_json(json);
        extent.bounds()
    }

    #[test]
    fn the_smallest_rectangle_may_lie_over_the_antimeridian() {
        assert_eq!(around(&[]), None);
        assert_eq!(around(&[[4.4, 51.2]]), Some([4.4, 51.2, 4.4, 51.2]));
        assert_eq!(around(&[[-10.0, 1.0], [20.0, -2.0]]), Some([-10.0, -2.0, 20.0, 1.0]));
        assert_eq!(
            around(&[[177.0, -20.0], [-178.0, -16.0], [179.5, -18.0]]),
            Some([177.0, -20.0, -178.0, -16.0])
        );
        assert_eq!(around(&[[182.0, 0.0], [178.0, 1.0]]), Some([178.0, 0.0, -178.0, 1.0]), "counted on");
        assert_eq!(around(&[[140.0, 35.0], [-157.0, 21.0], [-75.0, 40.0]]), Some([140.0, 21.0, -75.0, 40.0]));
        assert_eq!(around(&[[170_000.0, 210_000.0]]), None, "no degrees");
        assert_eq!(around(&[[f64::NAN, 0.0]]), None);
        // In any order, as many as there may be.
        let many: Vec<_> = (0..200_000).map(|x| [f64::from((x * 7919) % 400) / 10.0 + 160.0, 0.0]).collect();
        assert_eq!(
            around(&many),
            Some([160.0, 0.0, -160.1, 0.0]).map(|[w, s, _, n]| [w, s, 199.9 - 360.0, n])
        );
        // Every longitude: no gap to speak of.
        let world: Vec<_> = (-180..=180).map(|x| [f64::from(x), 0.0]).collect();
        assert_eq!(around(&world), Some([-180.0, 0.0, 180.0, 0.0]));
    }

    #[test]
    fn lines_and_rings_cover_what_lies_between_their_positions() {
        let shape = |kind: &str, coordinates: Json| json!({"type": kind, "coordinates": coordinates});
        let track = shape("LineString", json!([[178, -18], [-178, -17]]));
        assert_eq!(of(&track), Some([178.0, -18.0, -178.0, -17.0]));
        let wide = shape("LineString", json!([[-100, 0], [0, 0], [100, 1]]));
        assert_eq!(of(&wide), Some([-100.0, 0.0, 100.0, 1.0]), "not through the gap between its ends");
        let ring =
            |west: f64, east: f64| json!([[[west, -20], [east, -20], [east, -16], [west, -16], [west, -20]]]);
        assert_eq!(of(&shape("Polygon", ring(-170.0, 170.0))), Some([-170.0, -20.0, 170.0, -16.0]));
        assert_eq!(of(&shape("Polygon", ring(178.0, -178.0))), Some([178.0, -20.0, -178.0, -16.0]));
        assert_eq!(of(&shape("Polygon", ring(-180.0, 180.0))), Some([-180.0, -20.0, 180.0, -16.0]));
        // As some write rectangles: from the south-east.
        let other = json!([[[170, -20], [170, -16], [-170, -16], [-170, -20], [170, -20]]]);
        assert_eq!(of(&shape("Polygon", other)), Some([-170.0, -20.0, 170.0, -16.0]));
        let cut = shape("MultiPolygon", json!([ring(177.0, 180.0), ring(-180.0, -178.0)]));
        assert_eq!(of(&cut), Some([177.0, -20.0, -178.0, -16.0]));
        let collection = json!({"type": "FeatureCollection", "features": [
            {"type": "Feature", "properties": {"coordinates": [99, 99]}, "geometry": {"type": "Point", "coordinates": [4.4, 51.2, 7]}},
            {"type": "Feature", "geometry": null},
            {"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": [{"type": "MultiPoint", "coordinates": [[4, 51]]}]}}]});
        assert_eq!(of(&collection), Some([4.0, 51.0, 4.4, 51.2]));
    }

    #[test]
    fn texts_are_read_in_the_order_of_their_system() {
        for (text, area) in [
            ("POLYGON((1 2,3.5 2,3.5 4,1 4,1 2))", [1.0, 2.0, 3.5, 4.0]),
            ("<http://www.opengis.net/def/crs/OGC/1.3/CRS84> POINT(4.4 51.2)", [4.4, 51.2, 4.4, 51.2]),
            ("SRID=4326;POINT Z (4.4 51.2 7)", [4.4, 51.2, 4.4, 51.2]),
            ("ENVELOPE(170, -170, 10, -20)", [170.0, -20.0, -170.0, 10.0]),
            ("BOX(4 50,5 51)", [4.0, 50.0, 5.0, 51.0]),
            ("170,-20,-170,10", [170.0, -20.0, -170.0, 10.0]),
            ("MULTIPOINT((170 0),(-170 1))", [170.0, 0.0, -170.0, 1.0]),
            ("multipoint(1 2, 3 4)", [1.0, 2.0, 3.0, 4.0]),
            ("GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(3 4,5 6))", [1.0, 2.0, 5.0, 6.0]),
            ("MULTIPOLYGON (((0 0,1 0,1 1,0 0)), ((2 2,3 2,3 3,2 2)))", [0.0, 0.0, 3.0, 3.0]),
            // As older releases of this program wrote one over the antimeridian.
            ("POLYGON((170 -20,-170 -20,-170 10,170 10,170 -20))", [170.0, -20.0, -170.0, 10.0]),
            (r#"{"type":"Point","coordinates":[4,51]}"#, [4.0, 51.0, 4.0, 51.0]),
        ] {
            assert_eq!(read(text), Ok(area), "{text}");
        }
        assert_eq!(read(&format!("{EPSG} POLYGON((50 3,51 3,51 4,50 4,50 3))")), Ok([3.0, 50.0, 4.0, 51.0]));
        assert_eq!(read(&format!("{EPSG} MULTIPOINT((0 170),(1 -170))")), Ok([170.0, 0.0, -170.0, 1.0]));
        for code in ["31370", "28992", "25832", "3857"] {
            let text = format!("<http://www.opengis.net/def/crs/EPSG/0/{code}> POINT(4 51)");
            assert_eq!(read(&text), Err(Unread::System(format!("EPSG:{code}"))));
            assert_eq!(
                read(&format!("SRID={code};POINT(4 51)")),
                Err(Unread::System(format!("EPSG:{code}")))
            );
        }
        let old = r#"{"type":"Point","coordinates":[150000,170000],"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:EPSG::31370"}}}"#;
        assert_eq!(read(old), Err(Unread::System("EPSG:31370".to_owned())));
        for wrong in [
            "",
            "POLYGON(x)",
            "POLYGON((1 2)",
            "POINT()",
            "POINT(1)",
            "CIRCLE(1 2)",
            "1,2,3",
            "POINT(150000 170000)",
            "{}",
            "POINT(1 91)",
            "ENVELOPE(1,2,3)",
            "<gml:Point><gml:pos>1 2</gml:pos></gml:Point>",
            "BOX(1 2,3 400)",
        ] {
            assert_eq!(read(wrong), Err(Unread::Form), "{wrong}");
        }
        let deep = format!("{}POINT(1 2){}", "GEOMETRYCOLLECTION(".repeat(100), ")".repeat(100));
        assert_eq!(read(&deep), Err(Unread::Form));
    }

    #[test]
    fn rectangles_are_written_and_read_back() {
        for area in [
            [4.2, 51.1, 4.5, 51.4],
            [170.0, -20.0, -170.0, 10.0],
            [-180.0, -90.0, 180.0, 90.0],
            [179.5, -1.0, -179.5, 1.0],
            [-175.0, 0.0, 175.0, 1.0],
        ] {
            assert_eq!(read(&to_wkt(area)), Ok(area), "{}", to_wkt(area));
        }
        assert_eq!(
            to_wkt([170.0, -20.0, -170.0, 10.0]),
            "MULTIPOLYGON(((170 -20,180 -20,180 10,170 10,170 -20)),((-180 -20,-170 -20,-170 10,-180 10,-180 -20)))"
        );
        assert_eq!(read(&to_wkt([180.0, 0.0, -170.0, 1.0])), Ok([-180.0, 0.0, -170.0, 1.0]));
        assert!(words([170.0, -20.0, -170.0, 10.0]).contains("over the antimeridian"));
    }
}
