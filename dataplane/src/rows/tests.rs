//! Data through views and pipes, as it comes from the field.

use proptest::prelude::*;

use super::*;

fn shape(media_type: &str) -> Shape {
    Shape::of(media_type).unwrap().unwrap()
}

fn survey(shape: Shape, bytes: &[u8], step: usize) -> Result<Survey, RowError> {
    let mut surveyor = Surveyor::new(shape, None);
    for chunk in bytes.chunks(step) {
        surveyor.push(chunk)?;
    }
    surveyor.finish()
}

fn through(shape: Shape, view: View, bytes: &[u8], step: usize) -> Result<Vec<u8>, RowError> {
    let survey = survey(shape, bytes, step)?;
    let mut viewer = Viewer::new(&survey, view, None)?;
    let mut out = Vec::new();
    for chunk in bytes.chunks(step) {
        viewer.push(chunk, &mut out, &mut |_| Ok(()))?;
    }
    assert_eq!(viewer.finish(&mut out, &mut |_| Ok(()))?, survey.rows());
    Ok(out)
}

fn text_of(media_type: &str, view: View, text: &[u8]) -> String {
    let whole = through(shape(media_type), view, text, usize::MAX).unwrap();
    for step in [1, 2, 7] {
        assert_eq!(through(shape(media_type), view, text, step).unwrap(), whole, "cut into pieces of {step}");
    }
    String::from_utf8(whole).unwrap()
}

fn case(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/cases/data/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn types(media_type: &str, bytes: &[u8]) -> Vec<(String, &'static str)> {
    let survey = survey(shape(media_type), bytes, 999).unwrap();
    survey.columns().iter().map(|one| (one.name().to_owned(), one.type_name())).collect()
}

fn batches(bytes: &[u8]) -> Vec<arrow_array::RecordBatch> {
    let reader = arrow_ipc::reader::FileReader::try_new(std::io::Cursor::new(bytes.to_vec()), None).unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn csv_becomes_json_and_back_with_quotes_and_umlauts() {
    let csv = "id,name,no2\n007,\"Grün, \"\"Nord\"\"\",12.50\n8,\"zwei\nZeilen\",\n";
    assert_eq!(
        text_of("text/csv", View::JsonLines, csv.as_bytes()),
        "{\"id\":\"007\",\"name\":\"Grün, \\\"Nord\\\"\",\"no2\":12.50}\n{\"id\":\"8\",\"name\":\"zwei\\nZeilen\",\"no2\":null}\n"
    );
    assert_eq!(text_of("text/csv", View::Csv, csv.as_bytes()), csv);
    assert_eq!(text_of("text/csv", View::Json, b"a\n"), "[]");
    assert_eq!(text_of("text/csv", View::Csv, b"a\n"), "a\n");
    assert_eq!(text_of("text/csv", View::Csv, b"a;b\n1;2\n"), "a,b\n1,2\n");
}

#[test]
fn tables_of_the_field_are_read_right() {
    let codes = case("codes.csv");
    assert_eq!(types("text/csv", &codes), [("code".into(), "text"), ("x".into(), "text")]);
    let rows = json(&text_of("text/csv", View::Json, &codes));
    let all: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap()).collect();
    assert_eq!(all, ["1E5", "00M", "0E8", "1.50", "-0", "12345678901234567890123", "abc"]);

    let rows = json(&text_of("text/csv", View::Json, &case("dup.csv")));
    assert_eq!(rows[1], json(r#"{"id":3,"name":"c","name_2":"d","value":4}"#));
    let notes = survey(shape("text/csv"), &case("dup.csv"), 9).unwrap();
    assert_eq!(notes.notes(), ["renamed=\"name:name%5F2\""]);

    assert_eq!(
        types("text/csv", &case("late_float.csv")),
        [("id".into(), "integer"), ("v".into(), "number")]
    );
    let batches = batches(&through(shape("text/csv"), View::Arrow, &case("late_float.csv"), 99).unwrap());
    assert_eq!(batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), 1501);

    assert_eq!(text_of("text/csv", View::Csv, &case("comment.csv")), "a,b\n1,2\n");

    let error = through(shape("text/csv"), View::Parquet, &case("ragged.csv"), 9).unwrap_err().0;
    assert!(error.starts_with("record 3 has 2 cells, but there are 3 columns"), "{error}");
    let filled = through(shape("text/csv").filled(), View::JsonLines, &case("ragged.csv"), 9).unwrap();
    assert_eq!(
        String::from_utf8(filled).unwrap(),
        "{\"a\":1,\"b\":2,\"c\":3,\"column_4\":null}\n{\"a\":4,\"b\":5,\"c\":null,\"column_4\":null}\n\
         {\"a\":6,\"b\":7,\"c\":8,\"column_4\":9}\n"
    );

    for media_type in ["text/csv", "text/csv; charset=iso-8859-1; delimiter=\";\""] {
        let rows = json(&text_of(media_type, View::Json, &case("semi_latin1.csv")));
        assert_eq!(
            rows[0],
            json(
                r#"{"Straße":"Müllerstraße 5","Länge in m":1234.56,"Höhe":3.5,"Datum":"01.02.2024","Anzahl":12,"PLZ":"01067"}"#
            )
        );
        assert_eq!(
            (&rows[2]["Straße"], &rows[2]["Höhe"]),
            (&json("\"Platz \\\"Am Ring\\\"; Süd\""), &json("-1.25"))
        );
    }
    let found = survey(shape("text/csv"), &case("semi_latin1.csv"), 9).unwrap();
    assert_eq!(found.notes(), ["charset=windows-1252", "delimiter=\";\""]);
}

#[test]
fn late_bytes_of_another_encoding_are_found_out() {
    let mut text = b"name,n\n".to_vec();
    text.extend(b"x,1\n".repeat(100_000));
    text.extend(b"M\xfcller,2\n");
    let mut surveyor = Surveyor::new(shape("text/csv"), None);
    let failed = text.chunks(64 * 1024).find_map(|chunk| surveyor.push(chunk).err()).unwrap();
    assert!(failed.0.contains("record 100002") && surveyor.is_other(), "{failed}");
    let encoded = shape("text/csv").encoded(recognised(text.chunks(64 * 1024)));
    let lines = through(encoded, View::JsonLines, &text, 64 * 1024).unwrap();
    assert!(lines.ends_with("{\"name\":\"Müller\",\"n\":2}\n".as_bytes()));
    // Who declared another one is told so.
    let error = survey(shape("text/csv; charset=utf-8"), b"a\nM\xfcller\n", 9).unwrap_err();
    assert!(error.0.contains("record 2 is not UTF-8"), "{error}");
    let error = survey(shape("application/json"), b"[{\"a\":\"M\xfcller\"}]", 9).unwrap_err();
    assert!(error.0.starts_with("row 1: it is not UTF-8"), "{error}");
    let read =
        through(shape("application/json; charset=iso-8859-1"), View::Csv, b"[{\"a\":\"M\xfcller\"}]", 9)
            .unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), "a\nMüller\n");
}

#[test]
fn thousands_of_columns_are_columns() {
    let names: Vec<_> = (0..10_000).map(|one| format!("c{one}")).collect();
    let cells: Vec<_> = (0..10_000).map(|one| one.to_string()).collect();
    let text = format!("{}\n{}\n", names.join(","), cells.join(","));
    let batches = batches(&through(shape("text/csv"), View::Arrow, text.as_bytes(), 4096).unwrap());
    assert_eq!((batches[0].num_columns(), batches[0].num_rows()), (10_000, 1));
    let wide = "a,".repeat(20_000);
    assert!(
        survey(shape("text/csv"), wide.as_bytes(), 4096).unwrap_err().0.contains("more than 16384 columns")
    );
}

#[test]
fn names_that_never_come_again_are_not_all_remembered() {
    let mut rows = Vec::new();
    for at in 0..20 {
        rows.extend(format!("{{\"{at}{}\":1}}\n", "x".repeat(1024 * 1024)).bytes());
    }
    let lines = shape("application/x-ndjson");
    let error = through(lines, View::Csv, &rows, 64 * 1024).unwrap_err();
    assert!(error.0.contains("names are too long"), "{error}");
    assert_eq!(through(lines, View::JsonLines, &rows, 64 * 1024).unwrap(), rows);
}

#[test]
fn json_is_cut_wherever_its_rows_are() {
    let lines = "{\"a\":1,\"b\":\"]}\"}\n{\"a\":2,\"b\":null}\n";
    for (media_type, text) in [
        ("application/json", "[{\"a\":1,\"b\":\"]}\"}, {\"a\":2,\"b\":null}]"),
        (
            "application/json",
            "{\"meta\":{\"x\":[1]},\"data\":[{\"a\":1,\"b\":\"]}\"},{\"a\":2,\"b\":null}],\"n\":2}",
        ),
        ("application/x-ndjson", lines),
    ] {
        assert_eq!(text_of(media_type, View::JsonLines, text.as_bytes()), lines);
    }
    assert_eq!(text_of("application/json", View::JsonLines, b"{\"a\":\n 1}"), "{\"a\":  1}\n");
    let fails = |text: &str| survey(shape("application/json"), text.as_bytes(), 3).unwrap_err().0;
    assert!(fails("[{\"a\":1}").contains("breaks off"));
    assert!(fails("{\"data\":[{\"a\":1}]").contains("breaks off"));
    assert!(fails("[{\"a\":1}] x").contains("follows"));
    assert!(fails("[{\"a\":1},{\"a\":1,}]").starts_with("row 2:"));
    assert!(fails(&"[".repeat(1000)).contains("deeper"));
}

#[test]
fn numbers_of_json_keep_every_digit() {
    let text =
        "[{\"a\":1.10,\"b\":12345678901234567890123,\"c\":0.1234567890123456789,\"d\":1E5,\"e\":1e400}]";
    assert_eq!(
        text_of("application/json", View::JsonLines, text.as_bytes()),
        format!("{}\n", text.trim_matches(['[', ']']))
    );
    assert_eq!(
        text_of("application/json", View::Csv, text.as_bytes()),
        "a,b,c,d,e\n1.10,12345678901234567890123,0.1234567890123456789,1E5,1e400\n"
    );
    assert_eq!(
        types("application/json", text.as_bytes()).into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(),
        ["number", "text", "decimal", "number", "text"]
    );
}

#[test]
fn no_member_takes_anothers_place_and_no_day_is_too_late() {
    assert_eq!(
        text_of("application/json", View::Csv, br#"[{"a.b":1,"a":{"b":2}},{"a":{"b":3},"":4}]"#),
        "a.b,a.b_2,column_3\n1,2,\n3,,4\n"
    );
    let notes = survey(shape("text/csv"), b"id, name \n1,x\n", 9).unwrap();
    assert_eq!(notes.notes(), ["renamed=\"%20name%20:name\""]);
    let days = b"day\n9999-12-31\n0001-01-01\n1970-01-02\n";
    let batches = batches(&through(shape("text/csv"), View::Arrow, days, 9).unwrap());
    assert_eq!(arrow_cell(batches[0].column(0), 0), "9999-12-31");
    assert_eq!(arrow_cell(batches[0].column(0), 1), "0001-01-01");
}

#[test]
fn features_and_entities_become_tables() {
    let entity = "[{\"id\":\"urn:x\",\"no2\":{\"type\":\"Property\",\"value\":3,\"observedAt\":\"2026-01-01T00:00:00Z\"}}]";
    assert_eq!(
        text_of("application/json", View::Csv, entity.as_bytes()),
        "id,no2,no2.observedAt\nurn:x,3,2026-01-01T00:00:00Z\n"
    );
    let csv = "station,lat,lon\nA,48.10,11.5\n";
    assert_eq!(
        text_of("text/csv", View::GeoJson, csv.as_bytes()),
        "{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\",\"properties\":{\"station\":\"A\",\"lat\":48.10,\
         \"lon\":11.5},\"geometry\":{\"type\":\"Point\",\"coordinates\":[11.5,48.10]}}]}"
    );
    let error = through(shape("text/csv"), View::GeoJson, b"a\n1\n", 9).unwrap_err();
    assert!(error.0.contains("nothing of places"));
    let error = through(shape("text/csv"), View::GeoJson, b"y,x\n212000.2,152000.5\n", 9).unwrap_err();
    assert!(error.0.starts_with("row 1: `y` and `x`"), "{error}");
}

#[test]
fn every_geometry_survives_each_view() {
    let mixed = case("mixed.geojson");
    let again = text_of("application/geo+json", View::GeoJson, &mixed);
    assert_eq!(json(&again), json(std::str::from_utf8(&mixed).unwrap()));
    let rows = json(&text_of("application/geo+json", View::Json, &mixed));
    assert_eq!(rows[1], json(r#"{"id":"x1","geometry":null}"#));
    assert_eq!(rows[3]["geometry"]["type"], "GeometryCollection");
    let own = br#"{"type":"FeatureCollection","features":[{"type":"Feature","id":1,"properties":{"geometry":"flat","id":"own","n":1},"geometry":{"type":"Point","coordinates":[4.4,51.2]}}]}"#;
    assert_eq!(
        text_of("application/geo+json", View::Csv, own),
        "id,properties.geometry,properties.id,n,geometry\n1,flat,own,1,\"{\"\"type\"\":\"\"Point\"\",\"\"coordinates\"\":[4.4,51.2]}\"\n"
    );
    assert_eq!(
        json(&text_of("application/geo+json", View::GeoJson, own)),
        json(std::str::from_utf8(own).unwrap())
    );
    let parquet = through(shape("application/geo+json"), View::Parquet, &mixed, 99).unwrap();
    let reader = parquet::file::reader::SerializedFileReader::new(Bytes::from(parquet)).unwrap();
    let metadata = parquet::file::reader::FileReader::metadata(&reader).file_metadata();
    let geo = metadata.key_value_metadata().unwrap().iter().find(|one| one.key == "geo").unwrap();
    let geo = json(geo.value.as_deref().unwrap());
    assert_eq!((&geo["version"], &geo["primary_column"]), (&json("\"1.1.0\""), &json("\"geometry\"")));
    assert_eq!(geo["columns"]["geometry"]["encoding"], "WKB");
    assert_eq!(geo["columns"]["geometry"]["bbox"], json("[0.0,0.0,4.4,51.2]"));
}

#[test]
fn other_reference_systems_become_degrees() {
    let near = |json: &Json, x: f64, y: f64| {
        let at = |place: usize| json["coordinates"][place].as_f64().unwrap();
        assert!((at(0) - x).abs() < 1e-5 && (at(1) - y).abs() < 1e-5, "{json}");
    };
    let lambert = json(&text_of("application/geo+json", View::GeoJson, &case("lambert.geojson")));
    assert!(lambert.get("crs").is_none());
    near(&lambert["features"][0]["geometry"], 4.397_39, 51.217_95);
    let rd = json(&text_of("application/geo+json", View::Json, &case("rd.geojson")));
    near(&rd[1]["geometry"], 5.387_204, 52.155_174);
    assert_eq!(
        survey(shape("application/geo+json"), &case("rd.geojson"), 9).unwrap().notes(),
        ["crs=\"EPSG:28992\""]
    );
    // The member may stand behind the features; without one, metres are refused.
    let bare = br#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[155000,463000]}}]}"#;
    let error = through(shape("application/geo+json"), View::GeoJson, bare, 9).unwrap_err().0;
    assert!(error.starts_with("row 1: ") && error.contains("crs"), "{error}");
    let text = std::str::from_utf8(bare).unwrap();
    let behind =
        text.replace("}}]}", "}}],\"crs\":{\"type\":\"name\",\"properties\":{\"name\":\"EPSG:28992\"}}}");
    let behind = json(&text_of("application/geo+json", View::GeoJson, behind.as_bytes()));
    near(&behind["features"][0]["geometry"], 5.387_204, 52.155_174);
}

#[test]
fn little_is_held_of_rows_that_are_long() {
    let names: Vec<_> = (0..16_000).map(|one| format!("\"member{one}\":1")).collect();
    let text = format!("{{{}}}\n{}", names.join(","), "{}\n".repeat(500));
    let survey = survey(shape("application/x-ndjson"), text.as_bytes(), usize::MAX).unwrap();
    for view in [View::Csv, View::Json] {
        let mut viewer = Viewer::new(&survey, view, None).unwrap();
        let (mut out, mut most, mut all) = (Vec::new(), 0, 0);
        let mut drain = |out: &mut Vec<u8>| {
            (most, all) = (most.max(out.len()), all + out.len());
            out.clear();
            Ok(())
        };
        viewer.push(text.as_bytes(), &mut out, &mut drain).unwrap();
        viewer.finish(&mut out, &mut drain).unwrap();
        assert!(most < 2 * 1024 * 1024 && out.len() < 2 * 1024 * 1024, "{view:?}: {most}");
        assert_eq!(all + out.len() > 8_000_000, view == View::Csv);
    }
    let mut viewer = Viewer::new(&survey, View::Csv, None).unwrap();
    let full = &mut |_: &mut Vec<u8>| Err(RowError("there is no room".to_owned()));
    assert!(viewer.push(text.as_bytes(), &mut Vec::new(), full).is_err(), "it stops where nobody takes it");
}

fn limited(media_type: &str, view: View, bytes: &[u8], step: usize, limit: u64) -> Result<String, RowError> {
    let mut surveyor = Surveyor::new(shape(media_type), Some(limit));
    let mut read = 0;
    for chunk in bytes.chunks(step) {
        if !surveyor.has_rows() {
            read += chunk.len();
        }
        surveyor.push(chunk)?;
        if surveyor.is_full() {
            break;
        }
    }
    let survey = surveyor.finish()?;
    let mut viewer = Viewer::new(&survey, view, Some(limit))?;
    let mut out = Vec::new();
    for chunk in bytes[..read].chunks(256 * 1024) {
        viewer.push(chunk, &mut out, &mut |_| Ok(()))?;
        if viewer.is_full() {
            break;
        }
    }
    assert_eq!(viewer.finish(&mut out, &mut |_| Ok(()))?, survey.rows());
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn rows_that_nobody_wants_are_not_judged() {
    let mut text = b"a,b\n1,2\n3,4\n5\n".to_vec();
    text.extend(b"6,7\n".repeat(100_000));
    text.extend(b"8,M\xfcller\n");
    for step in [999, 64 * 1024, usize::MAX] {
        assert_eq!(limited("text/csv; charset=utf-8", View::Csv, &text, step, 0).unwrap(), "a,b\n");
        assert_eq!(limited("text/csv", View::Csv, &text, step, 2).unwrap(), "a,b\n1,2\n3,4\n");
        assert!(limited("text/csv", View::Csv, &text, step, 3).unwrap_err().0.contains("record 4"));
    }
    assert_eq!(limited("text/csv", View::Csv, b"a,b", 1, 0).unwrap(), "a,b\n");
    let lines = b"{\"a\":1}\n{\"a\":\"\xff\"}\n{";
    assert_eq!(limited("application/x-ndjson", View::Csv, lines, 99, 1).unwrap(), "a\n1\n");
}

#[test]
fn the_reference_system_behind_the_rows_is_that_of_the_first_too() {
    let feature =
        r#"{"type":"Feature","properties":{},"geometry":{"type":"Point","coordinates":[155000,463000]}}"#;
    let crs = r#""crs":{"type":"name","properties":{"name":"EPSG:28992"}}"#;
    let behind =
        format!("{{\"type\":\"FeatureCollection\",\"features\":[{feature},{feature},{feature}],{crs}}}");
    for step in [50, usize::MAX] {
        for view in [View::GeoJson, View::JsonLines, View::Csv] {
            let read = limited("application/geo+json", view, behind.as_bytes(), step, 1).unwrap();
            assert!(read.contains("5.387") && read.contains("52.155"), "{view:?}: {read}");
        }
    }
    let mut surveyor = Surveyor::new(shape("application/json"), Some(1));
    surveyor.push(br#"{"data":[{"a":1},"#).unwrap();
    assert!(surveyor.is_full(), "what has no places needs none");
}

#[test]
fn places_are_what_is_written() {
    let wkt = b"id,geometry,lat,lon\n1,POINT(4 51),51,4\n2,,51,4\n";
    let shown = json(&text_of("text/csv", View::GeoJson, wkt));
    assert_eq!(shown["features"][0]["properties"]["geometry"], "POINT(4 51)");
    assert_eq!(shown["features"][0]["geometry"], json(r#"{"type":"Point","coordinates":[4,51]}"#));
    assert!(shown["features"][1]["properties"].get("geometry").is_none());
    for bare in [
        r#"{"type":"Point","coordinates":[4.4,51.2]}"#,
        r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[4.4,51.2]}]}"#,
    ] {
        let shown = json(&text_of("application/geo+json", View::GeoJson, bare.as_bytes()));
        assert_eq!(
            shown["features"],
            json(&format!(r#"[{{"type":"Feature","properties":{{}},"geometry":{bare}}}]"#))
        );
        assert_eq!(types("application/geo+json", bare.as_bytes()), [("geometry".into(), "geometry")]);
    }
}

#[test]
fn geometries_are_moved_wherever_they_stand_in_every_form() {
    let point = r#"{"type":"Point","coordinates":[155000,463000]}"#;
    let text = format!(
        r#"{{"crs":{{"type":"name","properties":{{"name":"EPSG:28992"}}}},"type":"FeatureCollection","features":[
        {{"type":"Feature","properties":{{"n":1.10,"entry":{point},"all":[{point},{{"at":{point}}}],"in":{{"deep":{point}}}}},"geometry":{point}}},
        {{"type":"Feature","properties":{{"entry":"none"}},"geometry":null}}]}}"#
    );
    for view in [View::GeoJson, View::Json, View::JsonLines, View::Csv] {
        let shown = text_of("application/geo+json", view, text.as_bytes());
        assert!(!shown.contains("155000") && shown.contains("1.10"), "{view:?}: {shown}");
        assert_eq!(shown.matches("52.155").count(), 5, "{view:?}: {shown}");
    }
    let batches = batches(&through(shape("application/geo+json"), View::Arrow, text.as_bytes(), 99).unwrap());
    let cell = arrow_cell(batches[0].column_by_name("entry").unwrap(), 0);
    assert!(cell.contains("52.155"), "{cell}");
}

#[test]
fn each_name_is_one_column() {
    let two = br#"[{"":1,"column_1":2}]"#;
    assert_eq!(text_of("application/json", View::Csv, two), "column_1_2,column_1\n1,2\n");
    // Neither does one name over and over cost more.
    let row = format!("{{{}}}", vec!["\"a\":1"; 30_000].join(","));
    let begun = std::time::Instant::now();
    let lines = shape("application/x-ndjson");
    assert_eq!(
        through(lines, View::JsonLines, row.as_bytes(), 99_999).unwrap(),
        format!("{row}\n").as_bytes()
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn what_may_part_thousands_stays_text_beside_numbers_that_tell_the_mark() {
    let german = "Ort;Einwohner;Dichte\nA;1.234;3,5\nB;12.345;4,2\n";
    assert_eq!(
        text_of("text/csv", View::JsonLines, german.as_bytes()),
        "{\"Ort\":\"A\",\"Einwohner\":\"1.234\",\"Dichte\":3.5}\n{\"Ort\":\"B\",\"Einwohner\":\"12.345\",\"Dichte\":4.2}\n"
    );
    assert_eq!(
        text_of("text/csv", View::JsonLines, b"pop;d\n1,234;3.5\n"),
        "{\"pop\":\"1,234\",\"d\":3.5}\n"
    );
}

/// As an agreement hands it on that demands nothing of its rows.
fn piped(form: Form, text: &str, exact: bool) -> String {
    let mut decoder = Shape::plain(form).decoder(exact.then(Exact::default));
    let (mut rows, mut out) = (Vec::new(), Vec::new());
    decoder.push(text.as_bytes(), &mut rows).unwrap();
    decoder.finish(&mut rows).unwrap();
    let mut encoder = form.encoder(form);
    for row in rows {
        encoder.push(row, &mut out).unwrap();
    }
    encoder.finish(None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn features_under_an_agreement_are_what_they_were() {
    // Properties that are none become an object without any.
    let mixed = String::from_utf8(case("mixed.geojson"))
        .unwrap()
        .replace("\"properties\": null", "\"properties\": {}");
    let own = r#"{"type":"FeatureCollection","features":[
        {"type":"Feature","properties":{"id":"a","lat":51.2,"lon":4.4},"geometry":null},
        {"type":"Feature","properties":{"n":1,"id":"b"},"geometry":null},
        {"type":"Feature","properties":{"id":"c"},"geometry":{"type":"Point","coordinates":[1,2]}},
        {"type":"Feature","id":7,"properties":{"id":"d"},"geometry":null}]}"#;
    for exact in [true, false] {
        assert_eq!(json(&piped(Form::GeoJson, &mixed, exact)), json(&mixed));
        assert_eq!(json(&piped(Form::GeoJson, own, exact)), json(own));
        let metres = r#"{"crs":{"type":"name","properties":{"name":"EPSG:28992"}},"features":[{"type":"Feature","properties":{"in":[{"type":"Point","coordinates":[155000,463000]}]},
            "geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[155000,463000]}]}}]}"#;
        let moved = piped(Form::GeoJson, metres, exact);
        assert_eq!(moved.matches("52.155").count(), 2, "{moved}");
    }
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<i64>().prop_map(|one| one.to_string()),
        any::<i16>().prop_map(|one| one.to_string()),
        any::<f64>().prop_filter("finite", |one| one.is_finite()).prop_map(|one| format!("{one:?}")),
        (any::<i32>(), 0_u32..100).prop_map(|(whole, part)| format!("{whole}.{part:02}")),
        "[0-9]{1,30}(\\.[0-9]{1,12})?",
        "(true|false|TRUE)",
        "20[0-9]{2}-0[1-9]-2[0-8]",
        "20[0-9]{2}-0[1-9]-2[0-8]T1[0-9]:30:00(\\.[0-9]{1,9})?(Z|\\+01:00)",
        "[a-zäöü \",;\n]{0,8}",
        "[0-9]E[0-9]",
    ]
}

/// Columns whose cells are alike, and some that are not.
fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    let kinds: Vec<BoxedStrategy<String>> = vec![
        any::<i32>().prop_map(|one| one.to_string()).boxed(),
        (any::<i16>(), 0_u32..100).prop_map(|(whole, part)| format!("{whole}.{part:02}")).boxed(),
        "(true|false)".boxed(),
        "20[0-9]{2}-0[1-9]-2[0-8]".boxed(),
        "20[0-9]{2}-0[1-9]-2[0-8]T1[0-9]:30:00(\\.[0-9]{1,9})?Z".boxed(),
        "[1-9][0-9]{15,22}\\.[0-9]{1,9}".boxed(),
        cell().boxed(),
    ];
    let column = (proptest::sample::select(kinds), 0..4_u8).prop_flat_map(|(kind, gaps)| {
        let cell = (kind, 0..8_u8).prop_map(move |(cell, one)| if one < gaps { String::new() } else { cell });
        proptest::collection::vec(cell, 12)
    });
    (proptest::collection::vec(column, 1..6), 0..12_usize).prop_map(|(columns, rows)| {
        (0..rows).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
    })
}

/// What a cell of a view is worth: numbers by value, times by their instant.
fn worth(json: &Json, written: &str) -> bool {
    match json {
        Json::Null => written.is_empty(),
        Json::Bool(value) => written.eq_ignore_ascii_case(&value.to_string()),
        Json::Number(number) => kind::is_same(&number.to_string(), written.trim()),
        Json::String(text) => text == written,
        _ => false,
    }
}

fn arrow_cell(array: &dyn arrow_array::Array, row: usize) -> String {
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
    use arrow_schema::{DataType, TimeUnit};
    if array.is_null(row) {
        return String::new();
    }
    if let DataType::Timestamp(unit, zone) = array.data_type() {
        assert_eq!(zone.as_deref(), Some("UTC"));
        let at = match unit {
            TimeUnit::Second => panic!("it is not written"),
            TimeUnit::Millisecond => {
                jiff::Timestamp::from_millisecond(array.as_primitive::<TimestampMillisecondType>().value(row))
            }
            TimeUnit::Microsecond => {
                jiff::Timestamp::from_microsecond(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            TimeUnit::Nanosecond => {
                let value = array.as_primitive::<TimestampNanosecondType>().value(row);
                jiff::Timestamp::from_nanosecond(value.into())
            }
        };
        return at.unwrap().to_string();
    }
    let options = arrow_cast::display::FormatOptions::default().with_null("");
    arrow_cast::display::ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
}

/// Whether what a column shows is what was written.
fn is_shown(shown: &str, written: &str) -> bool {
    let instant = |text: &str| text.parse::<jiff::Timestamp>().ok();
    shown == written
        || kind::is_same(shown, written.trim()) && !shown.is_empty()
        || shown.parse::<f64>().is_ok_and(|one| written.trim().parse() == Ok(one))
        || shown.eq_ignore_ascii_case(written)
        || instant(shown).is_some_and(|at| instant(written) == Some(at))
}

proptest! {
    #[test]
    fn every_form_carries_the_same_values(rows in table()) {
        let width = rows.first().map_or(1, Vec::len);
        let names: Vec<_> = (0..width).map(|one| format!("c{one}")).collect();
        let mut text = Vec::new();
        csv::write_line(names.iter(), &mut text);
        for row in &rows {
            csv::write_line(row.iter(), &mut text);
        }
        // A lone comma may be taken for the separator of a table of one column; so it is said.
        let comma = shape("text/csv; delimiter=comma");
        let view = |view: View| through(comma, view, &text, 64).unwrap();
        prop_assert_eq!(&view(View::Csv), &text);
        let listed = json(std::str::from_utf8(&view(View::Json)).unwrap());
        let lines = String::from_utf8(view(View::JsonLines)).unwrap();
        prop_assert_eq!(listed.as_array().unwrap().len(), rows.len());
        prop_assert_eq!(lines.lines().map(json).collect::<Vec<_>>(), listed.as_array().unwrap().clone());
        for (read, row) in listed.as_array().unwrap().iter().zip(&rows) {
            for (name, cell) in names.iter().zip(row) {
                let exact = lines.contains(cell.trim());
                prop_assert!(worth(&read[name], cell) || exact && read[name].is_number(), "{} for {cell:?}", read[name]);
            }
        }
        // What was written as JSON is read as the same table.
        let back = through(shape("application/x-ndjson"), View::Csv, lines.as_bytes(), 64).unwrap();
        if !rows.is_empty() {
            let mut same = CsvRows::read(&back);
            for (read, row) in same.rows.iter_mut().zip(&rows) {
                for (read, cell) in read.iter().zip(row) {
                    prop_assert!(read == cell.trim() || read == cell || read.eq_ignore_ascii_case(cell), "{read:?} for {cell:?}");
                }
            }
        }
        let parquet = view(View::Parquet);
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(Bytes::from(parquet), 8192).unwrap();
        let parquet: Vec<_> = reader.map(Result::unwrap).collect();
        let stream = view(View::ArrowStream);
        let stream: Vec<_> = arrow_ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap().map(Result::unwrap).collect();
        for batches in [batches(&view(View::Arrow)), stream, parquet] {
            prop_assert_eq!(batches.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), rows.len());
            for batch in batches {
                for (at, column) in batch.columns().iter().enumerate() {
                    for (row, cells) in rows.iter().enumerate() {
                        let shown = arrow_cell(column, row);
                        prop_assert!(is_shown(&shown, &cells[at]), "{} {shown:?} for {:?}", column.data_type(), cells[at]);
                    }
                }
            }
        }
    }
}

struct CsvRows {
    rows: Vec<Vec<String>>,
}

impl CsvRows {
    fn read(text: &[u8]) -> Self {
        let mut reader = csv::CsvReader::new(
            dialect::Declared::of("text/csv; delimiter=comma").unwrap(),
            csv::Reading::Strict,
        );
        let mut rows = Vec::new();
        let mut sink = |cells: csv::Cells<'_>| {
            rows.push(cells.iter().map(str::to_owned).collect());
            Ok(())
        };
        reader.push(text, &mut sink).unwrap();
        reader.finish(&mut sink).unwrap();
        Self { rows }
    }
}
