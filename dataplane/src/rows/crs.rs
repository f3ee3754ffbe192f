//! Coordinate reference systems: how data names them, and how their coordinates become those of WGS 84, which is all that
//! GeoJSON (RFC 7946) and most readers know.
//!
//! A position is x, then y: easting or longitude first, whatever the order of axes in the EPSG's register; that is how
//! GeoJSON of 2008 is written by all that write it.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use proj4rs::Proj;
use serde_json::{Number, Value as Json};

use super::wkb::{DEEPEST, Shape, each_position, numbers, quoted};

/// What names are understood.
const UNDERSTOOD: &str =
    "understood are EPSG codes such as `EPSG:31370` or `urn:ogc:def:crs:EPSG::31370`, and `OGC:CRS84`";

const WGS84: &str = "+proj=longlat +datum=WGS84 +no_defs";
const NAD83: &str = "+proj=longlat +datum=NAD83 +no_defs";
const NAD27: &str = "+proj=longlat +datum=NAD27 +no_defs";

/// Degrees by which a bound may be missed in computing.
const SLACK: f64 = 1e-9;
/// Metres by which a position that is projected to and fro may come back elsewhere.
const ASTRAY: f64 = 1.0;

/// The web's Mercator under numbers that the EPSG never gave to it.
const MERCATORS: [u32; 3] = [900_913, 102_100, 102_113];
const MERCATOR: u16 = 3857;

/// Definitions that the table of `crs-definitions` has wrong.
const DEFINITIONS: [(u16, &str); 3] = [
    // Krovak with southings and westings, in this order. The shift is EPSG:15965.
    (
        5513,
        "+proj=krovak +axis=swu +lat_0=49.5 +lon_0=24.83333333333333 +ellps=bessel +towgs84=589,76,480 +no_defs",
    ),
    // The same from Ferro. The shift is EPSG:5239.
    (
        2065,
        "+proj=krovak +axis=swu +lat_0=49.5 +lon_0=42.5 +ellps=bessel \
         +towgs84=572.213,85.334,461.94,4.9732,1.529,5.2484,3.5378 +pm=ferro +no_defs",
    ),
    // The web's Mercator with heights.
    (6871, "+proj=merc +a=6378137 +b=6378137 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null +no_defs"),
];

/// Shifts to WGS 84 that the table lacks or has wrong, as the EPSG's register has them (rotations as position vectors).
///
/// The table's own hold for the others, among them EPSG:31370 (transformation EPSG:15929, 1 m), 28992 (EPSG:15934, 1 m),
/// 5514 (EPSG:15965, 6 m) and 2056 (EPSG:1676, 1 m); those that it names by a datum are in proj4rs: 27700 (EPSG:1314, 2 m),
/// 31467 (EPSG:1777, 3 m), 31256 (EPSG:1618, 1.5 m). `the_well_known_are_placed` holds both against PROJ.
const SHIFTS: [(RangeInclusive<u16>, &str); 22] = [
    // DB_REF of the German railways: EPSG:5826.
    (5681..=5685, "584.9636,107.7175,413.8067,1.1155,0.2824,-3.1384,7.9922"),
    (5830..=5830, "584.9636,107.7175,413.8067,1.1155,0.2824,-3.1384,7.9922"),
    (5832..=5835, "584.9636,107.7175,413.8067,1.1155,0.2824,-3.1384,7.9922"),
    // Romania's Stereo 70: EPSG:15995.
    (3844..=3844, "2.329,-147.042,-92.08,-0.309,0.325,0.497,5.69"),
    // Austria from Ferro: EPSG:1618.
    (31281..=31283, "577.326,90.129,463.919,5.137,1.474,5.297,2.4232"),
    (31288..=31293, "577.326,90.129,463.919,5.137,1.474,5.297,2.4232"),
    // Slovenia's MGI 1901, also under the numbers that took it for Austria's: EPSG:8688.
    (2170..=2170, "476.08,125.947,417.81,4.610862,2.388137,-11.942335,9.896638"),
    (3787..=3787, "476.08,125.947,417.81,4.610862,2.388137,-11.942335,9.896638"),
    (3911..=3912, "476.08,125.947,417.81,4.610862,2.388137,-11.942335,9.896638"),
    // The Balkans' MGI 1901 under such numbers: EPSG:3962.
    (31265..=31268, "682,-203,480"),
    (31275..=31279, "682,-203,480"),
    // North Macedonia: EPSG:6206.
    (6204..=6204, "521.748,229.489,590.921,4.029,4.488,-15.521,-9.78"),
    // S-JTSK from Ferro: EPSG:5239.
    (4818..=4818, "572.213,85.334,461.94,4.9732,1.529,5.2484,3.5378"),
    (5221..=5221, "572.213,85.334,461.94,4.9732,1.529,5.2484,3.5378"),
    // Ukraine: EPSG:5840.
    (5561..=5583, "24,-121,-76"),
    (6381..=6387, "24,-121,-76"),
    // Israel: EPSG:9676.
    (2039..=2039, "23.772,17.49,17.859,-0.3132,-1.85274,1.67299,-5.4262"),
    (4141..=4141, "23.772,17.49,17.859,-0.3132,-1.85274,1.67299,-5.4262"),
    // Korean 1985: EPSG:5191, of which the centre of rotation is another (Molodensky-Badekas), brought to the Earth's.
    (2096..=2098, "-114.62,475.963,675.018,1.162,-2.347,-1.592,6.342"),
    (4162..=4162, "-114.62,475.963,675.018,1.162,-2.347,-1.592,6.342"),
    (5167..=5168, "-114.62,475.963,675.018,1.162,-2.347,-1.592,6.342"),
    (5173..=5178, "-114.62,475.963,675.018,1.162,-2.347,-1.592,6.342"),
];

/// NAD27, which is told by grids elsewhere: EPSG:1173, the mean of the contiguous United States (10 m; elsewhere 30 m).
const NAD27_SHIFT: &str = "+ellps=clrk66 +towgs84=-8,160,176";

/// Codes whose definition in the table is off by more than 50 m, held against PROJ 9.5: degrees for grads, spheres and
/// datums that are not theirs. To say nothing is better.
const DOUBTFUL: [RangeInclusive<u16>; 26] = [
    2082..=2082,
    3303..=3303,
    3370..=3371,
    3973..=3975,
    4055..=4055,
    4161..=4161,
    4240..=4240,
    4399..=4400,
    4688..=4688,
    4805..=4805,
    4807..=4807,
    4810..=4811,
    4816..=4816,
    4819..=4819,
    4821..=4821,
    4901..=4902,
    6200..=6200,
    6989..=6991,
    6996..=6997,
    7400..=7400,
    8044..=8045,
    24047..=24048,
    24305..=24306,
    24375..=24375,
    26591..=26592,
    27038..=27038,
];

/// A coordinate reference system whose coordinates can be placed in the world.
#[derive(Clone)]
pub(crate) struct Crs(Arc<Inner>);

struct Inner {
    name: String,
    is_geographic: bool,
    /// From and to; none, where the coordinates are those of WGS 84.
    ways: Option<(Proj, Proj)>,
    /// Whether longitudes are counted from Greenwich.
    is_greenwich: bool,
}

impl fmt::Debug for Crs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Crs").field(&self.0.name).finish()
    }
}

impl fmt::Display for Crs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.name)
    }
}

impl PartialEq for Crs {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Crs {}

impl Crs {
    /// The system of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let unknown = || {
            let shown = quoted(&Json::from(name));
            format!("`{shown}` is no coordinate reference system that is known here; {UNDERSTOOD}")
        };
        let lower = name.trim().to_ascii_lowercase();
        let (authority, code) = authority_and_code(&lower).ok_or_else(unknown)?;
        match (authority, code) {
            ("ogc", "crs84" | "crs84h") | ("crs", "84") => Self::of("OGC:CRS84".to_owned(), WGS84),
            ("ogc", "crs83") | ("crs", "83") => Self::of("OGC:CRS83".to_owned(), NAD83),
            ("ogc", "crs27") | ("crs", "27") => Self::of("OGC:CRS27".to_owned(), NAD27),
            ("epsg" | "esri", code) if code.bytes().all(|byte| byte.is_ascii_digit()) => {
                let code = code.parse::<u32>().map_err(|_| unknown())?;
                if MERCATORS.contains(&code) {
                    return Self::epsg(MERCATOR).ok_or_else(unknown)?;
                }
                let code = u16::try_from(code).ok().filter(|_| authority == "epsg");
                code.and_then(Self::epsg).ok_or_else(unknown)?
            }
            _ => Err(unknown()),
        }
    }

    /// The system that a `crs` member of GeoJSON (2008) names.
    pub(crate) fn of_member(member: &Json) -> Result<Self, String> {
        if member.is_null() {
            return Err(
                "`crs` is null: the data says that nothing is known of where its coordinates are".to_owned()
            );
        }
        let within = |name: &str| member.get("properties").and_then(|properties| properties.get(name));
        match member.get("type").and_then(Json::as_str) {
            Some(kind) if kind.eq_ignore_ascii_case("name") => match within("name").and_then(Json::as_str) {
                Some(name) => Self::named(name),
                None => Err("`crs` has no `properties.name`".to_owned()),
            },
            Some(kind) if kind.eq_ignore_ascii_case("epsg") => match within("code") {
                Some(Json::Number(code)) => Self::named(&format!("EPSG:{code}")),
                Some(Json::String(code)) => Self::named(code),
                _ => Err("`crs` has no `properties.code`".to_owned()),
            },
            Some(kind) if kind.eq_ignore_ascii_case("link") => {
                let link = within("href").map(quoted).unwrap_or_default();
                Err(format!("`crs` is a link (`{link}`), and links are not followed; {UNDERSTOOD}"))
            }
            _ => Err(format!("`crs` is `{}`, which names no system; {UNDERSTOOD}", quoted(member))),
        }
    }

    /// None, if there is no such code; in words, why it is not placed.
    fn epsg(code: u16) -> Option<Result<Self, String>> {
        let own = DEFINITIONS.iter().find(|(own, _)| *own == code).map(|(_, text)| *text);
        let text = own.or_else(|| crs_definitions::from_code(code).map(|found| found.proj4))?;
        let name = format!("EPSG:{code}");
        if DOUBTFUL.iter().any(|range| range.contains(&code)) {
            return Some(Err(unplaced(&name)));
        }
        let shift = SHIFTS.iter().find(|(range, _)| range.contains(&code)).map(|(_, shift)| *shift);
        Some(Self::of(name, &shifted(text, shift)))
    }

    fn of(name: String, text: &str) -> Result<Self, String> {
        let text = shifted(text, None);
        let is_like_wgs84 = has(&text, "+ellps=GRS80") || has(&text, "+ellps=WGS84");
        let is_known = ["+datum=", "+towgs84=", "+nadgrids="].iter().any(|key| text.contains(key));
        if text.contains("+proj=geocent") {
            return Err(format!(
                "the coordinates of `{name}` count from the centre of the Earth, which is not understood"
            ));
        }
        // Without a shift it would be some hundreds of metres elsewhere.
        if !is_known && !is_like_wgs84 {
            return Err(unplaced(&name));
        }
        let proj = |text: &str| Proj::from_proj_string(text).map_err(|_| unplaced(&name));
        let from = proj(&text)?;
        if !from.has_inverse() {
            return Err(unplaced(&name));
        }
        let (is_geographic, is_greenwich) = (from.is_latlong(), from.from_greenwich() == 0.0);
        let is_unmoved = !is_known || has(&text, "+towgs84=0,0,0,0,0,0,0");
        let is_same =
            has(&text, "+datum=WGS84") || has(&text, "+datum=NAD83") || (is_like_wgs84 && is_unmoved);
        let ways = if is_geographic && is_greenwich && is_same { None } else { Some((from, proj(WGS84)?)) };
        Ok(Self(Arc::new(Inner { name, is_geographic, ways, is_greenwich })))
    }

    /// To show: `EPSG:31370`.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether its coordinates are degrees.
    pub(crate) fn is_geographic(&self) -> bool {
        self.0.is_geographic
    }

    /// Whether its coordinates are those of WGS 84 as they are (within about a metre).
    pub(crate) fn is_wgs84(&self) -> bool {
        self.0.ways.is_none()
    }
}

fn unplaced(name: &str) -> String {
    format!("where the coordinates of `{name}` are is not known well enough here to place them")
}

fn has(text: &str, word: &str) -> bool {
    text.split(' ').any(|one| one == word)
}

/// The parts of a name, in small letters.
fn authority_and_code(name: &str) -> Option<(&str, &str)> {
    let urn = name.strip_prefix("urn:ogc:def:crs:").or_else(|| name.strip_prefix("urn:x-ogc:def:crs:"));
    let address = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"));
    let code = |code: &str| !code.is_empty();
    if let Some(urn) = urn {
        // The version between them says nothing that matters.
        let parts: Vec<&str> = urn.split(':').collect();
        return match parts.as_slice() {
            [authority, last] | [authority, _, last] if code(last) => Some((authority, last)),
            _ => None,
        };
    }
    if let Some(address) = address {
        if let Some(last) = address.strip_prefix("www.opengis.net/gml/srs/epsg.xml#") {
            return code(last).then_some(("epsg", last));
        }
        let rest = address.strip_prefix("www.opengis.net/def/crs/")?;
        let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        return match parts.as_slice() {
            [authority, _, last] if code(last) => Some((authority, last)),
            _ => None,
        };
    }
    match name.split_once(':') {
        Some((authority, last)) => code(last).then_some((authority, last)),
        None if name.starts_with("crs") => Some(("ogc", name)),
        None => code(name).then_some(("epsg", name)),
    }
}

/// A definition with another shift, and without what needs grids.
fn shifted<'t>(text: &'t str, shift: Option<&str>) -> Cow<'t, str> {
    let has_grids = text.contains("+nadgrids=") && !has(text, "+nadgrids=@null");
    let is_nad27 = has(text, "+datum=NAD27");
    if shift.is_none() && !has_grids && !is_nad27 {
        return Cow::Borrowed(text);
    }
    let mut words: Vec<Cow<'_, str>> = Vec::new();
    for word in text.split(' ') {
        match word.split_once('=').map_or(word, |(key, _)| key) {
            "+nadgrids" if has_grids => {}
            "+towgs84" if shift.is_some() => {}
            "+datum" if shift.is_some() => {
                // Those of which the shift is another are Bessel's.
                words.push("+ellps=bessel".into());
            }
            "+datum" if is_nad27 => words.push(NAD27_SHIFT.into()),
            _ => words.push(word.into()),
        }
    }
    if let Some(shift) = shift {
        words.push(format!("+towgs84={shift}").into());
    }
    words.join(" ").into()
}

/// Makes the coordinates of a system those of WGS 84 (OGC:CRS84: longitude, latitude).
#[derive(Debug, Clone)]
pub(crate) struct ToWgs84 {
    crs: Crs,
}

impl ToWgs84 {
    /// From the coordinates of this system.
    pub(crate) const fn new(crs: Crs) -> Self {
        Self { crs }
    }

    /// The system that it is from.
    pub(crate) const fn crs(&self) -> &Crs {
        &self.crs
    }

    /// Places every position of a GeoJSON geometry; heights stay as they are. Its own `bbox` and `crs` go, if it had any, for
    /// they would be wrong. Of an error the words say where; the geometry may be half done then.
    pub(crate) fn geometry(&self, geometry: &mut Json) -> Result<(), String> {
        if self.crs.is_wgs84() {
            if let Some(object) = geometry.as_object_mut() {
                object.remove("crs");
            }
            return each_position(geometry, &mut |position| {
                if let Some((x, y, _)) = numbers(position)? {
                    self.place(x, y).map_err(|why| self.told(position, why))?;
                }
                Ok(None::<()>)
            })
            .map(|_| ());
        }
        self.within(geometry, 0)
    }

    /// Places one position: longitude and latitude.
    #[cfg(test)]
    fn point(&self, x: f64, y: f64) -> Result<(f64, f64), String> {
        self.place(x, y).map_err(|why| self.told(&Json::from(vec![x, y]), why))
    }

    fn told(&self, position: &Json, why: &str) -> String {
        format!("the position {} {why} of `{}`", quoted(position), self.crs.name())
    }

    fn within(&self, geometry: &mut Json, depth: usize) -> Result<(), String> {
        let shape = Shape::of(geometry)?;
        let Some(object) = geometry.as_object_mut() else {
            return Err(format!("`{}` is no geometry", quoted(geometry)));
        };
        object.remove("bbox");
        object.remove("crs");
        if shape != Shape::GeometryCollection {
            return match object.get_mut("coordinates") {
                Some(coordinates) => self.lists(coordinates, shape.lists()),
                None => Err("a geometry has no `coordinates`".to_owned()),
            };
        }
        if depth >= DEEPEST {
            return Err(format!("collections stand in collections more than {DEEPEST} times"));
        }
        let Some(all) = object.get_mut("geometries").and_then(Json::as_array_mut) else {
            return Err("a collection has no list `geometries`".to_owned());
        };
        all.iter_mut().try_for_each(|one| self.within(one, depth + 1))
    }

    fn lists(&self, value: &mut Json, lists: usize) -> Result<(), String> {
        let Some(left) = lists.checked_sub(1) else {
            return self.position(value);
        };
        match value.as_array_mut() {
            Some(all) => all.iter_mut().try_for_each(|one| self.lists(one, left)),
            None => Err(format!("`{}` stands where a list of positions is expected", quoted(value))),
        }
    }

    fn position(&self, position: &mut Json) -> Result<(), String> {
        let Some((x, y, _)) = numbers(position)? else {
            return Ok(());
        };
        let (longitude, latitude) = self.place(x, y).map_err(|why| self.told(position, why))?;
        let number = |value: f64| Number::from_f64(value).map(Json::Number);
        if let Some([x, y, ..]) = position.as_array_mut().map(Vec::as_mut_slice)
            && let (Some(longitude), Some(latitude)) = (number(longitude), number(latitude))
        {
            *x = longitude;
            *y = latitude;
        }
        Ok(())
    }

    fn place(&self, x: f64, y: f64) -> Result<(f64, f64), &'static str> {
        const OUTSIDE: &str = "lies outside of the coordinates";
        if !x.is_finite() || !y.is_finite() {
            return Err("has no finite numbers for the coordinates");
        }
        let widest = if self.crs.0.is_greenwich { 180.0 } else { 360.0 };
        if self.crs.is_geographic() && (x.abs() > widest + SLACK || y.abs() > 90.0 + SLACK) {
            return Err(OUTSIDE);
        }
        let Some((from, to)) = &self.crs.0.ways else {
            return Ok((x, y));
        };
        let is_degrees = from.is_latlong();
        let mut place = if is_degrees { (x.to_radians(), y.to_radians(), 0.0) } else { (x, y, 0.0) };
        proj4rs::transform::transform(from, to, &mut place).map_err(|_| OUTSIDE)?;
        let (mut longitude, latitude) = (place.0.to_degrees(), place.1.to_degrees());
        if longitude.abs() > 180.0 {
            longitude -= 360.0 * (longitude / 360.0).round();
        }
        if !longitude.is_finite() || !latitude.is_finite() || latitude.abs() > 90.0 + SLACK {
            return Err(OUTSIDE);
        }
        // Far from where a projection holds, something comes out all the same: then the way back leads elsewhere.
        let mut back = place;
        proj4rs::transform::transform(to, from, &mut back).map_err(|_| OUTSIDE)?;
        let (back_x, back_y) =
            if is_degrees { (back.0.to_degrees(), back.1.to_degrees()) } else { (back.0, back.1) };
        let far = if is_degrees { 1e-5 } else { ASTRAY / from.to_meter() };
        // Both sides of the antimeridian, and all longitudes at a pole, are one.
        let is_edge = longitude.abs() > 180.0 - SLACK || latitude.abs() > 90.0 - SLACK;
        let is_apart = |one: f64, other: f64| (one - other).abs() > far || !other.is_finite();
        let off_x = if is_degrees {
            (x - back_x).rem_euclid(360.0).min((back_x - x).rem_euclid(360.0))
        } else {
            x - back_x
        };
        if (is_apart(off_x, 0.0) && !is_edge) || is_apart(y, back_y) {
            return Err(OUTSIDE);
        }
        Ok((rounded(longitude), rounded(latitude)))
    }
}

/// To a tenth of a millimetre.
fn rounded(degrees: f64) -> f64 {
    (degrees * 1e9).round() / 1e9
}

/// Why a geometry cannot be of WGS 84, in words with the position: no longitude or latitude is so large. Data in metres is
/// told by this.
pub(crate) fn misplaced(geometry: &Json) -> Option<String> {
    let found = each_position(geometry, &mut |position| {
        // What is no position is for others to say.
        let Ok(Some((x, y, _))) = numbers(position) else {
            return Ok(None);
        };
        if x.abs() <= 180.0 + SLACK && y.abs() <= 90.0 + SLACK {
            return Ok(None);
        }
        Ok(Some(format!(
            "the position {} is no longitude and latitude of WGS 84: these end at 180 and 90 degrees",
            quoted(position)
        )))
    });
    found.ok().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn to_wgs84(name: &str) -> ToWgs84 {
        ToWgs84::new(Crs::named(name).unwrap())
    }

    fn is_near(one: (f64, f64), other: (f64, f64), metres: f64) -> bool {
        let east = (one.0 - other.0) * other.1.to_radians().cos();
        east.hypot(one.1 - other.1) * 111_320.0 < metres
    }

    #[test]
    fn names_are_understood_as_they_are_written() {
        let names = [
            ("urn:ogc:def:crs:EPSG::31370", "EPSG:31370"),
            ("urn:ogc:def:crs:EPSG:6.9:31370", "EPSG:31370"),
            ("urn:x-ogc:def:crs:EPSG:6.11.2:31370", "EPSG:31370"),
            ("urn:ogc:def:crs:EPSG:31370", "EPSG:31370"),
            ("URN:OGC:DEF:CRS:EPSG::31370", "EPSG:31370"),
            ("EPSG:31370", "EPSG:31370"),
            ("epsg:31370", "EPSG:31370"),
            (" 31370 ", "EPSG:31370"),
            ("http://www.opengis.net/def/crs/EPSG/0/31370", "EPSG:31370"),
            ("https://www.opengis.net/def/crs/EPSG/9.9.1/31370/", "EPSG:31370"),
            ("http://www.opengis.net/gml/srs/epsg.xml#31370", "EPSG:31370"),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", "OGC:CRS84"),
            ("urn:ogc:def:crs:OGC::CRS84", "OGC:CRS84"),
            ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "OGC:CRS84"),
            ("http://www.opengis.net/def/crs/OGC/0/CRS84h", "OGC:CRS84"),
            ("OGC:CRS84", "OGC:CRS84"),
            ("CRS84", "OGC:CRS84"),
            ("CRS:84", "OGC:CRS84"),
            ("urn:ogc:def:crs:OGC:1.3:CRS83", "OGC:CRS83"),
            ("urn:ogc:def:crs:OGC:1.3:CRS27", "OGC:CRS27"),
            ("EPSG:900913", "EPSG:3857"),
            ("ESRI:102100", "EPSG:3857"),
        ];
        for (name, shown) in names {
            let crs = Crs::named(name).unwrap();
            assert_eq!(crs.name(), shown, "{name}");
            assert_eq!(crs, Crs::named(shown).unwrap());
        }
    }

    #[test]
    fn what_is_not_known_is_said_with_its_name() {
        let unknown = [
            "",
            ":",
            "EPSG:",
            "EPSG:1",
            "EPSG:99999",
            "EPSG:4294967296",
            "EPSG:+4326",
            "EPSG:43 26",
            "31370.0",
            "-31370",
            "urn:ogc:def:crs:EPSG::",
            "urn:ogc:def:crs:EPSG",
            "urn:ogc:def:crs:EPSG:1:2:31370",
            "urn:ogc:def:crs",
            "ESRI:31370",
            "ESRI:102199",
            "OGC:CRS85",
            "CRS99",
            "Belge 1972",
            "http://example.org/31370",
            "http://www.opengis.net/def/crs/EPSG/31370",
            "http://www.opengis.net/def/crs-compound?1=http://www.opengis.net/def/crs/EPSG/0/31370",
            "+proj=longlat",
        ];
        for name in unknown {
            let told = Crs::named(name).unwrap_err();
            assert!(
                told.contains(&format!("`{}", name.chars().take(60).collect::<String>()))
                    && told.contains("EPSG:31370"),
                "{name}: {told}"
            );
        }
        let long = Crs::named(&"x".repeat(9000)).unwrap_err();
        assert!(long.len() < 500);
        // From the centre of the Earth; in grads; on an ellipsoid of which nobody knows where it stands.
        for name in ["EPSG:4978", "EPSG:4807", "EPSG:4001", "EPSG:4055", "EPSG:22300"] {
            let told = Crs::named(name).unwrap_err();
            assert!(told.contains(name) && !told.contains("understood are"), "{name}: {told}");
        }
    }

    #[test]
    fn a_member_of_geojson_names_its_system() {
        let name = |name: &str| json!({"type": "name", "properties": {"name": name}});
        let of = |member: Json| Crs::of_member(&member).map(|crs| crs.name().to_owned());
        assert_eq!(of(name("urn:ogc:def:crs:EPSG::28992")).unwrap(), "EPSG:28992");
        assert_eq!(of(json!({"type": "Name", "properties": {"name": "EPSG:28992"}})).unwrap(), "EPSG:28992");
        assert_eq!(of(json!({"type": "EPSG", "properties": {"code": 31370}})).unwrap(), "EPSG:31370");
        assert_eq!(of(json!({"type": "EPSG", "properties": {"code": "31370"}})).unwrap(), "EPSG:31370");
        let wrong = [
            (Json::Null, "nothing is known"),
            (name("moon"), "`moon`"),
            (
                json!({"type": "link", "properties": {"href": "http://a.example/crs"}}),
                "`http://a.example/crs`",
            ),
            (json!({"type": "name"}), "properties.name"),
            (json!({"type": "EPSG", "properties": {}}), "properties.code"),
            (json!({"type": "EPSG", "properties": {"code": -1}}), "`EPSG:-1`"),
            (json!({"type": "EPSG", "properties": {"code": 4326.5}}), "`EPSG:4326.5`"),
            (json!("EPSG:4326"), "names no system"),
            (json!({}), "names no system"),
        ];
        for (member, words) in wrong {
            let told = of(member.clone()).unwrap_err();
            assert!(told.contains(words), "{member}: {told}");
        }
    }

    /// What PROJ 9.5 makes of them (pyproj 3.7, the transformation without grids that it takes first).
    #[test]
    fn the_well_known_are_placed() {
        let all = [
            (31370, [148679.447, 171066.81], [4.349999991, 50.850000000]),
            (31370, [68311.31, 210645.247], [3.199999994, 51.199999999]),
            (31370, [251748.755, 121992.498], [5.799999992, 50.400000004]),
            (28992, [121819.365, 487013.762], [4.899999999, 52.370000008]),
            (28992, [155191.399, 462424.533], [5.389999998, 52.150000006]),
            (28992, [121687.0, 487484.0], [4.898009893, 52.374218164]),
            (28992, [155000.0, 463000.0], [5.387203508, 52.155172301]),
            (31370, [152000.5, 212000.2], [4.397389642, 51.217947225]),
            (28992, [255854.998, 591450.417], [6.900000008, 53.300000001]),
            (25832, [500000.0, 5316300.224], [9.000000000, 47.999999997]),
            (25832, [691221.382, 5333943.931], [11.569999999, 48.130000004]),
            (25833, [391390.731, 5817855.241], [13.399999995, 52.500000003]),
            (25833, [611544.042, 6653097.435], [17.000000000, 59.999999998]),
            (32632, [500000.0, 5316300.224], [9.000000000, 47.999999996]),
            (32632, [308173.391, 5152640.002], [6.499999996, 46.499999998]),
            (3857, [489805.759, 6656747.949], [4.399999996, 51.200000001]),
            (3857, [-19981848.597, -11068715.659], [-179.499999996, -69.999999999]),
            (27700, [530043.195, 180358.209], [-0.127599987, 51.507199999]),
            (27700, [266821.74, 803151.942], [-4.199999986, 57.099999997]),
            (2154, [652301.565, 6861302.726], [2.350000002, 48.850000001]),
            (2154, [213320.123, 6263036.336], [-2.999999996, 43.299999997]),
            (3035, [3930023.726, 3135980.904], [4.399999999, 51.199999999]),
            (3035, [5098255.285, 4177014.049], [23.999999991, 59.999999996]),
            (5514, [-742866.33, -1042729.033], [14.420000013, 50.090000001]),
            (5514, [-574236.778, -1280112.795], [17.100000005, 48.150000003]),
            (5514, [-446332.256, -1174502.692], [18.700000011, 49.200000004]),
            (2056, [2600104.109, 1199879.628], [7.440000001, 46.950000008]),
            (2056, [2757346.844, 1185270.82], [9.500000011, 46.800000011]),
            (31467, [3500075.737, 5395825.468], [9.000000006, 48.700000000]),
            (31467, [3432935.346, 5874647.924], [7.999999996, 53.000000001]),
            (31256, [2814.771, 340177.441], [16.370000002, 48.200000010]),
            (31256, [-70808.418, 214964.653], [15.400000001, 47.070000009]),
            (3812, [648679.018, 671067.056], [4.349999999, 50.850000003]),
            (31300, [149422.193, 171066.632], [4.349999994, 50.849999999]),
            (5513, [1042729.033, 742866.33], [14.420000013, 50.090000001]),
            (2065, [1042721.363, 742860.083], [14.420000008, 50.090000016]),
            (3844, [587700.429, 326177.222], [26.100000010, 44.430000004]),
            (31283, [2814.771, 5340177.441], [16.370000002, 48.200000010]),
            (3912, [461678.098, 100768.596], [14.500000013, 46.049999920]),
            (5683, [3500075.77, 5395825.471], [8.999999992, 48.699999998]),
            (5564, [6322563.754, 5593998.438], [30.500000009, 50.450000005]),
            (2039, [181280.365, 667478.9], [34.800000002, 32.099999999]),
            (5174, [199930.276, 444198.852], [127.000000037, 37.499999958]),
            (27572, [600990.892, 2427961.512], [2.349999999, 48.850000003]),
            (2169, [77244.145, 73929.649], [6.129999991, 49.600000001]),
            (3003, [1514882.592, 5034090.199], [9.190000013, 45.460000001]),
            (29903, [315919.995, 234694.102], [-6.259999996, 53.349999997]),
            (2180, [636640.467, 483432.201], [21.000000000, 52.200000002]),
            (3006, [674647.882, 6580824.576], [18.069999998, 59.330000004]),
            (3067, [385700.421, 6672126.743], [24.939999993, 60.170000000]),
            (21781, [600104.109, 199879.628], [7.440000001, 46.950000008]),
            (23031, [430701.098, 4582585.439], [2.170000010, 41.390000009]),
            (31287, [471758.434, 489424.496], [14.300000006, 48.300000006]),
            (2263, [984250.0, 194305.339], [-74.000000000, 40.700000000]),
            (4230, [4.4013024, 51.2008238], [4.399999971, 51.199999964]),
            (4313, [4.3987281, 51.2005348], [4.399999978, 51.200000044]),
            (4258, [4.4, 51.2], [4.400000000, 51.200000000]),
            (6871, [489805.759, 6656747.949], [4.399999996, 51.200000001]),
            (7415, [121819.365, 487013.762], [4.899999999, 52.370000008]),
            (2193, [1750697.521, 5426376.623], [174.799999996, -41.300000002]),
            (5940, [1971264.222, 1892756.617], [89.999999934, 89.000000001]),
            (3031, [0.0, 1638783.2384072], [0.000000000, -75.000000000]),
            (26915, [500000.0, 4982950.4], [-93.000000000, 44.999999999]),
            (2100, [473503.93, 4203350.504], [23.699999995, 37.979999986]),
            (3765, [458800.918, 5073485.278], [15.970000003, 45.800000004]),
            (23700, [649439.112, 239562.881], [19.040000010, 47.500000000]),
            (3301, [542555.357, 6589368.181], [24.749999996, 59.440000003]),
            (3763, [-87567.123, -104793.555], [-9.140000001, 38.720000003]),
            (5041, [2111026.52, 2000000.0], [90.000000000, 89.000000001]),
        ];
        for (code, [x, y], [longitude, latitude]) in all {
            let found = to_wgs84(&format!("EPSG:{code}")).point(x, y).unwrap();
            assert!(
                is_near(found, (longitude, latitude), 0.05),
                "{code}: {found:?} for {longitude}, {latitude}"
            );
        }
        // NAD27's mean shift.
        let found = to_wgs84("OGC:CRS27").point(-93.0, 45.0).unwrap();
        assert!(is_near(found, (-93.000_207_527, 44.999_993_013), 0.05), "{found:?}");
    }

    #[test]
    fn what_is_wgs84_stays() {
        for name in ["CRS84", "EPSG:4326", "EPSG:4979", "EPSG:4258", "EPSG:4269", "OGC:CRS83", "EPSG:4171"] {
            let crs = Crs::named(name).unwrap();
            assert!(crs.is_wgs84() && crs.is_geographic(), "{name}");
            assert_eq!(ToWgs84::new(crs).point(4.123_456_789_012, 51.2).unwrap(), (4.123_456_789_012, 51.2));
        }
        for (name, is_geographic) in
            [("EPSG:4313", true), ("EPSG:4230", true), ("EPSG:31370", false), ("EPSG:3857", false)]
        {
            let crs = Crs::named(name).unwrap();
            assert_eq!((crs.is_wgs84(), crs.is_geographic()), (false, is_geographic), "{name}");
        }
        // Whole numbers stay whole.
        let mut point =
            json!({"type": "Point", "coordinates": [4, 51, 7], "crs": null, "bbox": [4, 51, 4, 51]});
        to_wgs84("EPSG:4326").geometry(&mut point).unwrap();
        assert_eq!(point, json!({"type": "Point", "coordinates": [4, 51, 7], "bbox": [4, 51, 4, 51]}));
        let told = to_wgs84("EPSG:4326")
            .geometry(&mut json!({"type": "Point", "coordinates": [152000.5, 212000.2]}));
        assert!(told.unwrap_err().contains("[152000.5,212000.2]"));
    }

    #[test]
    fn geometries_of_all_types_are_placed() {
        let lambert = to_wgs84("EPSG:31370");
        let place = json!([152000.5, 212000.2]);
        let high = json!([152000.5, 212000.2, 12.5, 3]);
        let (placed, placed_high) =
            (json!([4.39738964, 51.21794723]), json!([4.39738964, 51.21794723, 12.5, 3]));
        let all = |one: &Json, high: &Json| {
            json!({"type": "GeometryCollection", "geometries": [
                {"type": "Point", "coordinates": one},
                {"type": "Point", "coordinates": []},
                {"type": "LineString", "coordinates": [one, high]},
                {"type": "MultiPoint", "coordinates": [high]},
                {"type": "Polygon", "coordinates": [[one, one], [high]]},
                {"type": "MultiLineString", "coordinates": [[one], []]},
                {"type": "MultiPolygon", "coordinates": [[[one]], [[high], []]]},
                {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": high}]},
            ]})
        };
        let mut geometry = all(&place, &high);
        lambert.geometry(&mut geometry).unwrap();
        fn shorten(value: &mut Json) {
            match value {
                Json::Array(all) => all.iter_mut().for_each(shorten),
                Json::Object(all) => all.values_mut().for_each(shorten),
                Json::Number(number) if number.is_f64() => {
                    *value = json!((number.as_f64().unwrap() * 1e8).round() / 1e8);
                }
                _ => {}
            }
        }
        shorten(&mut geometry);
        assert_eq!(geometry, all(&placed, &placed_high));
        // Its own extent would be of the other system.
        let mut point = json!({"type": "Point", "coordinates": place, "bbox": [1, 2, 1, 2], "crs": {}});
        lambert.geometry(&mut point).unwrap();
        assert_eq!(point.as_object().unwrap().len(), 2);
        let written = point["coordinates"][0].to_string();
        assert!(written.len() <= 11, "{written}");
    }

    #[test]
    fn what_cannot_be_placed_is_named() {
        let point = |coordinates: Json| json!({"type": "Point", "coordinates": coordinates});
        let wrong = [
            ("EPSG:31370", point(json!([1e300, 2])), "[1e+300,2]"),
            ("EPSG:25832", point(json!([5e8, 5e8])), "[500000000.0,500000000.0]"),
            ("EPSG:3035", point(json!([1e8, 1e8])), "[100000000.0,100000000.0]"),
            ("EPSG:3857", point(json!([1e9, 0])), "[1000000000.0,0]"),
            ("EPSG:5514", point(json!([1e12, 1e12])), "[1000000000000.0,1000000000000.0]"),
            ("EPSG:4313", point(json!([152000, 212000])), "[152000,212000]"),
            ("EPSG:31370", point(json!(["1", 2])), "is no position"),
            ("EPSG:31370", point(json!([1])), "is no position"),
            ("EPSG:31370", json!({"type": "Polygon", "coordinates": [[1, 2]]}), "`1` is no position"),
            ("EPSG:31370", json!({"type": "LineString", "coordinates": 1}), "a list of positions"),
            ("EPSG:31370", json!({"type": "Circle"}), "`Circle`"),
            ("EPSG:31370", json!({"type": "Point"}), "no `coordinates`"),
            ("EPSG:31370", Json::Null, "`null` is no geometry"),
        ];
        for (name, mut geometry, words) in wrong {
            let told = to_wgs84(name).geometry(&mut geometry).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
        for name in ["EPSG:31370", "EPSG:4326"] {
            assert!(to_wgs84(name).point(f64::NAN, 1.0).is_err());
            assert!(to_wgs84(name).point(1.0, f64::INFINITY).is_err());
        }
        let deep = (0..40).fold(
            point(json!([1, 2])),
            |inner, _| json!({"type": "GeometryCollection", "geometries": [inner]}),
        );
        assert!(to_wgs84("EPSG:31370").geometry(&mut deep.clone()).unwrap_err().contains("32"));
        assert_eq!(misplaced(&deep), None);
    }

    #[test]
    fn the_edges_of_the_world_are_placed() {
        let mercator = to_wgs84("EPSG:3857");
        let (longitude, latitude) = mercator.point(20_037_508.342_789_244, 0.0).unwrap();
        assert!((longitude.abs() - 180.0).abs() < 1e-8 && latitude == 0.0);
        let (longitude, _) = mercator.point(-20_037_508.342_789_244, 100.0).unwrap();
        assert!((longitude.abs() - 180.0).abs() < 1e-8);
        let (_, latitude) = to_wgs84("EPSG:3031").point(0.0, 0.0).unwrap();
        assert!((latitude + 90.0).abs() < 1e-8);
    }

    #[test]
    fn what_is_in_metres_is_told() {
        let point = |x: f64, y: f64| json!({"type": "Point", "coordinates": [x, y]});
        for (x, y) in [(4.4, 51.2), (180.0, 90.0), (-180.0, -90.0), (180.000_000_000_5, 0.0)] {
            assert_eq!(misplaced(&point(x, y)), None);
        }
        for (x, y) in [(152000.5, 212000.2), (180.1, 0.0), (0.0, 90.1), (190.0, 10.0)] {
            let told = misplaced(&point(x, y)).unwrap();
            assert!(told.contains(&format!("[{x:?},{y:?}]")), "{told}");
        }
        let second = json!({"type": "GeometryCollection", "geometries": [
            {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
            {"type": "MultiPolygon", "coordinates": [[[[1, 2], [300, 4]]]]}]});
        assert!(misplaced(&second).unwrap().contains("[300,4]"));
        for other in [
            Json::Null,
            json!({"type": "Point", "coordinates": []}),
            json!({"type": "Point", "coordinates": ["a"]}),
        ] {
            assert_eq!(misplaced(&other), None);
        }
    }

    #[test]
    fn it_goes_between_threads() {
        fn goes<T: Send + Sync + Clone + 'static>() {}
        goes::<Crs>();
        goes::<ToWgs84>();
    }

    /// No definition of the table makes it panic, and whatever is placed comes back.
    #[test]
    fn every_code_is_placed_or_refused_in_words() {
        let mut placed = 0;
        for code in 0..=u16::MAX {
            match Crs::named(&code.to_string()) {
                Ok(crs) => {
                    placed += 1;
                    for (x, y) in [(0.0, 0.0), (5e5, 5e6), (-1e5, -1e6), (12.0, 51.0), (1e7, -1e7)] {
                        if let Ok((x, y)) = ToWgs84::new(crs.clone()).point(x, y) {
                            assert!(x.abs() <= 180.0 + SLACK && y.abs() <= 90.0 + SLACK, "{crs}: {x}, {y}");
                        }
                    }
                }
                Err(told) => assert!(told.contains(&code.to_string()), "{told}"),
            }
        }
        assert!(placed > 5400, "{placed}");
    }
}
