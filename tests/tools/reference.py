"""What each form of a source must hold, read from the source by itself: csv, json and decimal of Python's library, pyproj for
reference systems. Nothing here asks a node."""
import csv
import datetime
import io
import json
import re
from decimal import Decimal

csv.field_size_limit(1 << 30)
LISTS = ("features", "data", "records", "results", "items", "@graph")
GEOMETRIES = {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"}
DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)\Z")
# A number in a table: what a code may look like is none.
POINTED = re.compile(r"-?(0|[1-9]\d*)(\.\d+(?:[eE][+-]?\d{1,4})?|[eE]-\d{1,4})?\Z")
COMMA = re.compile(r"-?(0|[1-9]\d*|[1-9]\d{0,2}(?:\.\d{3})+)(,\d+)?\Z")


class Number(str):
    """A number as it is written."""

    __slots__ = ()


class Column:
    """A column: the type that Parquet and Arrow must have, and its cells."""

    def __init__(self, kind, cells):
        self.kind, self.cells = kind, cells


class Source:
    """A file: `table` (names and cells as written) or `rows` (JSON values)."""

    def __init__(self, entry):
        self.entry, self.crs = entry, None
        with open(entry["path"], "rb") as file:
            data = file.read()
        self.is_table = entry["kind"] == "table"
        if self.is_table:
            self.read_table(data.decode(entry.get("encoding", "utf-8-sig")))
        else:
            self.read_rows(data.decode("utf-8-sig"))

    def read_table(self, text):
        for _ in range(self.entry.get("skip", 0)):
            text = text.split("\n", 1)[1]
        self.delimiter = self.entry.get("delimiter", ",")
        records = [one for one in csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter) if one]
        # Space around a name is no part of it; that it went is told.
        self.header, self.records = [name.strip() for name in records[0]], records[1:]
        self.names, taken = [], set(self.header)
        for at, name in enumerate(self.header):
            found, number = name or f"column_{at + 1}", 2
            if not name or name in self.names:
                while found in self.names or (found in taken and found != name) or found == "":
                    found, number = f"{name or 'column_%d' % (at + 1)}_{number}", number + 1
            self.names.append(found)
        self.uneven = next((at for at, one in enumerate(self.records, 2) if len(one) != len(self.names)), None)

    def read_rows(self, text):
        load = lambda text: json.loads(text, parse_int=Number, parse_float=Number)
        self.is_geo, self.members = False, {}
        if self.entry["kind"] == "lines":
            self.rows = [load(line) for line in text.splitlines() if line.strip()]
            return
        whole = load(text)
        if isinstance(whole, list):
            self.rows = whole
            return
        list_ = next((name for name in LISTS if isinstance(whole.get(name), list)), None)
        if list_ is None:
            self.rows = [whole]
            self.is_geo = whole.get("type") == "Feature"
            return
        self.rows = whole[list_]
        self.is_geo = whole.get("type") == "FeatureCollection"
        named = whole.get("crs") or {}
        name = named.get("properties", {}).get("name", "")
        code = re.search(r"EPSG(?::+(?:[\d.]*:)?|/[\d.]+/)(\d+)\Z", name)
        if code and code[1] != "4326":
            self.crs = int(code[1])
            self.rows = [dict(row, geometry=degrees(row.get("geometry"), self.crs)) for row in self.rows]

    def fill(self):
        """What `ragged=fill` makes of it: cells that are too many get columns of their own."""
        width = max(len(self.names), *map(len, self.records))
        self.names += [f"column_{at + 1}" for at in range(len(self.names), width)]

    # -- forms

    def written(self):
        """`.csv`: names, and cells as texts; what a cell of JSON is as text is compared as JSON."""
        if self.is_table:
            return {name: [row[at] if at < len(row) else "" for row in self.records] for at, name in enumerate(self.names)}
        return self.flat()

    def typed(self):
        """Columns of Parquet and Arrow."""
        if self.is_table:
            return {name: table_column([row[at] if at < len(row) else "" for row in self.records], self.delimiter != ",")
                    for at, name in enumerate(self.names)}
        return {name: json_column(cells) for name, cells in self.flat().items()}

    def objects(self):
        """Rows of `.json` and `.ndjson`."""
        if not self.is_table:
            return [members(row) for row in self.rows]
        columns = {}
        for name, column in self.typed().items():
            at = self.names.index(name)
            texts = [row[at] if at < len(row) else "" for row in self.records]
            if column.kind in ("date32", "string") or column.kind.startswith("timestamp"):
                columns[name] = [text or None for text in texts]
            elif column.kind == "bool":
                columns[name] = column.cells
            else:
                comma = any("," in text for text in texts)
                columns[name] = [Number(as_json(text.strip(), comma)) if text else None for text in texts]
        return [dict(zip(columns, cells)) for cells in zip(*columns.values())] if columns else []

    def features(self):
        return [{"id": row.get("id"), "properties": row.get("properties") or {}, "geometry": row.get("geometry")} for row in self.rows]

    def flat(self):
        """Columns with dotted names of rows that are JSON."""
        columns, count = {}, 0
        for count, row in enumerate(self.rows):
            for path, cell in flatten_all(members(row)):
                # Two that would have one name are two columns.
                if len(columns.get(path, [])) > count:
                    path += "_2"
                column = columns.setdefault(path, [])
                column.extend([None] * (count - len(column)))
                if len(column) == count:
                    column.append(cell)
        # A name that is empty is none.
        columns = {name or f"column_{at + 1}": cells for at, (name, cells) in enumerate(columns.items())}
        total = len(self.rows)
        for column in columns.values():
            column.extend([None] * (total - len(column)))
        return columns


def members(row):
    """A row's own members; of a feature its id, its properties, its geometry."""
    if not isinstance(row, dict):
        return {"value": row}
    if row.get("type") != "Feature" or "properties" not in row:
        return row
    found = {"id": row["id"]} if "id" in row else {}
    for name, value in (row["properties"] or {}).items():
        taken = name == "geometry" or (name == "id" and "id" in row)
        found[f"properties.{name}" if taken else name] = value
    found["geometry"] = row.get("geometry")
    return found


ATTRIBUTES = {"Property": "value", "GeoProperty": "value", "Relationship": "object", "LanguageProperty": "languageMap"}


def flatten_all(row):
    for name, value in row.items():
        yield from flatten(name, value)


def flatten(path, value):
    if not isinstance(value, dict) or is_geometry(value) or not value:
        yield path, value
        return
    inside = ATTRIBUTES.get(value.get("type")) if isinstance(value.get("type"), str) else None
    if inside in value:
        yield path, value[inside]
        if "observedAt" in value:
            yield f"{path}.observedAt", value["observedAt"]
        return
    for name, inner in value.items():
        yield from flatten(f"{path}.{name}", inner)


def is_geometry(value):
    return isinstance(value, dict) and isinstance(value.get("type"), str) and value["type"] in GEOMETRIES \
        and ("geometries" if value["type"] == "GeometryCollection" else "coordinates") in value


# -- types of columns

def table_column(texts, may_have_commas):
    filled = [text for text in texts if text]
    empty = lambda make: [make(text) if text else None for text in texts]
    if not filled:
        return Column("string", [None] * len(texts))
    stripped = [text.strip() for text in filled]
    if may_have_commas and any("," in text for text in stripped) and all(COMMA.match(text) for text in stripped):
        kind = number_kind([as_json(text, True) for text in stripped])
        return numbers(kind, texts, True) if kind else Column("string", empty(str))
    if all(text in BOOLEANS for text in filled):
        return Column("bool", empty(BOOLEANS.get))
    if all(is_day(text) for text in filled):
        return Column("date32", empty(datetime.date.fromisoformat))
    instants = [instant(text) for text in filled]
    if all(instants):
        unit = max(one[1] for one in instants)
        return Column(f"timestamp{UNITS[unit]}", empty(lambda text: instant(text)[0]))
    if all(POINTED.match(text) for text in stripped):
        kind = number_kind(stripped)
        if kind:
            return numbers(kind, texts, False)
    return Column("string", empty(str))


BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
UNITS = {0: "ms", 1: "us", 2: "ns"}


def as_json(text, comma):
    return text.replace(".", "").replace(",", ".") if comma else text


def numbers(kind, texts, comma):
    return Column(kind, [exact(kind, as_json(text.strip(), comma)) if text else None for text in texts])


def exact(kind, text):
    return int(text) if kind == "int64" else float(text) if kind == "float64" else Decimal(text)


def number_kind(texts):
    """int64, else float64 where it keeps every digit, else decimal128, else None: an identifier."""
    pointed = [any(mark in text for mark in ".eE") for text in texts]
    if not any(pointed) and all(-(1 << 63) <= int(text) < 1 << 63 and text != "-0" for text in texts):
        return "int64"
    if not any(pointed):
        # Too long for its type: an identifier.
        return None
    if all(keeps(text, is_pointed) for text, is_pointed in zip(texts, pointed)):
        return "float64"
    if any("e" in text or "E" in text for text in texts):
        return None
    shapes = [digits(text) for text in texts]
    return "decimal128" if max(before for before, _ in shapes) + max(after for _, after in shapes) <= 38 else None


def digits(text):
    whole, _, fraction = text.lstrip("-").partition(".")
    return len(whole.lstrip("0")), len(fraction)


def keeps(text, is_pointed):
    """Whether what floating point writes is the number that was written."""
    if not is_pointed:
        return abs(int(text)) <= 1 << 53
    value = float(text)
    return value not in (float("inf"), float("-inf")) and Decimal(repr(value)) == Decimal(text)


def is_day(text):
    try:
        return bool(DAY.match(text)) and bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def instant(text):
    """Nanoseconds since 1970 and how fine it is told, of a time that has a zone."""
    found = INSTANT.match(text)
    if not found or len(text) < 17:
        return None
    day, minute, second, fraction, zone = found.groups()
    if second == ":60":
        return None
    zone = "+00:00" if zone == "Z" else zone if ":" in zone else zone + ":00" if len(zone) == 3 else zone[:3] + ":" + zone[3:]
    try:
        at = datetime.datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{zone}")
    except ValueError:
        return None
    since = at - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    fraction = fraction or ""
    nanoseconds = (since.days * 86400 + since.seconds) * 10**9 + int((fraction + "0" * 9)[:9])
    return nanoseconds, 0 if len(fraction) <= 3 else 1 if len(fraction) <= 6 else 2


def json_column(cells):
    filled = [cell for cell in cells if cell is not None]
    if filled and all(isinstance(cell, bool) for cell in filled):
        return Column("bool", cells)
    if filled and all(isinstance(cell, Number) for cell in filled):
        kind = number_kind([str(cell) for cell in filled])
        if kind:
            return Column(kind, [None if cell is None else exact(kind, cell) for cell in cells])
    if filled and all(is_geometry(cell) for cell in filled):
        return Column("geometry", cells)
    if filled and all(type(cell) is str for cell in filled):
        if all(is_day(cell) for cell in filled):
            return Column("date32", [None if cell is None else datetime.date.fromisoformat(cell) for cell in cells])
        instants = [instant(cell) for cell in filled]
        if all(instants):
            return Column(f"timestamp{UNITS[max(one[1] for one in instants)]}",
                          [None if cell is None else instant(cell)[0] for cell in cells])
    # Text: what is none already is compared as JSON.
    return Column("string", cells)


# -- reference systems

def degrees(geometry, code):
    from pyproj import Transformer
    if geometry is None:
        return None
    transformer = TRANSFORMERS.get(code) or TRANSFORMERS.setdefault(
        code, Transformer.from_crs(f"EPSG:{code}", "EPSG:4326", always_xy=True))

    def turn(node):
        if node and not isinstance(node[0], list):
            x, y = transformer.transform(float(node[0]), float(node[1]))
            return [Number(repr(x)), Number(repr(y)), *node[2:]]
        return [turn(inner) for inner in node]

    if geometry["type"] == "GeometryCollection":
        return dict(geometry, geometries=[degrees(one, code) for one in geometry["geometries"]])
    return dict(geometry, coordinates=turn(geometry["coordinates"]))


TRANSFORMERS = {}
