"""Makes the files that are shared: corpus.py FOLDER DATA NPM PYTHON. Copies what others made and writes what is dirty; how each
is written (encoding, separator) is said here and not guessed. Prints a list as JSON."""
import json
import os
import random
import shutil
import sys
import tarfile
import zipfile

folder, data, npm, python = sys.argv[1:]
files = []


def add(name, ending, content, kind="table", **said):
    """`content` is bytes, or the path of a file. `said`: encoding, delimiter, skip (lines before the names), media."""
    path = os.path.join(folder, f"{name}.{ending}")
    if isinstance(content, bytes):
        with open(path, "wb") as file:
            file.write(content)
    else:
        shutil.copyfile(content, path)
    files.append({"name": name, "path": path, "kind": kind, **said})


def lines(*rows, end="\n"):
    return (end.join(rows) + end).encode()


# -- cases from the field
cases = os.path.join(data, "cases", "data")
for name, said in {"codes": {}, "comment": {"skip": 2}, "dup": {}, "late_float": {}, "ragged": {},
                   "semi_latin1": {"encoding": "cp1252", "delimiter": ";"}}.items():
    add(f"case_{name}", "csv", os.path.join(cases, f"{name}.csv"), **said)
for name in ("lambert", "mixed", "rd"):
    add(f"case_{name}", "geojson", os.path.join(cases, f"{name}.geojson"), "json")

# -- data of cities
shared = os.path.join(data, "data")
for name in ("air-quality-no2", "air-quality-stations", "montreal-carshare", "seattle-weather"):
    add(name.replace("-", "_"), "csv", os.path.join(shared, f"{name}.csv"))
add("usgs", "geojson", os.path.join(shared, "usgs-earthquakes.geojson"), "json")
for name in ("air-quality-observed.example", "air-quality-observed.example-normalized"):
    add(name.replace(".", "_").replace("-", "_"), "json", os.path.join(shared, "ngsi-ld", f"{name}.jsonld"), "json")
with zipfile.ZipFile(os.path.join(shared, "gtfs-sample-feed.zip")) as feed:
    for name in sorted(feed.namelist()):
        add(f"gtfs_{name.removesuffix('.txt')}", "csv", feed.read(name))

# -- what packages carry
vega = os.path.join(npm, "vega-datasets", "data")
for name in ("airports", "birdstrikes", "co2-concentration", "disasters", "gapminder-health-income", "github", "la-riots",
             "sp500-2000", "stocks", "us-employment", "weather", "zipcodes"):
    add("vega_" + name.replace("-", "_"), "csv", os.path.join(vega, f"{name}.csv"))
add("vega_unemployment", "tsv", os.path.join(vega, "unemployment.tsv"), delimiter="\t")
for name in ("cars", "gapminder", "movies", "penguins", "unemployment-across-industries", "weekly-weather", "wheat", "football",
             "flights-2k"):
    add("vega_" + name.replace("-", "_"), "json", os.path.join(vega, f"{name}.json"), "json")
world = os.path.join(npm, "world-countries")
add("countries", "csv", os.path.join(world, "dist", "countries.csv"))
add("countries_json", "json", os.path.join(world, "countries.json"), "json")
for name in ("bel", "fji", "nld"):
    add(f"country_{name}", "geojson", os.path.join(world, "data", f"{name}.geo.json"), "json")
with tarfile.open(os.path.join(python, "pydataset", "resources.tar.gz")) as resources:
    for name in ("datasets/airquality", "datasets/mtcars", "datasets/AirPassengers", "datasets/infert", "ggplot2/msleep",
                 "ggplot2/presidential", "psych/bfi.dictionary", "HistData/Langren.all", "car/Hartnagel"):
        add("r_" + name.split("/")[1].lower().replace(".", "_"), "csv",
            resources.extractfile(f"resources/rdata/csv/{name}.csv").read())
for package, name, said in (
    ("sklearn/datasets/data", "iris", {}), ("sklearn/datasets/data", "wine_data", {}),
    ("statsmodels/datasets/modechoice", "modechoice", {"delimiter": ";"}), ("statsmodels/datasets/co2", "co2", {}),
    ("statsmodels/datasets/fertility", "fertility", {}), ("statsmodels/iolib/tests", "stata_dates", {}),
):
    add(f"py_{name}", "csv", os.path.join(python, package, f"{name}.csv"), **said)

# -- dirt
chance = random.Random(22)
words = "Straße Müller Zürich Ærø Łódź naïve café € – “quoted” ñandú".split()
text = "id;name;note\r\n" + "".join(f"{n};{chance.choice('ABC')}-{n};Ωmega {n}\r\n" for n in range(50))
for name, encoding in (("utf16le", "utf-16-le"), ("utf16be", "utf-16-be")):
    add(f"dirt_{name}", "csv", ("\ufeff" + text).encode(encoding), encoding="utf-16", delimiter=";")
late = "id,place,value\n" + "".join(f"{n},Main Street {n},{n}.25\n" for n in range(14_000)) + "14000,Königsstraße à l’été,1.75\n"
assert late.index("ö") > 300_000
add("dirt_late_1252", "csv", late.encode("cp1252"), encoding="cp1252")
add("dirt_cp1252", "csv", ("ort,straße\n" + "".join(f"{n},{word}\n" for n, word in enumerate(
    ["Gänsemarkt", "Größe", "Äußere Straße", "für", "Öl – gut", "50 €"] * 5))).encode("cp1252"), encoding="cp1252")
add("dirt_cp1251", "csv", ("город,улица\n" + "Москва,Тверская улица\nСанкт-Петербург,Невский проспект\nКазань,улица Баумана\n" * 8)
    .encode("cp1251"), encoding="cp1251")
add("dirt_cp1250", "csv", ("miasto,ulica\n" + "Łódź,Piotrkowska część\nGdańsk,Długa następna źródło\nKraków,Święty Krzyż\n" * 8)
    .encode("cp1250"), encoding="cp1250")
add("dirt_shift_jis", "csv", ("都市,説明\n" + "東京,日本の首都であり、最も人口が多い\n大阪,西日本の経済の中心地です\n" * 8).encode("shift_jis"), encoding="shift_jis")
add("dirt_tab", "csv", lines("id\tname\tx", "1\ta, b\t1.5", "2\tc\t", "3\td;e\t2.5"), delimiter="\t")
add("dirt_tab_tsv", "tsv", lines("id\tname\tx", "1\ta, b\t1,5", "2\tc\t", "3\td;e\t-1.202,25"), delimiter="\t")
add("dirt_pipe", "csv", lines("id|name|x", "1|a, b|1.5", "2|c|", "3|d;e|2.5"), delimiter="|")
add("dirt_sep", "csv", lines("sep=;", "a;b", "1,5;x", "2,25;y, z", end="\r\n"), delimiter=";", skip=1)
add("dirt_decimal_comma", "csv", lines("code;price;count;mixed;thousands;text", "007;1.234,56;1;1,5;1.234.567;1,2,3",
    "008;-0,5;2;x;12;a", "009;12;;2,5;1.000;b"), delimiter=";")
add("dirt_quoted", "csv", lines("id,text,more", '1,"two\nlines","a ""quoted"" word"', '2,"comma, here","  spaces  "', '3,"crlf\r\nin it",""',
    '4,"#no comment",last', '5,"","""all"""'))
add("dirt_wide", "csv", lines(",".join(f"c{n}" for n in range(5000)),
    *(",".join(str(row * 5000 + n) if n % 3 else f"t{n}" for n in range(5000)) for row in range(12))))
add("dirt_long", "csv", ("id,place,at,value,flag\n" + "".join(
    f"{n},{words[n % 11].replace(',', '')},2024-01-{n % 28 + 1:02}T{n % 24:02}:00:00Z,{n / 8},{'true' if n % 3 else 'false'}\n"
    for n in range(100_000))).encode())
add("dirt_late_decimal", "csv", ("n,v\n" + "".join(f"{n},{n}\n" for n in range(20_000)) + "20000,0.5\n").encode())
add("dirt_late_text", "csv", ("n,v\n" + "".join(f"{n},{n}\n" for n in range(20_000)) + "20000,n/a\n").encode())
add("dirt_empty_column", "csv", lines("a,empty,b", "1,,x", "2,,y", "3,,"))
add("dirt_bom_crlf", "csv", b"\xef\xbb\xbf" + lines("id,name", "1,ä", "2,ö", end="\r\n"), encoding="utf-8-sig")
add("dirt_no_end", "csv", b"a,b\n1,2\n3,4")
add("dirt_blank_lines", "csv", b"a,b\n1,2\n\n3,4\n\n")
add("dirt_header_only", "csv", b"a,b,c\n")
add("dirt_one_column", "csv", lines("name", "a", "b b", "c"))
add("dirt_names", "csv", lines("a,a,,a_2,b,,a", "1,2,3,4,5,6,7", "8,9,10,11,12,13,14"))
add("dirt_long_comment", "csv", lines("# made by a city", "#", "# three; lines, of it", "#id,name", "1,a", "2,b"), skip=3)
add("dirt_types", "csv", lines(
    "flag,other_flag,day,minute,ms,us,ns,offset,local,int,edge,over,float,long,many,neg,exp,code,zero,phone,plus,point,mixed,null_text",
    "true,TRUE,2024-02-29,2024-01-01T00:00Z,2024-01-01T00:00:00.123Z,2024-01-01T00:00:00.123456Z,2024-01-01T00:00:00.123456789Z,"
    "2024-07-01T12:00:00+02:00,2024-01-01T00:00:00,1,9223372036854775807,9223372036854775808,0.1,0.1234567890123456789,"
    "12345678901234.5678901234,-5,1.5E-05,1E5,007,0032123456,+5,.5,1,NA",
    "false,FALSE,0001-01-01,1969-12-31T23:59Z,1969-12-31T23:59:59.999Z,2024-01-01T00:00:00.1Z,2024-01-01T00:00:00Z,"
    "2024-07-01T12:00:00-05:30,2024-01-01T00:00:01,-2,-9223372036854775808,1,1e-7,2,3.1,-6.25,2.0e3,0E0,1,+32123456,5,0.25,x,null",
    ",,,,,,,,,,,,,,,,,,,,,,,"))
add("dirt_day_like", "csv", lines("day,not_day,slash,time", "2024-01-31,2024-02-30,31/01/2024,10:00", "2024-12-01,2024-01-01,01/02/2024,11:30"))
add("dirt_nested", "json", json.dumps([
    {"id": 1, "a": {"b": {"c": 1, "d": "x"}}, "list": [1, 2], "empty": {}, "n": None},
    {"id": 2, "a": {"b": {"c": 2.5}}, "list": [], "empty": {}, "ü": "ß\u2028 \U0001f6b2 \" \\ \n"},
]).encode(), "json")
add("dirt_numbers", "json", b'[{"big": 12345678901234567890, "long": 0.1234567890123456789, "exp": 1.0E+2, "int": 9007199254740993, '
    b'"mixed": 1, "bool": true, "day": "2024-01-31", "at": "2024-01-31T10:00:00.5+01:00", "trail": 1.50},\n'
    b' {"big": 1, "long": 12.5, "exp": 5e-300, "int": -1, "mixed": "1", "bool": null, "day": null, "at": "2024-01-31T10:00:00Z", "trail": 2.00}]',
    "json")
add("dirt_lines", "ndjson", b"".join(b'{"n": %d, "v": %d}\n' % (n, n) for n in range(3000)) + b'{"n": 3000, "v": 0.5, "late": "x"}\n', "lines")
add("dirt_records", "json", b'{"count": 2, "results": [{"a": 1, "b": "x"}, {"a": 2, "b": null}], "next": null}', "json")
add("dirt_mid_quotes", "csv", lines("id,text", '1,5" pipe', '2,mid "quoted" cell', "3,it's"))
add("dirt_long_cell", "csv", ("id,text\n1,short\n2," + "x" * 1_000_000 + "\n3,end\n").encode())
add("dirt_cr", "csv", b"id,name\r1,a\r2,b\r")
add("dirt_bom_sep", "csv", b"\xef\xbb\xbf" + lines("sep=;", "a;ä", "1,5;x", end="\r\n"), encoding="utf-8-sig", delimiter=";", skip=1)
add("dirt_all_at_once", "csv", ("# Gemäß Verordnung\r\n# Stand: März\r\nStraße;Länge;Breite;Preis;Größe\r\n" +
    "Müllerstraße;51.234;4.5;1.234,50;\r\nÄußere Gasse;51.5;4.25;0,99;12\r\n" * 5).encode("cp1252"), encoding="cp1252", delimiter=";", skip=2)
add("dirt_header", "csv", lines('"two\nlines",geometry,id', '1, a ,"x"'))
add("dirt_spaced_name", "csv", lines("id, name ,x", "1, a ,2"))
add("dirt_dates", "csv", lines("day,year,month,postgres,zone", "1582-10-10,2024,2024-01,2024-01-01 10:00:00+02,2024-01-01T10:00:00+0100",
    "9999-12-31,2025,2024-02,2024-06-01 10:00:00.5+02,2024-06-01T10:00:00+0530"))
add("dirt_yes", "csv", lines("yes,mixed_bool,one", "yes,true,1", "no,false,0", "yes,TRUE,1", "no,1,0"))
add("dirt_huge", "json", b'[{"v": 1e400, "w": 1}, {"v": -1E-400, "w": 2}]', "json", without=["objects"])
add("dirt_keys", "json", b'\xef\xbb\xbf[{"\\u0061b": 1, "a.b": 2, "c": {"d.e": 5}}]', "json")
add("dirt_same_path", "json", b'[{"a.b": 1, "a": {"b": 2}}, {"a": {"b": 3}}, {"a.b": 4}]', "json")
add("dirt_empty_key", "json", b'[{"": 1, "b": 2}]', "json", without=["objects"])
add("dirt_crlf_lines", "ndjson", b'{"a": 1, "b": "x"}\r\n\r\n{"a": 2, "b": "y"}\r\n', "lines")
square = lambda x, y, d: [[x, y], [x + d, y], [x + d, y + d], [x, y + d], [x, y]]
shapes = [
    {"type": "Point", "coordinates": [4.123456789012345, 51.2]},
    {"type": "MultiPoint", "coordinates": [[4, 51], [5, 52.5]]},
    {"type": "LineString", "coordinates": [[4, 51], [5, 52], [6, 51.5]]},
    {"type": "MultiLineString", "coordinates": [[[4, 51], [5, 52]], [[6, 51], [7, 52], [8, 53]]]},
    {"type": "Polygon", "coordinates": [square(0, 0, 10), square(2, 2, 1)]},
    {"type": "MultiPolygon", "coordinates": [[square(0, 0, 1)], [square(5, 5, 4), square(6, 6, 1)]]},
    {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]},
                                                  {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}]},
    None,
]
feature = lambda n, geometry, /, **properties: {"type": "Feature", "id": n, "properties": {"n": n, **properties}, "geometry": geometry}
collection = lambda features, **more: json.dumps({"type": "FeatureCollection", "features": features, **more}).encode()
crs = lambda name: {"crs": {"type": "name", "properties": {"name": name}}}
add("geo_every_type", "geojson", collection([feature(n, shape) for n, shape in enumerate(shapes)]), "json")
add("geo_heights", "geojson", collection([
    feature(1, {"type": "Point", "coordinates": [4.4, 51.2, 12.5]}), feature(2, {"type": "Point", "coordinates": [4.5, 51.3, -3]}),
    feature(3, {"type": "LineString", "coordinates": [[4, 51, 1], [5, 52, 2.25]]})]), "json")
add("geo_names", "geojson", collection([
    feature(1, shapes[0], geometry="round", type="tree", id="T1", nested={"a": {"b": [1, {"c": 2}]}}),
    feature(2, shapes[1], geometry=None, type="bush", id="T2", nested={"a": {"b": []}})]), "json")
rd = [feature(n, {"type": "Point", "coordinates": [121687 + 1000 * n, 487484 - 1500 * n]}, naam=f"n{n}") for n in range(20)]
add("geo_crs_behind", "geojson", json.dumps({"type": "FeatureCollection", "features": rd, **crs("urn:ogc:def:crs:EPSG::28992")}).encode(), "json")
add("geo_crs_short", "geojson", collection(rd, **crs("EPSG:28992")), "json")
add("geo_lambert_shapes", "geojson", collection([
    feature(1, {"type": "Polygon", "coordinates": [square(150000, 210000, 500)]}), feature(2, None),
    feature(3, {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [152000.5, 212000.2, 7]}]})],
    **crs("urn:ogc:def:crs:EPSG::31370")), "json")
add("geo_lambert2008", "geojson", collection([feature(1, {"type": "Point", "coordinates": [649328, 665262]})],
    **crs("urn:ogc:def:crs:EPSG::3812")), "json")
add("geo_mercator", "geojson", collection([feature(1, {"type": "Point", "coordinates": [490000, 6650000]})],
    **crs("urn:ogc:def:crs:EPSG::3857")), "json")
add("geo_utm", "geojson", collection([feature(1, {"type": "Point", "coordinates": [500100.25, 5700000.5]})],
    **crs("urn:ogc:def:crs:EPSG::25832")), "json")
add("geo_crs84", "geojson", collection([feature(1, shapes[0]), feature(2, shapes[4])], **crs("urn:ogc:def:crs:OGC:1.3:CRS84")), "json")

for name, number, x, y in (("etrs89", 4258, 4.4, 51.2), ("lambert93", 2154, 652000, 6862000), ("osgb", 27700, 530000, 180000),
                           ("laea", 3035, 3920000, 3100000), ("utm33", 32633, 400000, 5800000), ("gk3", 31467, 3470000, 5550000),
                           ("ch1903", 21781, 600000, 200000), ("lv95", 2056, 2600000, 1200000), ("sweref", 3006, 674000, 6580000),
                           ("irish", 2157, 715000, 734000), ("nad83", 4269, -73.6, 45.5), ("unknown", 9999999, 1, 2)):
    if number == 9999999:
        # Nothing is right but a refusal.
        add(f"geo_crs_{name}", "geojson", collection([feature(1, {"type": "Point", "coordinates": [x, y]})], **crs("urn:ogc:def:crs:EPSG::999999")), "none",
            refused=True)
    else:
        add(f"geo_crs_{name}", "geojson", collection([feature(1, {"type": "Point", "coordinates": [x, y]})], **crs(f"urn:ogc:def:crs:EPSG::{number}")),
            "json", may_refuse=True)
add("geo_crs_version", "geojson", collection(rd, **crs("urn:ogc:def:crs:EPSG:6.9:28992")), "json")
add("geo_crs_http", "geojson", collection(rd, **crs("http://www.opengis.net/def/crs/EPSG/0/28992")), "json")
add("geo_crs_axis", "geojson", collection([feature(1, shapes[0])], **crs("urn:ogc:def:crs:EPSG::4326")), "json")
add("geo_single", "geojson", json.dumps(feature("one", shapes[4], name="a")).encode(), "json")

add("picture", "png", os.path.join(vega, "7zip.png"), "none")
print(json.dumps(files))
