"""How each tool reads each form: one function each, from an address and a key to columns (name to list of cells)."""
import datetime
import glob
import json
import os

import duckdb
import duckdb_extension_httpfs
import fsspec
import geopandas
import pandas
import polars
import pyarrow
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet
import pyogrio
import requests
from fsspec.implementations.http import HTTPFileSystem

import compare
from reference import Number

READERS = []
KEY = os.environ.get("CONCORDAT_KEY", "")
HEADERS = {"X-Api-Key": KEY}


class Reader:
    def __init__(self, tool, form, how, loose, kind, read):
        self.tool, self.form, self.how, self.loose, self.kind, self.read = tool, form, how, loose, kind, read


def reads(tool, form, how, loose="exact", kind=None):
    """`kind`: `written` (cells as texts), `objects` (JSON), `typed` (columns), `features`, `verbatim`."""
    kind = kind or {"csv": "written", "json": "objects", "ndjson": "objects", "geojson": "features"}.get(form, "typed")
    if kind == "written":
        loose = "csv"

    def keep(read):
        READERS.append(Reader(tool, form, how, loose, kind, read))
        return read

    return keep


# -- what ways there are

web = HTTPFileSystem(client_kwargs={"headers": HEADERS}, use_listings_cache=False, skip_instance_cache=True)
arrow_web = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(web))
FSSPEC = "fsspec, `headers`"
STORAGE = "`storage_options={\"X-Api-Key\": KEY}`"
ADDRESS = "`?key=KEY` in the address"
GDAL = "`GDAL_HTTP_HEADERS`"
SECRET = "`CREATE SECRET (TYPE http, EXTRA_HTTP_HEADERS MAP {…})`"


def with_key(address):
    return f"{address}{'&' if '?' in address else '?'}key={KEY}"


def of_pandas(frame):
    return {name: [None if cell is pandas.NA else cell for cell in frame[name].tolist()] for name in frame.columns}


def of_typed_pandas(frame):
    return of_arrow(pyarrow.Table.from_pandas(frame, preserve_index=False))


def of_polars(frame):
    return {name: frame[name].to_list() for name in frame.columns}


def of_arrow(table):
    return {name: cells(table.column(at)) for at, name in enumerate(table.column_names)}


def cells(column):
    # Nanoseconds have no type in Python.
    if pyarrow.types.is_timestamp(column.type) and column.type.tz:
        factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
        return [None if one is None else one * factor for one in column.cast(pyarrow.int64()).to_pylist()]
    if isinstance(column.type, pyarrow.BaseExtensionType):
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    return column.to_pylist()


# -- Python itself, as programs without a library for tables

@reads("Python", "json", "`X-Api-Key` header", kind="verbatim")
def python_json(address):
    return json.loads(get(address), parse_int=compare.mark, parse_float=compare.mark)


@reads("Python", "ndjson", "`X-Api-Key` header", kind="verbatim")
def python_ndjson(address):
    return [json.loads(line, parse_int=compare.mark, parse_float=compare.mark) for line in get(address).decode().split("\n") if line]


@reads("Python", "geojson", "Basic, the key as password", kind="features")
def python_geojson(address):
    whole = json.loads(get(address, auth=("anybody", KEY), headers={}), parse_int=Number, parse_float=Number)
    assert whole["type"] == "FeatureCollection" and "crs" not in whole, "it is no FeatureCollection of RFC 7946"
    return [{"id": one.get("id"), "properties": one["properties"] or {}, "geometry": one["geometry"]} for one in whole["features"]]


session = requests.Session()


def get(address, headers=None, **more):
    answer = session.get(address, headers=HEADERS if headers is None else headers, **more)
    if not answer.ok:
        raise OSError(f"{answer.status_code} {answer.text[:300]}")
    return answer.content


# -- pandas

@reads("pandas", "csv", STORAGE)
def pandas_csv(address):
    return of_pandas(pandas.read_csv(address, storage_options=HEADERS, dtype=str, keep_default_na=False))


@reads("pandas", "json", STORAGE, "float")
def pandas_json(address):
    return of_pandas(pandas.read_json(address, storage_options=HEADERS, dtype=False, convert_dates=False, convert_axes=False, precise_float=True))


@reads("pandas", "ndjson", STORAGE, "float")
def pandas_ndjson(address):
    return of_pandas(pandas.read_json(address, storage_options=HEADERS, lines=True, dtype=False, convert_dates=False, precise_float=True))


@reads("pandas", "parquet", STORAGE)
def pandas_parquet(address):
    return of_typed_pandas(pandas.read_parquet(address, storage_options=HEADERS, dtype_backend="pyarrow"))


@reads("pandas", "arrow", STORAGE + ", `read_feather`")
def pandas_arrow(address):
    return of_typed_pandas(pandas.read_feather(address, storage_options=HEADERS, dtype_backend="pyarrow"))


# -- polars

@reads("polars", "csv", FSSPEC)
def polars_csv(address):
    return of_polars(polars.read_csv(web.open(address), infer_schema=False))


@reads("polars", "json", FSSPEC, "float")
def polars_json(address):
    return of_polars(polars.read_json(web.open(address), infer_schema_length=None))


@reads("polars", "ndjson", FSSPEC, "float")
def polars_ndjson(address):
    return of_polars(polars.read_ndjson(web.open(address), infer_schema_length=None))


@reads("polars", "parquet", FSSPEC)
def polars_parquet(address):
    return polars_typed(polars.read_parquet(web.open(address)))


@reads("polars", "arrow", FSSPEC)
def polars_arrow(address):
    return polars_typed(polars.read_ipc(web.open(address)))


@reads("polars", "arrows", FSSPEC)
def polars_arrows(address):
    return polars_typed(polars.read_ipc_stream(web.open(address)))


def polars_typed(frame):
    times = [name for name, kind in frame.schema.items() if isinstance(kind, polars.Datetime)]
    return of_polars(frame.with_columns([polars.col(name).dt.epoch("ns") for name in times]))


@reads("polars, lazy", "csv", ADDRESS)
def polars_scan_csv(address):
    return of_polars(polars.scan_csv(with_key(address), infer_schema=False).collect())


@reads("polars, lazy", "ndjson", ADDRESS, "float")
def polars_scan_ndjson(address):
    return of_polars(polars.scan_ndjson(with_key(address), infer_schema_length=None).collect())


@reads("polars, lazy", "parquet", ADDRESS)
def polars_scan_parquet(address):
    return polars_typed(polars.scan_parquet(with_key(address)).collect())


@reads("polars, lazy", "arrow", ADDRESS)
def polars_scan_ipc(address):
    return polars_typed(polars.scan_ipc(with_key(address)).collect())


# -- pyarrow

@reads("pyarrow", "csv", FSSPEC)
def pyarrow_csv(address):
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=False, null_values=[], timestamp_parsers=[])
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with arrow_web.open_input_stream(address) as stream:
        names = pyarrow.csv.open_csv(stream, parse_options=parse, convert_options=options,
                                     read_options=pyarrow.csv.ReadOptions(block_size=8 << 20)).schema.names
    options.column_types = {name: pyarrow.string() for name in names}
    with arrow_web.open_input_stream(address) as stream:
        return of_arrow(pyarrow.csv.read_csv(stream, parse_options=parse, convert_options=options))


@reads("pyarrow", "ndjson", FSSPEC, "float")
def pyarrow_ndjson(address):
    with arrow_web.open_input_stream(address) as stream:
        return of_arrow(pyarrow.json.read_json(stream, pyarrow.json.ReadOptions(block_size=64 << 20)))


@reads("pyarrow", "parquet", FSSPEC)
def pyarrow_parquet(address):
    return of_arrow(pyarrow_table(address))


def pyarrow_table(address):
    with arrow_web.open_input_file(address) as file:
        return pyarrow.parquet.ParquetFile(file).read()


@reads("pyarrow", "arrow", FSSPEC)
def pyarrow_arrow(address):
    with arrow_web.open_input_file(address) as file:
        return of_arrow(pyarrow.ipc.open_file(file).read_all())


@reads("pyarrow", "arrows", FSSPEC)
def pyarrow_arrows(address):
    with arrow_web.open_input_stream(address) as stream:
        return of_arrow(pyarrow.ipc.open_stream(stream).read_all())


def dataset(address, form):
    return of_arrow(pyarrow.dataset.dataset(address, filesystem=arrow_web, format=form).to_table())


@reads("pyarrow datasets", "parquet", FSSPEC)
def dataset_parquet(address):
    return dataset(address, "parquet")


@reads("pyarrow datasets", "arrow", FSSPEC)
def dataset_arrow(address):
    return dataset(address, "ipc")


@reads("pyarrow datasets", "csv", FSSPEC)
def dataset_csv(address):
    with web.open(address) as file:
        names = pandas.read_csv(file, nrows=0).columns
    options = pyarrow.csv.ConvertOptions(column_types={name: pyarrow.string() for name in names}, strings_can_be_null=False, null_values=[])
    form = pyarrow.dataset.CsvFileFormat(parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True), convert_options=options)
    return dataset(address, form)


# -- DuckDB

def connection():
    made = duckdb.connect(config={"allow_unsigned_extensions": "true", "autoinstall_known_extensions": "false"})
    folder = os.path.dirname(duckdb_extension_httpfs.__file__)
    made.execute(f"LOAD '{glob.glob(folder + '/extensions/*/httpfs.duckdb_extension')[0]}'")
    made.execute(f"CREATE SECRET (TYPE http, EXTRA_HTTP_HEADERS MAP {{'X-Api-Key': '{KEY}'}})")
    made.execute("SET TimeZone = 'UTC'")
    return made


class Dated(HTTPFileSystem):
    """What DuckDB asks of a filesystem, and fsspec's for HTTP does not know."""

    def modified(self, path):
        return datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)


def with_fsspec():
    made = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    made.register_filesystem(Dated(client_kwargs={"headers": HEADERS}, use_listings_cache=False, skip_instance_cache=True))
    return made


duck, other_duck = connection(), with_fsspec()


def of_duck(made, query):
    found = made.execute(query)
    names = [one[0] for one in found.description]
    rows = found.fetchall()
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def of_duck_typed(made, query):
    return of_arrow(made.execute(query).to_arrow_table())


CSV = "all_varchar=true, header=true, delim=',', quote='\"', escape='\"', max_line_size=10000000, null_padding=false"


@reads("DuckDB", "csv", SECRET)
def duck_csv(address):
    return of_duck(duck, f"SELECT * FROM read_csv('{address}', {CSV})")


@reads("DuckDB", "json", SECRET, "float")
def duck_json(address):
    return of_duck(duck, f"SELECT * FROM read_json('{address}', format='array', sample_size=-1, maximum_object_size=100000000)")


@reads("DuckDB", "ndjson", SECRET, "float")
def duck_ndjson(address):
    return of_duck(duck, f"SELECT * FROM read_json('{address}', format='newline_delimited', sample_size=-1, maximum_object_size=100000000)")


@reads("DuckDB", "parquet", SECRET, "microseconds")
def duck_parquet(address):
    return of_duck_typed(duck, f"SELECT * FROM read_parquet('{address}')")


@reads("DuckDB, fsspec", "csv", "`register_filesystem` of an `HTTPFileSystem` with `headers` that also has `modified`")
def fsspec_csv(address):
    return of_duck(other_duck, f"SELECT * FROM read_csv('{address}', {CSV})")


@reads("DuckDB, fsspec", "parquet", "`register_filesystem` of an `HTTPFileSystem` with `headers` that also has `modified`", "microseconds")
def fsspec_parquet(address):
    return of_duck_typed(other_duck, f"SELECT * FROM read_parquet('{address}')")


# -- GDAL

def gdal_options():
    # Not GDAL_HTTP_HEADER_FILE: GDAL 3.12 reads that file into the buffer that holds the line of CSV at which it fetches more.
    pyogrio.set_gdal_config_options({"GDAL_HTTP_HEADERS": f"X-Api-Key: {KEY}", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
                                    "VSI_CACHE": False,
                                    # Of columns, where it would stop at 2,000.
                                    "OGR_CSV_MAX_FIELD_COUNT": "10000"})


@reads("GDAL", "csv", GDAL + ", `/vsicurl/`")
def gdal_csv(address):
    about, _, _, found = pyogrio.raw.read(vsicurl(address, "CSV:"), EMPTY_STRING_AS_NULL="NO", HEADERS="YES", SEPARATOR="COMMA",
                                          MAX_LINE_SIZE="-1")
    return {name: column.tolist() for name, column in zip(about["fields"], found)}


@reads("GDAL", "geojson", GDAL + ", `/vsicurl/`", "gdal")
def gdal_geojson(address):
    about, _, shapes, found = pyogrio.raw.read(vsicurl(address), DATE_AS_STRING="YES")
    # With heights it is EPSG:4979.
    assert about["crs"] in ("EPSG:4326", "OGC:CRS84", "EPSG:4979"), about["crs"]
    got = {"properties.geometry" if name == "geometry" else name: column.tolist() for name, column in zip(about["fields"], found)}
    return {**got, "geometry": list(shapes)}


def vsicurl(address, driver=""):
    return f"{driver}/vsicurl/{address}"


# -- geopandas

@reads("geopandas", "geojson", GDAL, "gdal")
def geopandas_geojson(address):
    return of_pandas(geopandas.read_file(vsicurl(address), DATE_AS_STRING="YES"))


@reads("geopandas", "parquet", "`storage_options` of fsspec")
def geopandas_parquet(address):
    frame = geopandas.read_parquet(address, storage_options={"client_kwargs": {"headers": HEADERS}}, to_pandas_kwargs={"types_mapper": pandas.ArrowDtype})
    assert frame.crs.to_epsg() == 4326 or frame.crs.to_authority() == ("OGC", "CRS84"), frame.crs
    return of_pandas(frame)
