"""A large table: large.py make CSV TOLD writes it, with what a filter must find; large.py read ADDRESS TOLD has tools find that."""
import json
import os
import sys
import time

PLACES = ["Antwerp", "Paris", "London", "Łódź", "Zürich", "São Paulo", "Reykjavík"]


def make(path, told):
    size = float(os.environ["CONCORDAT_TOOLS_MEGABYTES"]) * 1_000_000
    written = n = 0
    right = {"rows": 0, "count": 0, "sum": 0, "last": 0, "places": {}}
    with open(path, "w", encoding="utf-8", newline="") as file:
        written += file.write("id,place,at,value,code,note\n")
        while written < size:
            part = []
            for n in range(n, n + 10_000):
                quarters = n * 7919 % 40_000
                place = PLACES[n % 7]
                part.append(f"{n},{place},2024-{n % 12 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:00Z,{quarters / 4},{n % 1000:04},\"note {n}, of {place}\"\n")
                right["places"][place] = right["places"].get(place, 0) + 1
                if place == "Łódź" and quarters / 4 > 9000:
                    right["count"] += 1
                    right["sum"] += quarters
                    right["last"] = n
            n += 1
            written += file.write("".join(part))
    right["rows"], right["bytes"] = n, os.path.getsize(path)
    with open(told, "w") as file:
        json.dump(right, file)


def read(address, told):
    import duckdb
    import polars
    import pyarrow.compute as compute
    import pyarrow.dataset
    import pyogrio

    import forms

    forms.gdal_options()
    with open(told) as file:
        right = json.load(file)
    wanted = (right["rows"], right["count"], right["sum"] / 4, right["last"])
    counts = {"ok": 0, "failed": 0, "skipped": 0}

    def lazy(frame):
        where = (polars.col("place") == "Łódź") & (polars.col("value") > 9000)
        return frame.select(polars.len(), where.sum().alias("n"), polars.col("value").filter(where).sum().alias("s"),
                            polars.col("id").filter(where).max().alias("m")).collect().row(0)

    def dataset(ending, form):
        table = pyarrow.dataset.dataset(address + ending, filesystem=forms.arrow_web, format=form)
        where = (compute.field("place") == "Łódź") & (compute.field("value") > 9000)
        found = table.to_table(columns=["id", "value"], filter=where)
        return table.count_rows(), found.num_rows, compute.sum(found["value"]).as_py(), compute.max(found["id"]).as_py()

    def duck(source):
        return forms.duck.execute(f"SELECT count(*), count(*) FILTER (w), sum(value) FILTER (w), max(id) FILTER (w) "
                                  f"FROM (SELECT *, place = 'Łódź' AND value > 9000 AS w FROM {source})").fetchone()

    def gdal():
        about = pyogrio.read_info(f"CSV:/vsicurl/{address}.csv", AUTODETECT_TYPE="YES", force_feature_count=True)
        found = pyogrio.read_dataframe(f"CSV:/vsicurl/{address}.csv", where="place = 'Łódź' AND value > 9000", AUTODETECT_TYPE="YES",
                                       columns=["id", "place", "value"])
        return about["features"], len(found), found["value"].sum(), found["id"].astype(int).max()

    print(f"-- {right['bytes'] / 1e6:.0f} MB of CSV: rows, filtered count, sum and largest as in the reference")
    for name, ask in {
        "polars.scan_csv": lambda: lazy(polars.scan_csv(forms.with_key(address + ".csv"))),
        "DuckDB read_csv": lambda: duck(f"read_csv('{address}.csv', header=true, delim=',')"),
        "pyarrow dataset, CSV": lambda: dataset(".csv", "csv"),
        "GDAL, CSV": gdal,
        "polars.scan_parquet": lambda: lazy(polars.scan_parquet(forms.with_key(address + ".parquet"))),
        "DuckDB read_parquet": lambda: duck(f"read_parquet('{address}.parquet')"),
        "pyarrow dataset, Parquet": lambda: dataset(".parquet", "parquet"),
        "pyarrow dataset, Arrow": lambda: dataset(".arrow", "ipc"),
    }.items():
        began = time.monotonic()
        try:
            came = tuple(ask())
            why = None if (came[0], came[1], float(came[2]), came[3]) == wanted else f"{came} instead of {wanted}"
        except BaseException as error:
            why = f"{type(error).__name__}: {str(error)[:400]}"
        seconds = time.monotonic() - began
        counts["failed" if why else "ok"] += 1
        print(f"FAILED: large: {name}: {why} ({seconds:.1f} s)" if why else f"ok: large: {name}: {seconds:.1f} s", flush=True)
    with open(os.environ["CONCORDAT_COUNTS"] + "-large", "w") as file:
        json.dump(counts, file)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(read(*sys.argv[2:]) if sys.argv[1] == "read" else make(*sys.argv[2:]))
