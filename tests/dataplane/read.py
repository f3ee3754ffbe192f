"""Reads the dataset `no2` of a node through its gateway, as a notebook would: read.py ADDRESS KEY."""
import io
import sys
import urllib.request

import pandas
import pyarrow.ipc

base, key = sys.argv[1:]
table = pandas.read_csv(f"{base}/d/no2.csv?key={key}")
header = {"X-Api-Key": key}
others = {
    "as it is": pandas.read_csv(f"{base}/d/no2", storage_options=header),
    "ndjson": pandas.read_json(f"{base}/d/no2.ndjson", lines=True, convert_dates=False, storage_options=header),
    "json": pandas.read_json(f"{base}/d/no2.json", convert_dates=False, storage_options=header),
}
request = lambda ending: urllib.request.urlopen(urllib.request.Request(f"{base}/d/no2.{ending}", headers=header)).read()
others["parquet"] = pandas.read_parquet(io.BytesIO(request("parquet")))
others["arrow"] = pyarrow.ipc.open_file(io.BytesIO(request("arrow"))).read_all().to_pandas()
others["arrows"] = pyarrow.ipc.open_stream(request("arrows")).read_all().to_pandas()
for form, other in others.items():
    assert list(other.columns) == list(table.columns), (form, list(other.columns))
    assert len(other) == len(table), (form, len(other))
    assert (other["value"].astype(float) == table["value"].astype(float)).all(), form
    times = lambda frame: pandas.to_datetime(frame["date.utc"], utc=True)
    assert (times(other) == times(table)).all(), form
print(f"{len(table)} rows, the same in every form")
