//! Rectangles on the globe: west, south, east, north in degrees (WGS 84). One whose west is greater than its east lies over
//! the antimeridian.

/// A rectangle, or a point where the ends are equal.
pub type Area = [f64; 4];

/// Whether the numbers are a rectangle of the globe.
#[must_use]
pub fn is_area([west, south, east, north]: Area) -> bool {
    let (longitudes, latitudes) = (-180.0..=180.0, -90.0..=90.0);
    longitudes.contains(&west)
        && longitudes.contains(&east)
        && latitudes.contains(&south)
        && latitudes.contains(&north)
        && south <= north
}

/// How many degrees of longitude it covers.
#[must_use]
pub fn width([west, _, east, _]: Area) -> f64 {
    if west <= east { east - west } else { east - west + 360.0 }
}

/// Whether the point lies in `area`; its two meridians of 180 degrees are one.
#[must_use]
pub fn contains([west, south, east, north]: Area, longitude: f64, latitude: f64) -> bool {
    let inside = |at: f64| if west <= east { west <= at && at <= east } else { west <= at || at <= east };
    let here = inside(longitude) || ((longitude == 180.0 || longitude == -180.0) && inside(-longitude));
    here && (south..=north).contains(&latitude)
}

/// Whether all of `part` lies in `whole`.
#[must_use]
pub fn encloses(whole: Area, part: Area) -> bool {
    let ([west, south, east, north], [w, s, e, n]) = (whole, part);
    let around = width(whole) >= 360.0;
    let beside = match (west <= east, w <= e) {
        (true, true) => west <= w && e <= east,
        (true, false) => false,
        (false, true) => west <= w || e <= east,
        (false, false) => west <= w && e <= east,
    };
    let on_the_edge = w == e && contains(whole, w, s) && contains(whole, w, n);
    (around || beside || on_the_edge) && south <= s && n <= north
}

/// What all areas share, `None` where that is nothing. Of two pieces the wider one.
#[must_use]
pub fn common(areas: &[Area]) -> Option<Area> {
    let mut pieces = vec![(-180.0_f64, 180.0_f64)];
    let (mut bottom, mut top) = (-90.0_f64, 90.0_f64);
    for [west, south, east, north] in areas.iter().copied() {
        let own: &[(f64, f64)] =
            if west <= east { &[(west, east)] } else { &[(west, 180.0), (-180.0, east)] };
        let shared = |(w, e): &(f64, f64)| {
            own.iter().map(|(west, east)| (west.max(*w), east.min(*e))).filter(|(w, e)| w <= e).collect()
        };
        pieces = pieces.iter().flat_map::<Vec<_>, _>(shared).collect();
        (bottom, top) = (bottom.max(south), top.min(north));
    }
    if bottom > top {
        return None;
    }
    let ends = pieces.iter().find(|(west, east)| *east == 180.0 && *west > -180.0).copied();
    let begins = pieces.iter().find(|(west, east)| *west == -180.0 && *east < 180.0).copied();
    if let (Some((west, _)), Some((_, east))) = (ends, begins) {
        pieces.push((west, east));
    }
    let piece = pieces.into_iter().map(|(west, east)| [west, bottom, east, top]);
    piece.max_by(|a, b| width(*a).total_cmp(&width(*b)))
}

/// A coordinate reference system, as far as it is told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// Degrees, the longitude first: CRS84, GeoJSON, or nothing said.
    LongitudeFirst,
    /// Degrees, the latitude first, as its authority has them: EPSG:4326 and what differs from it by a metre at most.
    LatitudeFirst,
    /// Another one, by a short name such as `EPSG:31370`.
    Other(String),
}

impl System {
    /// The system with this IRI, URN or short name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let name = name.trim();
        let (all, upper) = (name.trim_end_matches(['/', '#']), name.to_ascii_uppercase());
        let code = all.rsplit(['/', ':', '#', '.']).find(|part| !part.is_empty()).unwrap_or_default();
        if ["CRS84", "CRS84H", "WGS84"].contains(&code.to_ascii_uppercase().as_str()) {
            return Self::LongitudeFirst;
        }
        if !upper.contains("EPSG") || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Other(name.to_owned());
        }
        match code {
            // WGS 84 in two and three dimensions, and ETRS89.
            "4326" | "4979" | "4258" | "4937" => Self::LatitudeFirst,
            code => Self::Other(format!("EPSG:{code}")),
        }
    }

    /// The system that a literal of GeoSPARQL begins with, and what follows; PostGIS' way is understood too.
    #[must_use]
    pub fn split(text: &str) -> (Self, &str) {
        let text = text.trim();
        if let Some((name, rest)) = text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            return (Self::of(name), rest.trim());
        }
        if let Some((code, rest)) = text
            .get(..5)
            .filter(|head| head.eq_ignore_ascii_case("SRID="))
            .and_then(|_| text.get(5..)?.split_once(';'))
        {
            // There the longitude is always first.
            let system = match Self::of(&format!("EPSG:{}", code.trim())) {
                Self::LatitudeFirst => Self::LongitudeFirst,
                other => other,
            };
            return (system, rest.trim());
        }
        (Self::LongitudeFirst, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIJI: Area = [177.0, -20.0, -178.0, -16.0];

    #[test]
    fn rectangles_over_the_antimeridian_are_compared_as_what_they_cover() {
        assert!(is_area(FIJI) && !is_area([181.0, 0.0, 0.0, 0.0]) && !is_area([0.0, 2.0, 1.0, 1.0]));
        assert!((width(FIJI) - 5.0).abs() < 1e-9);
        for at in [177.0, 180.0, -180.0, -179.0] {
            assert!(contains(FIJI, at, -18.0), "{at}");
        }
        for at in [176.0, -177.0, 0.0] {
            assert!(!contains(FIJI, at, -18.0), "{at}");
        }
        assert!(contains([-180.0, 0.0, -170.0, 1.0], 180.0, 0.5), "one meridian");
        let pacific = [160.0, -30.0, -160.0, 0.0];
        assert!(encloses(pacific, FIJI) && !encloses(FIJI, pacific));
        assert!(
            encloses(pacific, [170.0, -10.0, 180.0, -5.0])
                && encloses(pacific, [-179.0, -10.0, -170.0, -5.0])
        );
        assert!(!encloses(pacific, [-10.0, -10.0, 170.0, -5.0]));
        assert!(
            encloses([-180.0, -90.0, 180.0, 90.0], FIJI) && !encloses([-179.0, -90.0, 180.0, 90.0], FIJI)
        );
        assert_eq!(common(&[pacific, FIJI]), Some(FIJI));
        assert_eq!(common(&[pacific, [170.0, -90.0, 180.0, 90.0]]), Some([170.0, -30.0, 180.0, 0.0]));
        assert_eq!(common(&[FIJI, [0.0, -90.0, 170.0, 90.0]]), None);
        assert_eq!(common(&[FIJI, [-180.0, 0.0, 180.0, 90.0]]), None);
        // They share two pieces: the wider one is told.
        assert_eq!(
            common(&[[100.0, 0.0, -100.0, 1.0], [-120.0, 0.0, 110.0, 1.0]]),
            Some([-120.0, 0.0, -100.0, 1.0])
        );
        assert_eq!(common(&[[0.0, 0.0, 10.0, 1.0], [5.0, 0.0, 20.0, 1.0]]), Some([5.0, 0.0, 10.0, 1.0]));
    }

    #[test]
    fn systems_are_told_apart() {
        for name in [
            "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
            "https://www.opengis.net/def/crs/OGC/0/CRS84",
            "urn:ogc:def:crs:OGC::CRS84",
            "urn:ogc:def:crs:OGC:1.3:CRS84",
        ] {
            assert_eq!(System::of(name), System::LongitudeFirst, "{name}");
        }
        for name in [
            "http://www.opengis.net/def/crs/EPSG/0/4326",
            "https://www.opengis.net/def/crs/EPSG/9.9.1/4326",
            "urn:ogc:def:crs:EPSG::4326",
            "EPSG:4326",
            "http://www.opengis.net/def/crs/EPSG/0/4258",
        ] {
            assert_eq!(System::of(name), System::LatitudeFirst, "{name}");
        }
        let lambert = System::Other("EPSG:31370".to_owned());
        assert_eq!(System::of("http://www.opengis.net/def/crs/EPSG/0/31370"), lambert);
        assert_eq!(System::of("urn:x"), System::Other("urn:x".to_owned()));
        assert_eq!(System::split(" <EPSG:31370> POINT(1 2)"), (lambert, "POINT(1 2)"));
        assert_eq!(System::split("SRID=4326;POINT(1 2)"), (System::LongitudeFirst, "POINT(1 2)"));
        assert_eq!(System::split("POINT(1 2)"), (System::LongitudeFirst, "POINT(1 2)"));
    }
}
