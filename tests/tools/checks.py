"""Reads every file in every form with every tool, and compares with the reference: checks.py FILES ADDRESS. The key is in
CONCORDAT_KEY. Prints a line for each tool and form, one for each difference, and a table; writes the table to CONCORDAT_TABLE."""
import datetime
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import warnings
from decimal import Decimal

import compare
import forms
import pyarrow
import pyarrow.parquet
import reference

warnings.simplefilter("ignore")
FORMS = ("csv", "json", "ndjson", "geojson", "parquet", "arrow", "arrows")
counts = {"ok": 0, "failed": 0, "skipped": 0}
found = {}
by_file = {}
# Files of which no view can be made here, which is said.
refused = set()


def ok(name):
    counts["ok"] += 1
    print(f"ok: {name}", flush=True)


def failed(name, why):
    counts["failed"] += 1
    print(f"FAILED: {name}: {why}", flush=True)


def skipped(name, why):
    counts["skipped"] += 1
    print(f"skipped: {name}: {why}", flush=True)


class Tally:
    """One tool and form over all files."""

    def __init__(self):
        self.files, self.differences, self.seconds = 0, [], 0.0

    def take(self, file, difference):
        self.files += 1
        if difference:
            self.differences.append((file, difference))


def tally(tool, form):
    return found.setdefault((tool, form), Tally())


def judge(tool, form, file, read):
    """`read` gives a difference, or None."""
    if file in refused:
        return
    began = time.monotonic()
    try:
        difference = read()
    except BaseException as error:  # A panic of polars is no Exception.
        if isinstance(error, KeyboardInterrupt):
            raise
        difference = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}".replace(forms.KEY, "KEY")
    one = tally(tool, form)
    one.take(file, difference)
    seconds = time.monotonic() - began
    one.seconds += seconds
    by_file[file] = by_file.get(file, 0.0) + seconds


class Expected:
    """What the forms of a source are compared with, made once."""

    def __init__(self, source, is_filled):
        self.source = source
        if is_filled:
            source.fill()
        self.written, self.typed, self.rows = source.written(), source.typed(), source.objects()
        self.cells = {name: column.cells for name, column in self.typed.items()}
        self.marked = compare.marked(self.rows)
        names = list(dict.fromkeys(name for row in self.rows for name in row)) if not source.is_table else list(self.typed)
        self.objects = {name: [row.get(name) for row in self.rows] for name in names}
        self.is_geo = not source.is_table and source.is_geo
        self.features = source.features() if self.is_geo else None
        self.uniform = all(len(shapes(cells)) < 2 for cells in self.objects.values())
        self.nested = any(isinstance(cell, (dict, list)) for cells in self.objects.values() for cell in cells)


def shapes(cells):
    """Kinds of JSON in a column, which tools with types for columns want to be one."""
    kinds = {kind(cell) for cell in cells} - {None}
    return kinds


def kind(cell):
    if isinstance(cell, dict):
        # A struct with other members in each row is no column of such a tool.
        return "{" + ",".join(f"{name}:{kind(inner)}" for name, inner in sorted(cell.items())) + "}"
    if isinstance(cell, list):
        inner = {kind(one) for one in cell}
        return "[" + "|".join(sorted(map(str, inner))) + "]"
    return None if cell is None else "bool" if isinstance(cell, bool) else "number" if isinstance(cell, reference.Number) else "text"


def applies(reader, expected):
    if reader.kind == "features" or (reader.tool == "geopandas"):
        return expected.is_geo
    if reader.kind in expected.entry.get("without", []):
        return False
    if reader.kind == "objects" and reader.tool != "pandas":
        # Columns of one type each; rows that tell the columns.
        return expected.uniform and bool(expected.rows)
    if reader.kind == "objects":
        return bool(expected.rows)
    return True


def difference(reader, expected, address):
    got = reader.read(address)
    found = compared(reader, expected, got)
    if found is None and expected.entry["name"] in DAMAGED:
        damage(reader.tool, reader.form, expected, lambda other: compared(reader, other, got), PARTS[reader.kind])
    return found


PARTS = {"verbatim": "marked", "written": "written", "objects": "objects", "typed": "cells", "features": "features"}


def compared(reader, expected, got):
    compare.strict(expected.source.crs is None)
    ordered = expected.source.is_table
    if reader.kind == "verbatim":
        return compare.rows(expected.marked, got)
    if reader.kind == "written":
        return compare.columns(one_line_end(expected.written) if reader.tool == "GDAL" else expected.written, got, "csv", ordered)
    if reader.kind == "objects":
        # Members of an object have no order, and polars gives them none.
        return compare.columns(expected.objects, got, reader.loose, False)
    if reader.kind == "typed":
        return compare.columns(expected.cells, got, reader.loose, ordered)
    if reader.loose != "gdal":
        return compare.features(expected.features, got)
    names = dict.fromkeys(name for one in expected.features for name in one["properties"])
    right = {"properties.geometry" if name == "geometry" else name: [one["properties"].get(name) for one in expected.features] for name in names}
    if reader.tool == "geopandas":
        # It has one column with that name, the feature's own.
        right.pop("properties.geometry", None)
    right["geometry"] = [one["geometry"] for one in expected.features]
    # GDAL has one name for the feature's own and the property.
    return compare.columns(right, {name: cells for name, cells in got.items() if name in right or name != "id"}, "gdal", False)


def one_line_end(written):
    """Within a cell GDAL and R tell each end of a line as the same."""
    return {name: [cell.replace("\r\n", "\n") if isinstance(cell, str) else cell for cell in cells] for name, cells in written.items()}


# -- damage: a check that cannot fail is none

DAMAGED = ("dirt_types", "dirt_numbers", "dirt_nested", "geo_names", "geo_every_type", "case_rd", "air_quality_stations")
damages = {"found": 0, "missed": []}


def damage(tool, form, expected, compared_with, part):
    """Changes each cell of the reference, then its rows and columns, and wants each change to be found in what was read."""
    right = getattr(expected, part)
    for other, what in damaged(right, part):
        if tool == "geopandas" and what.startswith("properties.geometry"):
            continue
        setattr(expected, part, other)
        try:
            is_found = compared_with(expected) is not None
        finally:
            setattr(expected, part, right)
        if is_found:
            damages["found"] += 1
        else:
            damages["missed"].append(f"{tool} .{form} {expected.entry['name']}: {what}")


def damaged(right, part):
    if part in ("marked", "features"):
        yield right[:-1], "a row less"
        for at, row in enumerate(right):
            inner = row["properties"] if part == "features" else row
            for name, cell in inner.items():
                other = {**inner, name: compare.marked(changed(compare.unmarked(cell)))}
                yield [*right[:at], {**row, "properties": other} if part == "features" else other, *right[at + 1:]], \
                    f"{'properties.' if part == 'features' else ''}{name} of row {at}"
            if part == "features":
                yield [*right[:at], {**row, "geometry": changed(row["geometry"], True)}, *right[at + 1:]], f"geometry of row {at}"
        return
    yield {name: cells[:-1] for name, cells in right.items()}, "a row less"
    first = next(iter(right))
    yield {name: cells for name, cells in right.items() if name != first}, "a column less"
    for name, cells in right.items():
        for at, cell in enumerate(cells):
            yield {**right, name: [*cells[:at], changed(cell, cell is None and name == "geometry"), *cells[at + 1:]]}, f"{name} of row {at}: {cell!r}"


def changed(cell, is_geometry=False):
    """Another value, as near as the least exact tool tells apart."""
    if is_geometry and cell is None:
        return {"type": "Point", "coordinates": [1, 2]}
    if cell is None:
        return "x"
    if isinstance(cell, bool):
        return not cell
    if isinstance(cell, reference.Number):
        return reference.Number(other_number(cell))
    if isinstance(cell, int):
        # Of a time a microsecond, which is what DuckDB has.
        return cell + (1000 if abs(cell) > 10**15 and abs(cell) < 1 << 62 else 1)
    if isinstance(cell, float):
        return cell * (1 + 1e-9) if cell else 1e-9
    if isinstance(cell, Decimal):
        return Decimal(other_number(str(cell)))
    if isinstance(cell, datetime.date):
        return cell + datetime.timedelta(days=1)
    if isinstance(cell, str):
        return cell + "x"
    if reference.is_geometry(cell):
        if cell["type"] == "GeometryCollection":
            return {**cell, "geometries": cell["geometries"][:-1]}
        return {**cell, "coordinates": moved(cell["coordinates"])}
    if isinstance(cell, list):
        return [*cell, reference.Number("1")]
    return {**cell, "another": "x"}


def moved(node):
    if node and not isinstance(node[0], list):
        return [reference.Number(repr(float(node[0]) + 1e-5)), *node[1:]]
    return [moved(node[0]), *node[1:]]


def other_number(text):
    """A digit that floating point still tells apart."""
    digits = [at for at, mark in enumerate(re.split("[eE]", text)[0]) if mark.isdigit()]
    start = next((at for at in digits if text[at] != "0"), digits[0])
    at = [one for one in digits if one >= start][:12][-1]
    return text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1:]


def damaged_kinds(tool, form, expected, compared_with):
    """The same for types."""
    for name, column in expected.typed.items():
        right, column.kind = column.kind, "int64" if column.kind != "int64" else "string"
        try:
            is_found = compared_with(expected) is not None
        finally:
            column.kind = right
        if is_found:
            damages["found"] += 1
        else:
            damages["missed"].append(f"{tool} .{form} {expected.entry['name']}: type of {name}")


# -- schemas

ARROW = {"bool": "bool", "int64": "int64", "float64": "double", "date32": "date32[day]", "string": "string",
         "timestampms": "timestamp[ms, tz=UTC]", "timestampus": "timestamp[us, tz=UTC]", "timestampns": "timestamp[ns, tz=UTC]"}


def schema_difference(schema, expected):
    for name, column in expected.typed.items():
        field = schema.field(name)
        came = field.type
        if column.kind == "decimal128":
            right = pyarrow.types.is_decimal128(came)
        elif column.kind == "geometry":
            told = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode() or getattr(came, "extension_name", "")
            storage = came.storage_type if isinstance(came, pyarrow.BaseExtensionType) else came
            right = told == "geoarrow.wkb" and pyarrow.types.is_binary(storage)
            came = f"{came} {told}"
        else:
            right = str(came) == ARROW[column.kind]
        if not right:
            return f"column {name}: {came} instead of {column.kind}"
    return None


def types_difference(address, form, expected):
    if form == "parquet":
        with forms.arrow_web.open_input_file(address) as file:
            read = pyarrow.parquet.ParquetFile(file)
            schema, metadata = read.schema_arrow, read.metadata
        check = lambda other: parquet_difference(schema, metadata, other)
    else:
        schema = arrow_schema(address, form)
        check = lambda other: schema_difference(schema, other)
    found = check(expected)
    if found is None and expected.entry["name"] in DAMAGED:
        damaged_kinds("types", form, expected, check)
    return found


def arrow_schema(address, form):
    if form == "arrow":
        with forms.arrow_web.open_input_file(address) as file:
            return pyarrow.ipc.open_file(file).schema
    with forms.arrow_web.open_input_stream(address) as stream:
        return pyarrow.ipc.open_stream(stream).schema


def parquet_difference(schema, metadata, expected):
    for group in range(metadata.num_row_groups):
        for at in range(metadata.num_columns):
            if (how := metadata.row_group(group).column(at).compression) != "SNAPPY":
                return f"column {at} is compressed by {how}"
    plain = schema_difference(schema, expected) if not any(c.kind == "geometry" for c in expected.typed.values()) else \
        schema_difference(schema, Only(expected, lambda column: column.kind != "geometry"))
    geometries = [name for name, column in expected.typed.items() if column.kind == "geometry"]
    if plain or not geometries:
        return plain
    geo = json.loads(metadata.metadata.get(b"geo", b"{}"))
    if geo.get("version") != "1.1.0" or geo.get("primary_column") not in geometries:
        return f"geo metadata: {str(geo)[:200]}"
    for name in geometries:
        told, shapes_ = geo["columns"][name], [one for one in expected.cells[name] if one]
        kinds = {one["type"] + (" Z" if height(one) else "") for one in shapes_}
        if told["encoding"] != "WKB" or set(told["geometry_types"]) != kinds:
            return f"geo metadata of {name}: {told} instead of WKB, {sorted(kinds)}"
        crs = told.get("crs", "left out")
        if crs != "left out" and not (crs and crs.get("id", {}).get("code") in ("CRS84", 4326)):
            return f"geo metadata of {name}: crs {str(crs)[:100]}"
        all_ = [position for one in shapes_ for position in flat_positions(one)]
        box = told.get("bbox")
        if box:
            half = len(box) // 2
            right = [min(p[0] for p in all_), min(p[1] for p in all_), max(p[0] for p in all_), max(p[1] for p in all_)]
            if not all(abs(a - b) < 1e-6 for a, b in zip(right, [box[0], box[1], box[half], box[half + 1]])):
                return f"bbox {box} instead of {right}"
        elif all_:
            return f"geo metadata of {name}: no bbox"
    return None


class Only:
    def __init__(self, expected, is_in):
        self.typed = {name: column for name, column in expected.typed.items() if is_in(column)}


def flat_positions(shape):
    if shape["type"] == "GeometryCollection":
        return [one for inner in shape["geometries"] for one in flat_positions(inner)]

    def walk(node):
        if node and not isinstance(node[0], list):
            yield [float(one) for one in node]
        else:
            for inner in node:
                yield from walk(inner)

    return list(walk(shape["coordinates"]))


def height(shape):
    return any(len(one) > 2 for one in flat_positions(shape))


# -- answers of HTTP

def answers(address, form):
    """HEAD, Range, conditions and keys of one view."""
    ask = lambda method, **headers: forms.session.request(method, address, headers={**forms.HEADERS, **headers})
    head, whole = ask("HEAD"), ask("GET", **{"Accept-Encoding": "identity"})
    size = len(whole.content)
    if head.status_code != 200 or head.headers.get("Content-Length") != str(size):
        return f"HEAD: {head.status_code}, Content-Length {head.headers.get('Content-Length')} of {size}"
    if head.headers.get("Accept-Ranges") != "bytes":
        return f"HEAD: Accept-Ranges {head.headers.get('Accept-Ranges')}"
    etag = head.headers.get("ETag")
    if not etag or whole.headers.get("ETag") != etag:
        return f"ETag {etag} of HEAD, {whole.headers.get('ETag')} of GET"
    if not whole.headers.get("Content-Type", "").startswith(MEDIA[form]):
        return f"Content-Type {whole.headers.get('Content-Type')}"
    first = random.Random(address).randrange(max(size - 1, 1))
    last = min(size - 1, first + 997)
    for asked, right in ((f"bytes={first}-{last}", (first, last)), (f"bytes=-{min(7, size)}", (size - min(7, size), size - 1)),
                         (f"bytes={first}-", (first, size - 1))):
        part = ask("GET", Range=asked)
        told = f"bytes {right[0]}-{right[1]}/{size}"
        if part.status_code != 206 or part.headers.get("Content-Range") != told or part.content != whole.content[right[0]:right[1] + 1]:
            return f"Range {asked} of {size}: {part.status_code} {part.headers.get('Content-Range')}, {len(part.content)} bytes"
    beyond = ask("GET", Range=f"bytes={size}-")
    if beyond.status_code != 416 or beyond.headers.get("Content-Range") != f"bytes */{size}":
        return f"a range behind the end: {beyond.status_code} {beyond.headers.get('Content-Range')}"
    for method in ("GET", "HEAD"):
        again = ask(method, **{"If-None-Match": etag})
        if again.status_code != 304 or again.content:
            return f"If-None-Match on {method}: {again.status_code}"
        other = ask(method, **{"If-None-Match": '"other"'})
        if other.status_code != 200:
            return f"another If-None-Match on {method}: {other.status_code}"
    zipped = ask("GET", **{"Accept-Encoding": "gzip"})
    if zipped.content != whole.content:
        return "with gzip it is another content"
    return None


MEDIA = {"csv": "text/csv", "json": "application/json", "ndjson": "application/x-ndjson", "geojson": "application/geo+json",
         "parquet": "application/vnd.apache.parquet", "arrow": "application/vnd.apache.arrow.file",
         "arrows": "application/vnd.apache.arrow.stream"}


def status(address, **how):
    return forms.session.get(address, **how).status_code


def keys(base):
    """How the key may be passed, and that it must be."""
    address, key = f"{base}case_dup.csv", forms.KEY
    asked = {
        "X-Api-Key": status(address, headers={"X-Api-Key": key}),
        "Bearer": status(address, headers={"Authorization": f"Bearer {key}"}),
        "Basic": status(address, auth=("x", key)),
        "?key=": status(f"{address}?key={key}"),
    }
    for how, came in asked.items():
        (ok(f"the key as {how}") if came == 200 else failed(f"the key as {how}", f"status {came}"))
    for how, came in {"no key": status(address), "another key": status(address, headers={"X-Api-Key": key[:-1] + ("a" if key[-1] != "a" else "b")})}.items():
        (ok(f"{how} is refused") if came == 401 else failed(f"{how} is refused", f"status {came}"))


def refusals(base, entries):
    """What no view can be made of says why, before the first byte."""
    for entry in entries:
        name = entry["name"]
        if entry.get("refused"):
            came = {form: status(f"{base}{name}.{form}", headers=forms.HEADERS) for form in FORMS}
            wrong = {form: code for form, code in came.items() if code != 422}
            failed(f"{name}: an unknown reference system is refused", wrong) if wrong else ok(f"{name}: an unknown reference system is refused")
        elif entry["kind"] == "none":
            came = {form: status(f"{base}{name}.{form}", headers=forms.HEADERS) for form in FORMS}
            wrong = {form: code for form, code in came.items() if code != 406}
            failed(f"{name} has no rows: 406", wrong) if wrong else ok(f"{name} has no rows: 406 for every form")
        elif entry.get("uneven"):
            record, has, columns = entry["uneven"]
            wrong = {}
            for form in ("csv", "json", "ndjson", "parquet", "arrow", "arrows"):
                answer = forms.session.get(f"{base}{name}.{form}", headers=forms.HEADERS)
                text = f"record {record} has {has} cells, but there are {columns} columns"
                try:
                    said = answer.json()
                    right = answer.status_code == 422 and said["code"] == "view" and text in said["reason"][0] and "ragged=fill" in said["reason"][0]
                except (ValueError, KeyError, IndexError, TypeError):
                    right = False
                if not right:
                    wrong[form] = f"{answer.status_code} {answer.text[:200]}"
            failed(f"{name}: 422 names the record", f"wanted `{text}` with `ragged=fill`, got {wrong}") if wrong \
                else ok(f"{name}: 422 names the record in every form")


def read_as(base):
    """Header Concordat-Read-As."""
    for name, words in {
        "case_semi_latin1": ("windows-1252", ";"), "case_dup": ("name_2",), "case_rd": ("28992",), "geo_crs_behind": ("28992",),
        "dirt_utf16le": ("utf-16le",), "dirt_late_1252": ("windows-1252",), "dirt_pipe": ("|",), "dirt_names": ("column_3",),
    }.items():
        for method in ("HEAD", "GET"):
            said = forms.session.request(method, f"{base}{name}.json", headers=forms.HEADERS).headers.get("Concordat-Read-As", "")
            said = urllib.parse.unquote(said)
            missing = [word for word in words if word.lower() not in said.lower()]
            failed(f"Concordat-Read-As of {name} on {method}", f"`{said}` lacks {missing}") if missing else ok(f"Concordat-Read-As of {name} on {method}")


def texts(base, sources):
    """`?types=text` keeps every column of a table as texts."""
    for name in ("case_codes", "case_semi_latin1", "dirt_types", "dirt_decimal_comma", "air_quality_no2"):
        source = sources[name].source
        right = {one: [cell or None for cell in cells] for one, cells in source.written().items()}
        for form, read in (("json", forms.pandas_json), ("ndjson", forms.pandas_ndjson), ("parquet", forms.pyarrow_parquet), ("arrow", forms.pyarrow_arrow)):
            judge("any", f"{form}?types=text", name, lambda: compare.columns(right, read(f"{base}{name}.{form}?types=text")))


# -- what publish says of a file by itself

def published(sources):
    """Columns are those of the views, extents are in degrees."""
    for name, expected in sources.items():
        path = os.path.join(os.environ["TMPDIR"], f"published.{name}")
        try:
            with open(path) as file:
                guessed = json.load(file)["guessed"]
        except (OSError, ValueError, KeyError):
            # That it failed was said.
            continue
        source, wrong = expected.source, None
        if source.is_table and source.uneven is not None:
            # It is published as it is, and why it has no views is said.
            said = guessed.get("views", "")
            judge("publish", "columns and extent", name, lambda: None if f"record {source.uneven} has" in said else f"`{said}` names no record")
            continue
        if source.is_table and any("\n" in one or ", " in one for one in expected.names):
            # It is told on one line.
            continue
        if source.is_table and "columns" in guessed:
            right = ", ".join(expected.names)
            if guessed["columns"] != right:
                wrong = f"columns {guessed['columns'][:200]} instead of {right[:200]}"
        elif source.is_table:
            wrong = "no columns"
        elif source.is_geo and "bbox" in guessed:
            right = extent([position for one in expected.features if one["geometry"] for position in flat_positions(one["geometry"])])
            came = [float(one) for one in guessed["bbox"].split(",")]
            if right and not all(abs(a - b) < 1e-5 for a, b in zip(right, came)):
                wrong = f"bbox {guessed['bbox']} instead of {','.join(f'{one:.6f}' for one in right)}"
        elif source.is_geo:
            wrong = "no bbox"
        judge("publish", "columns and extent", name, lambda: wrong)


def extent(positions):
    """West, south, east, north; None where it may be told in two ways."""
    longitudes, latitudes = sorted({one[0] for one in positions}), [one[1] for one in positions]
    gap, at = max(((b - a, n) for n, (a, b) in enumerate(zip(longitudes, longitudes[1:]))), default=(0, 0))
    if gap > longitudes[0] + 360 - longitudes[-1]:
        # Over the antimeridian, but for points all over the world.
        return [longitudes[at + 1], min(latitudes), longitudes[at], max(latitudes)] if gap > 300 else None
    return [longitudes[0], min(latitudes), longitudes[-1], max(latitudes)]


# -- R

def start_r(base, sources, folder):
    """R reads meanwhile; what it read is compared at the end."""
    if not os.environ.get("CONCORDAT_R"):
        return None
    wanted = []
    for name, expected in sources.items():
        for form in ("csv", "json", "ndjson"):
            if name in refused or "objects" in expected.entry.get("without", []) and form != "csv":
                continue
            if form != "csv" and (expected.nested or not expected.uniform or not expected.rows):
                continue
            if len(expected.rows) > 30_000 and form != "csv" or name == "dirt_wide" and form != "csv":
                continue
            wanted.append(f"{name}\t{form}\t{base}{name}.{form}{expected.query}")
    with open(os.path.join(folder, "wanted.tsv"), "w") as file:
        file.write("\n".join(wanted) + "\n")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "read.R")
    return wanted, subprocess.Popen(["Rscript", "--vanilla", script, folder], stdout=subprocess.DEVNULL,
                                    stderr=open(os.path.join(folder, "said"), "w"), env={**os.environ, "LC_ALL": "C.UTF-8"})


def end_r(started, sources, folder):
    if started is None:
        skipped("R", "it is not installed; see run.sh")
        return
    wanted, process = started
    process.wait()
    if process.returncode:
        with open(os.path.join(folder, "said")) as file:
            failed("R", f"it ended with {process.returncode}: {file.read()[-400:]}")
    for line in wanted:
        name, form, _ = line.split("\t")
        expected = sources[name]
        for package in ("R", "R, data.table") if form == "csv" else ("R, jsonlite",):
            # fread takes a comma within the only column for an end of it.
            if package == "R, data.table" and len(expected.written) == 1:
                continue
            path = os.path.join(folder, f"{name}.{form}.{package.split()[-1]}.json")

            def read():
                with open(path, encoding="utf-8") as file:
                    got = json.load(file)
                if "error" in got and isinstance(got["error"], str):
                    return got["error"][:300]
                # Without rows R has a list with nothing in it.
                got = {one: cells if isinstance(cells, list) else [] for one, cells in got.items()}
                ordered = expected.source.is_table
                if package == "R, data.table":
                    # fread leaves quotes within a cell as the file has them.
                    got = {one: [cell.replace('""', '"') if isinstance(cell, str) else cell for cell in cells] for one, cells in got.items()}
                compare.strict(expected.source.crs is None)
                if form == "csv":
                    return compare.columns(one_line_end(expected.written) if package == "R" else expected.written, got, "csv", ordered)
                return compare.columns(expected.objects, got, "digits", ordered)

            judge(package, form, name, read)


HOW = {("R", "csv"): "`url(…, headers = c(\"X-Api-Key\" = KEY))`", ("R, data.table", "csv"): "`download.file(…, headers = …)`, `fread`",
       ("R, jsonlite", "json"): "`url(…, headers = …)`", ("R, jsonlite", "ndjson"): "`url(…, headers = …)`, `stream_in`"}


def main():
    path, base = sys.argv[1:3]
    only = os.environ.get("CONCORDAT_TOOLS_FILES", "").split()
    with open(path) as file:
        entries = [one for one in json.load(file) if not only or one["name"] in only]
    work = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
    forms.gdal_options()
    sources, began = {}, time.monotonic()
    for entry in entries:
        if entry["kind"] == "none":
            continue
        source = reference.Source(entry)
        is_uneven = source.is_table and source.uneven is not None
        if is_uneven:
            entry["uneven"] = (source.uneven, len(source.records[source.uneven - 2]), len(source.names))
        names = list(source.names) if source.is_table else None
        expected = sources[entry["name"]] = Expected(source, is_uneven)
        expected.names = names
        expected.entry, expected.query = entry, "?ragged=fill" if is_uneven else ""
    print(f"-- the reference of {len(sources)} files: {time.monotonic() - began:.0f} s")
    for name in [name for name, expected in sources.items() if expected.entry.get("may_refuse")]:
        answer = forms.session.get(f"{base}{name}.json", headers=forms.HEADERS)
        if answer.status_code == 422 and answer.json().get("code") == "view":
            refused.add(name)
            ok(f"{name} is refused: {answer.json()['reason'][0][:150]}")
    r = start_r(base, sources, work)

    print("-- tables")
    for name, expected in sources.items():
        address = lambda form: f"{base}{name}.{form}{expected.query}"
        for form in FORMS:
            for reader in forms.READERS:
                if reader.form == form and applies(reader, expected):
                    judge(reader.tool, form, name, lambda: difference(reader, expected, address(form)))
            if form in ("parquet", "arrow", "arrows"):
                judge("types", form, name, lambda: types_difference(address(form), form, expected))
    whole = not only
    if whole:
        texts(base, sources)
    published(sources)
    end_r(r, sources, work)
    for (tool, form), one in found.items():
        name = f"{tool}: .{form}"
        for file, why in one.differences:
            print(f"  {name}: {file}: {why}")
        if one.differences:
            failed(name, f"{len(one.differences)} of {one.files} files ({one.seconds:.1f} s): {' '.join(file for file, _ in one.differences)}")
        else:
            ok(f"{name}: {one.files} files ({one.seconds:.1f} s)")

    slowest = sorted(by_file.items(), key=lambda one: -one[1])[:8]
    print(f"-- {sum(by_file.values()):.0f} s; slowest: " + ", ".join(f"{file} {seconds:.0f} s" for file, seconds in slowest))
    if damages["missed"]:
        failed("every damage to the reference is found", f"{len(damages['missed'])} of {damages['found'] + len(damages['missed'])} are not: "
               + "; ".join(damages["missed"][:20]))
    elif damages["found"]:
        ok(f"every damage to the reference is found: {damages['found']}")
    elif whole:
        failed("every damage to the reference is found", "there was none")
    print("-- answers")
    for name in [one for one in ANSWERED if one in sources]:
        for form in FORMS:
            if form == "geojson" and not sources[name].is_geo:
                continue
            try:
                why = answers(f"{base}{name}.{form}", form)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
            failed(f"HEAD, Range, ETag, gzip of {name}.{form}", why) if why else ok(f"HEAD, Range, ETag, gzip of {name}.{form}")
    refusals(base, entries)
    if whole:
        keys(base)
        read_as(base)
        for (tool, form), why in NONE.items():
            skipped(f"{tool}: .{form}", why)
    table()
    with open(os.environ["CONCORDAT_COUNTS"], "w") as file:
        json.dump(counts, file)
    return 1 if counts["failed"] else 0


ANSWERED = ("case_codes", "case_mixed", "usgs", "vega_airports", "dirt_cp1252", "dirt_lines", "geo_crs_behind")


# What a tool has no reader for, of what could be expected of it.
NONE = {("pandas", "arrows"): "no reader for streams", ("GDAL", "parquet"): "the wheels of pyogrio have no such driver",
        ("GDAL", "arrow"): "the wheels of pyogrio have no such driver", ("DuckDB", "arrow"): "its extension for Arrow is in no registry here",
        ("pyarrow", "json"): "it reads lines, no array", ("R", "parquet"): "Debian has no package `arrow` of R",
        ("R", "arrow"): "Debian has no package `arrow` of R"}


def table():
    """Tool by form."""
    how = {(one.tool, one.form): one.how for one in forms.READERS}
    how.update(HOW)
    tools = list(dict.fromkeys(tool for tool, _ in how))
    lines = ["| tool | " + " | ".join(f"`.{form}`" for form in FORMS) + " | how the key is passed |", "| --- " * (len(FORMS) + 2) + "|"]
    for tool in tools:
        cells = []
        for form in FORMS:
            one = found.get((tool, form))
            cells.append("none" if (tool, form) in NONE else "" if (tool, form) not in how else "not tried" if one is None else
                         f"works ({one.files})" if not one.differences else f"{one.files - len(one.differences)} of {one.files}")
        ways = dict.fromkeys(way for (of, _), way in how.items() if of == tool)
        lines.append(f"| {tool} | " + " | ".join(cells) + " | " + "; ".join(ways) + " |")
    text = "\n".join(lines)
    print(f"-- in brackets: how many files; none: the tool has no reader for it\n{text}")
    with open(os.environ["CONCORDAT_TABLE"], "w") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
