"""Whether what a tool read is what the source says, cell by cell. Tools have types of their own: a number may come as a float where
the form is JSON, a text that is a time may come as a time; a lost digit, cell, row or column is a difference."""
import datetime
import json
import math
from decimal import Decimal

import shapely

from reference import Number, instant, is_geometry

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
# A tenth of a metre: what ways between two reference systems differ by where no grid is at hand.
DEGREES = 1e-6


def columns(expected, got, loose="exact", ordered=True):
    """The first difference as a text, or None. `loose`: `exact`, `float` (numbers as floating point), `digits` (15 digits),
    `microseconds` (times to them), `csv` (texts)."""
    names, found = list(expected), list(got)
    if set(names) != set(found):
        missing, more = [n for n in names if n not in got][:5], [n for n in found if n not in expected][:5]
        return f"columns: missing {missing}, more {more}"
    if ordered and names != found:
        return f"columns in another order: {found[:8]} instead of {names[:8]}"
    for name in names:
        right, came = expected[name], got[name]
        if len(right) != len(came):
            return f"column {name}: {len(came)} rows instead of {len(right)}"
        if right == came and loose != "text":
            continue
        for at, (a, b) in enumerate(zip(right, came)):
            if type(a) is type(b) and a == b:
                continue
            if not same(a, b, loose):
                return f"row {at + 1}, column {name}: {b!r:.120} ({type(b).__name__}) instead of {a!r:.120}"
    return None


# A number of JSON as it is written, told apart from a text: faster than a class.
mark = "\0".__add__


def marked(node):
    if isinstance(node, dict):
        return {name: marked(inner) for name, inner in node.items()}
    if isinstance(node, list):
        return [marked(inner) for inner in node]
    return mark(node) if isinstance(node, Number) else node


def unmarked(node):
    if isinstance(node, dict):
        return {name: unmarked(inner) for name, inner in node.items()}
    if isinstance(node, list):
        return [unmarked(inner) for inner in node]
    return Number(node[1:]) if isinstance(node, str) and node.startswith("\0") else node


def rows(expected, got):
    """Rows as JSON, every digit as it was written; of both the numbers are marked."""
    if len(expected) != len(got):
        return f"{len(got)} rows instead of {len(expected)}"
    for at, (a, b) in enumerate(zip(expected, got)):
        if a == b and (not isinstance(a, dict) or list(a) == list(b)):
            continue
        difference = verbatim(unmarked(a), unmarked(b), "")
        if difference:
            return f"row {at + 1}: {difference}"
    return None


def verbatim(a, b, path):
    if isinstance(a, dict) and isinstance(b, dict):
        if is_geometry(a) and path.endswith(".geometry"):
            return None if geometry(a) == geometry(b) or near(a, b) else f"{path}: {b!r:.150} instead of {a!r:.150}"
        if list(a) != list(b):
            return f"{path}: members {list(b)[:9]} instead of {list(a)[:9]}"
        return next((found for name in a if (found := verbatim(a[name], b[name], f"{path}.{name}"))), None)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next((found for at, (x, y) in enumerate(zip(a, b)) if (found := verbatim(x, y, f"{path}[{at}]"))), None)
    return None if type(a) is type(b) and a == b else f"{path}: {b!r:.120} ({type(b).__name__}) instead of {a!r:.120} ({type(a).__name__})"


def same(a, b, loose):
    if hasattr(b, "item") and type(b).__module__ == "numpy" and getattr(b, "ndim", 1) == 0:
        b = b.item()
    if b is not None and type(b).__name__ in ("NAType", "NaTType") or isinstance(b, float) and math.isnan(b):
        b = None
    if loose == "csv":
        return as_csv(a, b)
    if a is None:
        return b is None or isinstance(b, (dict, list)) and is_null(b)
    if b is None:
        return isinstance(a, (dict, list)) and is_null(a)
    if isinstance(a, bool):
        return isinstance(b, (bool, int)) and bool(b) == a if not isinstance(b, str) else b.lower() == str(a).lower()
    if isinstance(a, (Number, int, float, Decimal)):
        return number(a, b, loose)
    if isinstance(a, datetime.date):
        if isinstance(b, datetime.datetime):
            return (b.date(), b.time()) == (a, datetime.time(0))
        return b == a if isinstance(b, datetime.date) else str(b) == a.isoformat()
    if isinstance(a, (dict, list)):
        return nested(a, b, loose)
    if isinstance(b, (bytes, bytearray, memoryview)) or isinstance(b, shapely.Geometry):
        return False
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    return as_time(a, b)


def as_time(a, b):
    """A text that the tool itself took for a time."""
    if isinstance(b, datetime.datetime):
        found = instant(a.replace("/", "-")) or instant(a.replace("/", "-") + "Z") or instant(a.replace("/", "-") + ":00Z") \
            or instant(a.replace("/", "-") + "T00:00:00Z")
        return bool(found) and found[0] == nanoseconds(b)
    if isinstance(b, datetime.date):
        return a.replace("/", "-") == b.isoformat()
    return isinstance(b, datetime.time) and datetime.time.fromisoformat(a.zfill(8 if a.count(":") == 2 else 5)) == b


def nanoseconds(at):
    if hasattr(at, "value"):  # pandas
        return at.value if at.unit == "ns" else at.as_unit("ns").value
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000


def number(a, b, loose):
    if isinstance(b, datetime.datetime):
        return isinstance(a, int) and nanoseconds(b) == a
    if isinstance(b, bool):
        return False
    if isinstance(b, str):
        if not isinstance(a, Number):
            return False
        try:
            return Decimal(b) == Decimal(a)
        except ArithmeticError:
            return False
    if not isinstance(b, (int, float, Decimal)):
        return False
    right = Decimal(repr(a)) if isinstance(a, float) else Decimal(a)
    came = Decimal(repr(b)) if isinstance(b, float) else Decimal(b)
    if right == came:
        return True
    if loose in ("float", "gdal"):
        return float(a) == float(b)
    if loose == "microseconds":
        return isinstance(a, int) and 10**15 < abs(a) < 4 * 10**18 and a // 1000 == b / 1000
    if loose == "digits":
        return math.isclose(float(a), float(b), rel_tol=1e-13, abs_tol=1e-300)
    return False


def is_null(value):
    """Nothing in it: what a struct of a tool is where the source has no object."""
    if isinstance(value, dict):
        return all(is_null(one) for one in value.values())
    return value is None


def nested(a, b, loose):
    if isinstance(b, (bytes, bytearray, memoryview)):
        return is_geometry(a) and near(a, shapely.geometry.mapping(shapely.from_wkb(bytes(b))))
    if isinstance(b, shapely.Geometry):
        return is_geometry(a) and near(a, shapely.geometry.mapping(b))
    if isinstance(b, str):
        try:
            b = json.loads(b, parse_int=Number, parse_float=Number)
        except ValueError:
            return False
    if hasattr(b, "tolist"):
        b = b.tolist()
    if isinstance(a, dict) and isinstance(b, dict):
        if is_geometry(a) and is_geometry(b) and near(a, b):
            return True
        return all(member(a, b, name, loose) for name in {*a, *b})
    if isinstance(a, list) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, loose) for x, y in zip(a, b))
    return False


def member(a, b, name, loose):
    # A struct of a tool has every member that a row has.
    return same(a.get(name), b.get(name), loose)


def as_csv(a, b):
    """A cell of `.csv`, which is a text."""
    if a is None:
        return b is None or b == ""
    if isinstance(a, bool):
        return b == ("true" if a else "false")
    if isinstance(a, (dict, list)):
        return isinstance(b, str) and b != "" and nested(a, b, "exact")
    return (b or "") == a


def geometry(value):
    """Type and positions."""
    if value["type"] == "GeometryCollection":
        return "GeometryCollection", [geometry(one) for one in value["geometries"]]
    return value["type"], positions(value["coordinates"])


def positions(node):
    if isinstance(node, (list, tuple)) or hasattr(node, "tolist"):
        return [positions(one) for one in (node.tolist() if hasattr(node, "tolist") else node)]
    return float(node)


def near(a, b):
    try:
        return close(geometry(a), geometry(b))
    except (KeyError, TypeError, ValueError):
        return False


def close(a, b):
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(close(x, y) for x, y in zip(a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) < DEGREES * STRICT
    return a == b


# 0 where coordinates must be those of the source.
STRICT = 0


def strict(is_strict):
    global STRICT
    STRICT = 0 if is_strict else 1


def features(expected, got):
    if len(expected) != len(got):
        return f"{len(got)} features instead of {len(expected)}"
    for at, (a, b) in enumerate(zip(expected, got)):
        if (a["geometry"] is None) != (b["geometry"] is None) or a["geometry"] and not near(a["geometry"], b["geometry"]):
            return f"feature {at + 1}: geometry {b['geometry']!r:.160} instead of {a['geometry']!r:.160}"
        for part in ("id", "properties"):
            if part in b and (difference := verbatim(a[part], b[part], part)):
                return f"feature {at + 1}: {difference}"
    return None
