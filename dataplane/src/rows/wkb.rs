//! Geometries of GeoJSON as well-known binary (ISO, little endian), and the extent of a column of them, as GeoParquet asks.

use std::collections::BTreeSet;

use serde_json::Value as Json;

/// Collections within collections are followed so far.
pub(super) const DEEPEST: usize = 32;
/// Characters of a value that stand in words to somebody.
const LONGEST_QUOTE: usize = 80;

/// The types of geometries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Point,
    LineString,
    Polygon,
    MultiPoint,
    MultiLineString,
    MultiPolygon,
    GeometryCollection,
}

impl Shape {
    /// The type of a geometry.
    pub(super) fn of(geometry: &Json) -> Result<Self, String> {
        let Some(members) = geometry.as_object() else {
            return Err(format!("`{}` is no geometry", quoted(geometry)));
        };
        let Some(kind) = members.get("type") else {
            return Err("a geometry has no `type`".to_owned());
        };
        Ok(match kind.as_str() {
            Some("Point") => Self::Point,
            Some("LineString") => Self::LineString,
            Some("Polygon") => Self::Polygon,
            Some("MultiPoint") => Self::MultiPoint,
            Some("MultiLineString") => Self::MultiLineString,
            Some("MultiPolygon") => Self::MultiPolygon,
            Some("GeometryCollection") => Self::GeometryCollection,
            _ => return Err(format!("`{}` is no type of a geometry", quoted(kind))),
        })
    }

    /// How many lists stand around a position in `coordinates`; a collection has none.
    pub(super) const fn lists(self) -> usize {
        match self {
            Self::Point | Self::GeometryCollection => 0,
            Self::LineString | Self::MultiPoint => 1,
            Self::Polygon | Self::MultiLineString => 2,
            Self::MultiPolygon => 3,
        }
    }

    const fn code(self, has_z: bool) -> u32 {
        let code = match self {
            Self::Point => 1,
            Self::LineString => 2,
            Self::Polygon => 3,
            Self::MultiPoint => 4,
            Self::MultiLineString => 5,
            Self::MultiPolygon => 6,
            Self::GeometryCollection => 7,
        };
        if has_z { code + 1000 } else { code }
    }

    const fn name(self, has_z: bool) -> &'static str {
        match (self, has_z) {
            (Self::Point, false) => "Point",
            (Self::Point, true) => "Point Z",
            (Self::LineString, false) => "LineString",
            (Self::LineString, true) => "LineString Z",
            (Self::Polygon, false) => "Polygon",
            (Self::Polygon, true) => "Polygon Z",
            (Self::MultiPoint, false) => "MultiPoint",
            (Self::MultiPoint, true) => "MultiPoint Z",
            (Self::MultiLineString, false) => "MultiLineString",
            (Self::MultiLineString, true) => "MultiLineString Z",
            (Self::MultiPolygon, false) => "MultiPolygon",
            (Self::MultiPolygon, true) => "MultiPolygon Z",
            (Self::GeometryCollection, false) => "GeometryCollection",
            (Self::GeometryCollection, true) => "GeometryCollection Z",
        }
    }
}

/// A value for words to somebody: its beginning.
pub(super) fn quoted(value: &Json) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut short: String = text.chars().take(LONGEST_QUOTE).filter(|char| !char.is_control()).collect();
    if text.chars().nth(LONGEST_QUOTE).is_some() {
        short.push('…');
    }
    short
}

/// The members of a collection.
fn members(geometry: &Json) -> Result<&[Json], String> {
    let list = geometry.get("geometries").and_then(Json::as_array);
    list.map(Vec::as_slice).ok_or_else(|| "a collection has no list `geometries`".to_owned())
}

fn too_deep() -> String {
    format!("collections stand in collections more than {DEEPEST} times")
}

fn list(value: &Json) -> Result<&[Json], String> {
    let list = value.as_array().map(Vec::as_slice);
    list.ok_or_else(|| format!("`{}` stands where a list of positions is expected", quoted(value)))
}

/// Shows `see` every position of a geometry, until it answers something.
pub(super) fn each_position<T>(
    geometry: &Json,
    see: &mut dyn FnMut(&Json) -> Result<Option<T>, String>,
) -> Result<Option<T>, String> {
    within(geometry, 0, see)
}

fn within<T>(
    geometry: &Json,
    depth: usize,
    see: &mut dyn FnMut(&Json) -> Result<Option<T>, String>,
) -> Result<Option<T>, String> {
    let shape = Shape::of(geometry)?;
    if shape != Shape::GeometryCollection {
        return match geometry.get("coordinates") {
            Some(coordinates) => in_lists(coordinates, shape.lists(), see),
            None => Err("a geometry has no `coordinates`".to_owned()),
        };
    }
    if depth >= DEEPEST {
        return Err(too_deep());
    }
    for one in members(geometry)? {
        if let Some(answer) = within(one, depth + 1, see)? {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

fn in_lists<T>(
    value: &Json,
    lists: usize,
    see: &mut dyn FnMut(&Json) -> Result<Option<T>, String>,
) -> Result<Option<T>, String> {
    let Some(left) = lists.checked_sub(1) else {
        return see(value);
    };
    for one in list(value)? {
        if let Some(answer) = in_lists(one, left, see)? {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

/// The numbers of a position; none for an empty point.
pub(super) fn numbers(position: &Json) -> Result<Option<(f64, f64, Option<f64>)>, String> {
    let wrong = || format!("`{}` is no position", quoted(position));
    let all = position.as_array().ok_or_else(wrong)?;
    let number = |value: &Json| value.as_f64().filter(|number| number.is_finite()).ok_or_else(wrong);
    match all.as_slice() {
        [] => Ok(None),
        [x, y] => Ok(Some((number(x)?, number(y)?, None))),
        [x, y, z, ..] => Ok(Some((number(x)?, number(y)?, Some(number(z)?)))),
        [_] => Err(wrong()),
    }
}

/// What a geometry that was written is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kinds {
    /// Its type.
    pub(crate) shape: Shape,
    /// Whether it was written with heights: all of its positions have one.
    pub(crate) has_z: bool,
    bounds: Option<Bounds>,
}

impl Kinds {
    /// As GeoParquet names it: `MultiPolygon Z`.
    pub(crate) const fn name(&self) -> &'static str {
        self.shape.name(self.has_z)
    }

    /// The least and the largest: x, y, x, y. An empty geometry has none.
    #[cfg(test)]
    fn bbox(&self) -> Option<[f64; 4]> {
        self.bounds.map(|bounds| bounds.flat)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    flat: [f64; 4],
    /// Of the heights, where every position has one.
    heights: Option<[f64; 2]>,
}

impl Bounds {
    const fn of(x: f64, y: f64, z: Option<f64>) -> Self {
        let heights = match z {
            Some(z) => Some([z, z]),
            None => None,
        };
        Self { flat: [x, y, x, y], heights }
    }

    fn with(self, other: Self) -> Self {
        let ([left, low, right, high], [x, y, to_x, to_y]) = (self.flat, other.flat);
        let heights = match (self.heights, other.heights) {
            (Some([low, high]), Some([z, to_z])) => Some([low.min(z), high.max(to_z)]),
            _ => None,
        };
        Self { flat: [left.min(x), low.min(y), right.max(to_x), high.max(to_y)], heights }
    }
}

/// Writes a GeoJSON geometry as well-known binary. Where it is none, the words say why and `out` stays as it was.
///
/// It has heights if all of its positions do. What cannot be read back is refused: a line of one position, a ring that is
/// not closed.
pub(crate) fn write(geometry: &Json, out: &mut Vec<u8>) -> Result<Kinds, String> {
    let mut bounds: Option<Bounds> = None;
    each_position::<()>(geometry, &mut |position| {
        if let Some((x, y, z)) = numbers(position)? {
            let here = Bounds::of(x, y, z);
            bounds = Some(bounds.map_or(here, |bounds| bounds.with(here)));
        }
        Ok(None)
    })?;
    let has_z = bounds.is_some_and(|bounds| bounds.heights.is_some());
    let start = out.len();
    let written = Writer { out, has_z }.geometry(geometry, 0);
    match written {
        Ok(shape) => Ok(Kinds { shape, has_z, bounds }),
        Err(words) => {
            out.truncate(start);
            Err(words)
        }
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    has_z: bool,
}

impl Writer<'_> {
    fn geometry(&mut self, geometry: &Json, depth: usize) -> Result<Shape, String> {
        let shape = Shape::of(geometry)?;
        if shape == Shape::GeometryCollection {
            if depth >= DEEPEST {
                return Err(too_deep());
            }
            let members = members(geometry)?;
            self.begin(shape);
            self.count(members.len())?;
            for one in members {
                self.geometry(one, depth + 1)?;
            }
            return Ok(shape);
        }
        let Some(coordinates) = geometry.get("coordinates") else {
            return Err("a geometry has no `coordinates`".to_owned());
        };
        let part = match shape {
            Shape::MultiPoint => Some(Shape::Point),
            Shape::MultiLineString => Some(Shape::LineString),
            Shape::MultiPolygon => Some(Shape::Polygon),
            _ => None,
        };
        self.begin(shape);
        match part {
            Some(part) => {
                let parts = list(coordinates)?;
                self.count(parts.len())?;
                for coordinates in parts {
                    self.begin(part);
                    self.simple(part, coordinates)?;
                }
            }
            None => self.simple(shape, coordinates)?,
        }
        Ok(shape)
    }

    /// A point, a line or a polygon.
    fn simple(&mut self, shape: Shape, coordinates: &Json) -> Result<(), String> {
        match shape {
            Shape::Point => self.position(numbers(coordinates)?),
            Shape::LineString => {
                let positions = list(coordinates)?;
                if positions.len() == 1 {
                    return Err(format!("the line `{}` has one position only", quoted(coordinates)));
                }
                self.positions(positions)?;
            }
            _ => {
                let rings = list(coordinates)?;
                self.count(rings.len())?;
                for ring in rings {
                    let positions = list(ring)?;
                    if (1..3).contains(&positions.len()) {
                        return Err(format!("the ring `{}` has too few positions", quoted(ring)));
                    }
                    let place = |position| numbers(position).map(|all| all.map(|(x, y, _)| (x, y)));
                    if let (Some(first), Some(last)) = (positions.first(), positions.last())
                        && place(first)? != place(last)?
                    {
                        return Err(format!("the ring `{}` does not end where it begins", quoted(ring)));
                    }
                    self.positions(positions)?;
                }
            }
        }
        Ok(())
    }

    fn positions(&mut self, positions: &[Json]) -> Result<(), String> {
        self.count(positions.len())?;
        for one in positions {
            let Some(numbers) = numbers(one)? else {
                return Err("a line or a ring has a position without numbers".to_owned());
            };
            self.position(Some(numbers));
        }
        Ok(())
    }

    fn position(&mut self, numbers: Option<(f64, f64, Option<f64>)>) {
        let (x, y, z) = numbers.unwrap_or((f64::NAN, f64::NAN, None));
        self.out.extend_from_slice(&x.to_le_bytes());
        self.out.extend_from_slice(&y.to_le_bytes());
        if self.has_z {
            self.out.extend_from_slice(&z.unwrap_or(f64::NAN).to_le_bytes());
        }
    }

    fn begin(&mut self, shape: Shape) {
        // Little endian.
        self.out.push(1);
        self.out.extend_from_slice(&shape.code(self.has_z).to_le_bytes());
    }

    fn count(&mut self, count: usize) -> Result<(), String> {
        let count = u32::try_from(count).map_err(|_| "a geometry has too many parts".to_owned())?;
        self.out.extend_from_slice(&count.to_le_bytes());
        Ok(())
    }
}

/// What GeoParquet says of a whole column: how far it reaches, and of which types it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extent {
    bounds: Option<Bounds>,
    names: BTreeSet<&'static str>,
}

impl Extent {
    /// Counts a geometry in.
    pub(crate) fn add(&mut self, kinds: &Kinds) {
        self.names.insert(kinds.name());
        if let Some(here) = kinds.bounds {
            self.bounds = Some(self.bounds.map_or(here, |bounds| bounds.with(here)));
        }
    }

    /// The least and the largest: x, y, x, y. None, if there is no position.
    pub(crate) fn bbox(&self) -> Option<[f64; 4]> {
        self.bounds.map(|bounds| bounds.flat)
    }

    /// The least and the largest height, if every geometry has heights; then GeoParquet's `bbox` is of six numbers.
    pub(crate) fn heights(&self) -> Option<[f64; 2]> {
        self.bounds.and_then(|bounds| bounds.heights)
    }

    /// The types, as GeoParquet 1.1 names them, in order.
    pub(crate) fn geometry_types(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn hex(geometry: &Json) -> Result<String, String> {
        let mut out = vec![9];
        let kinds = write(geometry, &mut out)?;
        assert!(!kinds.name().is_empty());
        let mut text = String::new();
        for byte in &out[1..] {
            write!(text, "{byte:02x}").unwrap();
        }
        Ok(text)
    }

    /// The bytes are those of shapely 2.2 (`to_wkb`, flavor iso).
    #[test]
    fn the_bytes_are_those_that_others_write() {
        let all = [
            (r#"{"type":"Point","coordinates":[4.4,51.2]}"#, "01010000009a999999999911409a99999999994940"),
            (
                r#"{"type":"Point","coordinates":[4.4,51.2,7.5]}"#,
                "01e90300009a999999999911409a999999999949400000000000001e40",
            ),
            (r#"{"type":"Point","coordinates":[]}"#, "0101000000000000000000f87f000000000000f87f"),
            (
                r#"{"type":"LineString","coordinates":[[1,2],[3,4]]}"#,
                concat!(
                    "010200000002000000000000000000f03f00000000000000400000000000000840000000",
                    "0000001040",
                ),
            ),
            (
                r#"{"type":"LineString","coordinates":[[1,2,3],[4,5,6]]}"#,
                concat!(
                    "01ea03000002000000000000000000f03f00000000000000400000000000000840000000",
                    "000000104000000000000014400000000000001840",
                ),
            ),
            (
                r#"{"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,0]],[[2,1],[3,1],[3,2],[2,1]]]}"#,
                concat!(
                    "010300000002000000040000000000000000000000000000000000000000000000000022",
                    "400000000000000000000000000000224000000000000022400000000000000000000000",
                    "0000000000040000000000000000000040000000000000f03f0000000000000840000000",
                    "000000f03f000000000000084000000000000000400000000000000040000000000000f0",
                    "3f",
                ),
            ),
            (
                r#"{"type":"MultiPoint","coordinates":[[1,2],[3,4]]}"#,
                concat!(
                    "0104000000020000000101000000000000000000f03f0000000000000040010100000000",
                    "000000000008400000000000001040",
                ),
            ),
            (
                r#"{"type":"MultiLineString","coordinates":[[[1,2],[3,4]],[[5,6],[7,8],[9,0]]]}"#,
                concat!(
                    "010500000002000000010200000002000000000000000000f03f00000000000000400000",
                    "000000000840000000000000104001020000000300000000000000000014400000000000",
                    "0018400000000000001c40000000000000204000000000000022400000000000000000",
                ),
            ),
            (
                r#"{"type":"MultiPolygon","coordinates":[[[[0,0,1],[1,0,1],[1,1,1],[0,0,1]]]]}"#,
                concat!(
                    "01ee0300000100000001eb03000001000000040000000000000000000000000000000000",
                    "0000000000000000f03f000000000000f03f0000000000000000000000000000f03f0000",
                    "00000000f03f000000000000f03f000000000000f03f0000000000000000000000000000",
                    "0000000000000000f03f",
                ),
            ),
            (
                r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},{"type":"LineString","coordinates":[[1,2],[3,4]]}]}"#,
                concat!(
                    "0107000000020000000101000000000000000000f03f0000000000000040010200000002",
                    "000000000000000000f03f000000000000004000000000000008400000000000001040",
                ),
            ),
            (
                r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2,3]}]}"#,
                concat!("01ef0300000100000001e9030000000000000000f03f0000000000000040000000000000", "0840",),
            ),
            (r#"{"type":"Polygon","coordinates":[]}"#, "010300000000000000"),
            (r#"{"type":"GeometryCollection","geometries":[]}"#, "010700000000000000"),
        ];
        for (text, bytes) in all {
            let geometry = serde_json::from_str(text).unwrap();
            assert_eq!(hex(&geometry).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn heights_are_written_if_all_positions_have_one() {
        let flat = json!({"type": "LineString", "coordinates": [[1, 2], [3, 4]]});
        let mixed = json!({"type": "LineString", "coordinates": [[1, 2, 9], [3, 4]]});
        assert_eq!(hex(&mixed), hex(&flat));
        let more = json!({"type": "Point", "coordinates": [1, 2, 3, 4, "x"]});
        assert_eq!(hex(&more), hex(&json!({"type": "Point", "coordinates": [1, 2, 3]})));
        let within = json!({"type": "GeometryCollection", "geometries": [
            {"type": "Point", "coordinates": [1, 2, 3]}, {"type": "Point", "coordinates": [1, 2]}]});
        assert_eq!(hex(&within).unwrap().get(..10), Some("0107000000"));
        // An empty point has no say.
        let with_empty = json!({"type": "MultiPoint", "coordinates": [[1, 2, 3], []]});
        assert_eq!(write(&with_empty, &mut Vec::new()).unwrap().name(), "MultiPoint Z");
    }

    #[test]
    fn what_is_no_geometry_is_refused_in_words() {
        let point = |coordinates: Json| json!({"type": "Point", "coordinates": coordinates});
        let all = [
            (Json::Null, "`null` is no geometry"),
            (json!([1, 2]), "`[1,2]` is no geometry"),
            (json!({"coordinates": [1, 2]}), "no `type`"),
            (json!({"type": "Circle", "coordinates": [1, 2]}), "`Circle` is no type"),
            (json!({"type": 3, "coordinates": [1, 2]}), "`3` is no type"),
            (json!({"type": "Point"}), "no `coordinates`"),
            (json!({"type": "GeometryCollection"}), "no list `geometries`"),
            (json!({"type": "GeometryCollection", "geometries": [null]}), "`null` is no geometry"),
            (point(json!([1])), "`[1]` is no position"),
            (point(json!(["1", "2"])), "is no position"),
            (point(json!([1, null])), "is no position"),
            (point(json!([1, 2, null])), "is no position"),
            (point(json!([[1, 2]])), "is no position"),
            (point(Json::Null), "`null` is no position"),
            (json!({"type": "LineString", "coordinates": [1, 2]}), "`1` is no position"),
            (json!({"type": "LineString", "coordinates": [[1, 2]]}), "one position only"),
            (json!({"type": "LineString", "coordinates": [[], []]}), "without numbers"),
            (json!({"type": "Polygon", "coordinates": [[1, 2], [3, 4]]}), "`1` is no position"),
            (json!({"type": "Polygon", "coordinates": [1]}), "a list of positions is expected"),
            (json!({"type": "Polygon", "coordinates": [[[0, 0], [0, 0]]]}), "too few positions"),
            (json!({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}), "does not end"),
            (json!({"type": "MultiPolygon", "coordinates": [[[0, 0], [1, 0]]]}), "is no position"),
            (json!({"type": "MultiPoint", "coordinates": {"a": 1}}), "a list of positions is expected"),
        ];
        for (geometry, words) in all {
            let mut out = vec![7];
            let told = write(&geometry, &mut out).unwrap_err();
            assert!(told.contains(words), "{geometry}: {told}");
            assert_eq!(out, [7], "{geometry}");
        }
        let long = point(json!("x".repeat(5000)));
        assert!(write(&long, &mut Vec::new()).unwrap_err().len() < 400);
    }

    #[test]
    fn collections_are_followed_so_far() {
        let nested = |times: usize| {
            (0..times).fold(
                json!({"type": "Point", "coordinates": [1, 2]}),
                |inner, _| json!({"type": "GeometryCollection", "geometries": [inner]}),
            )
        };
        assert!(write(&nested(DEEPEST), &mut Vec::new()).is_ok());
        let told = write(&nested(DEEPEST + 1), &mut Vec::new()).unwrap_err();
        assert!(told.contains("more than 32 times"), "{told}");
    }

    #[test]
    fn a_column_reaches_as_far_as_its_geometries() {
        let mut extent = Extent::default();
        assert_eq!((extent.bbox(), extent.heights()), (None, None));
        let add = |extent: &mut Extent, geometry: Json| {
            let kinds = write(&geometry, &mut Vec::new()).unwrap();
            extent.add(&kinds);
            kinds
        };
        let kinds = add(&mut extent, json!({"type": "Point", "coordinates": []}));
        assert_eq!((kinds.bbox(), extent.bbox()), (None, None));
        add(&mut extent, json!({"type": "Point", "coordinates": [4, 51, 7]}));
        let line = json!({"type": "LineString", "coordinates": [[-1, 2, -3], [5, 50, 1]]});
        let kinds = add(&mut extent, line);
        assert_eq!((kinds.name(), kinds.bbox()), ("LineString Z", Some([-1.0, 2.0, 5.0, 50.0])));
        assert_eq!(extent.bbox(), Some([-1.0, 2.0, 5.0, 51.0]));
        assert_eq!(extent.heights(), Some([-3.0, 7.0]));
        add(&mut extent, json!({"type": "Point", "coordinates": [6, 52]}));
        assert_eq!((extent.bbox(), extent.heights()), (Some([-1.0, 2.0, 6.0, 52.0]), None));
        assert_eq!(extent.geometry_types().collect::<Vec<_>>(), ["LineString Z", "Point", "Point Z"]);
    }

    /// Reads what was written, by the standard.
    struct Reader<'a>(&'a [u8]);

    impl Reader<'_> {
        fn take<const N: usize>(&mut self) -> [u8; N] {
            let (first, rest) = self.0.split_first_chunk::<N>().unwrap();
            self.0 = rest;
            *first
        }

        fn count(&mut self) -> u32 {
            u32::from_le_bytes(self.take())
        }

        fn position(&mut self, has_z: bool) -> Json {
            let all: Vec<f64> =
                (0..if has_z { 3 } else { 2 }).map(|_| f64::from_le_bytes(self.take())).collect();
            if all[0].is_nan() { json!([]) } else { json!(all) }
        }

        fn many(&mut self, mut one: impl FnMut(&mut Self) -> Json) -> Json {
            Json::Array((0..self.count()).map(|_| one(self)).collect())
        }

        fn geometry(&mut self) -> Json {
            assert_eq!(self.take::<1>(), [1]);
            let code = self.count();
            let has_z = code > 1000;
            let (name, coordinates) = match code % 1000 {
                1 => ("Point", self.position(has_z)),
                2 => ("LineString", self.many(|it| it.position(has_z))),
                3 => ("Polygon", self.many(|it| it.many(|it| it.position(has_z)))),
                4 => ("MultiPoint", self.many(|it| it.geometry()["coordinates"].take())),
                5 => ("MultiLineString", self.many(|it| it.geometry()["coordinates"].take())),
                6 => ("MultiPolygon", self.many(|it| it.geometry()["coordinates"].take())),
                7 => {
                    let all = self.many(Self::geometry);
                    return json!({"type": "GeometryCollection", "geometries": all});
                }
                _ => panic!("{code}"),
            };
            json!({"type": name, "coordinates": coordinates})
        }
    }

    fn geometries(has_z: bool) -> impl Strategy<Value = Json> {
        let position = move || {
            let numbers = proptest::collection::vec(-1e7_f64..1e7, if has_z { 3 } else { 2 });
            numbers.prop_map(|all| json!(all)).boxed()
        };
        let line = move || proptest::collection::vec(position(), 2..5).boxed();
        let ring = move || {
            line().prop_map(|mut all| {
                all.push(all[0].clone());
                json!(all)
            })
        };
        let rings = move || proptest::collection::vec(ring(), 0..3).boxed();
        let leaf = prop_oneof![
            position().prop_map(|it| json!({"type": "Point", "coordinates": it})),
            line().prop_map(|it| json!({"type": "LineString", "coordinates": it})),
            rings().prop_map(|it| json!({"type": "Polygon", "coordinates": it})),
            line().prop_map(|it| json!({"type": "MultiPoint", "coordinates": it})),
            proptest::collection::vec(line(), 0..3)
                .prop_map(|it| json!({"type": "MultiLineString", "coordinates": it})),
            proptest::collection::vec(rings(), 0..3)
                .prop_map(|it| json!({"type": "MultiPolygon", "coordinates": it})),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            proptest::collection::vec(inner, 0..3)
                .prop_map(|it| json!({"type": "GeometryCollection", "geometries": it}))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_written_is_read_again(
            geometry in any::<bool>().prop_flat_map(geometries),
        ) {
            let mut out = Vec::new();
            let kinds = write(&geometry, &mut out).unwrap();
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.geometry(), geometry);
            prop_assert!(reader.0.is_empty());
            prop_assert_eq!(kinds.bbox().is_none(), kinds.bounds.is_none());
        }

        #[test]
        fn nothing_makes_it_panic(text in "[\\[\\]0-9,. ]{0,40}", kind in 0..8_usize) {
            let kinds = ["Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
                "GeometryCollection", "?"];
            if let Ok(coordinates) = serde_json::from_str::<Json>(&text) {
                let geometry = json!({"type": kinds[kind], "coordinates": coordinates, "geometries": coordinates});
                let mut out = vec![5];
                if write(&geometry, &mut out).is_err() {
                    prop_assert_eq!(out, vec![5]);
                }
            }
        }
    }
}
