#!/usr/bin/env python3
"""Writes THIRD-PARTY-NOTICES.md: every crate in the shipped program, its licence, and the licences' texts.

With the path of a checkout of the RustSec advisory database as argument, it writes packaging/advisories.json too: which
advisories name crates of Cargo.lock, with the versions that they leave out. `./test unit` holds Cargo.lock against both."""
import hashlib, json, pathlib, subprocess, sys, tomllib

root = pathlib.Path(__file__).resolve().parent.parent
metadata = json.loads(subprocess.check_output(
    ["cargo", "metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"], cwd=root))
packages = {one["id"]: one for one in metadata["packages"]}
nodes = {one["id"]: one for one in metadata["resolve"]["nodes"]}
own = set(metadata["workspace_members"])
waiting = [one for one in own if packages[one]["name"] == "connector"]
reached = set()
while waiting:
    one = waiting.pop()
    if one not in reached:
        reached.add(one)
        waiting += [dep["pkg"] for dep in nodes[one]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
crates = sorted((packages[one] for one in reached - own), key=lambda one: (one["name"], one["version"]))

texts, rows = {}, []
for crate in crates:
    folder = pathlib.Path(crate["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(("LICEN", "COPYING", "NOTICE", "COPYRIGHT")))
    marks = []
    for file in files:
        text = file.read_text(errors="replace").strip()
        key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
        number, _, names = texts.setdefault(key, (len(texts) + 1, text, []))
        names.append(crate["name"])
        marks.append(str(number))
    rows.append(f"| {crate['name']} | {crate['version']} | {crate['license'] or 'see text'} | {', '.join(dict.fromkeys(marks))} |")
with open(root / "THIRD-PARTY-NOTICES.md", "w") as out:
    out.write("# Third-party notices\n\nWritten by `packaging/notices.py`. The crates in the shipped program, with the numbers of their texts below.\n\n")
    out.write("| crate | version | licence | texts |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n")
    for number, text, _ in texts.values():
        out.write(f"\n## {number}\n\n````text\n{text}\n````\n")

if len(sys.argv) > 1:
    database = pathlib.Path(sys.argv[1])
    date = subprocess.check_output(["git", "-C", database, "log", "-1", "--format=%cs"], text=True).strip()
    locked = {one["name"] for one in tomllib.loads((root / "Cargo.lock").read_text())["package"]}
    found = []
    for file in sorted(database.glob("crates/*/RUSTSEC-*.md")):
        if file.parent.name in locked:
            front = tomllib.loads(file.read_text().split("```toml", 1)[1].split("```", 1)[0])
            if "withdrawn" not in front["advisory"]:
                found.append({"id": front["advisory"]["id"], "crate": file.parent.name,
                    "informational": front["advisory"].get("informational"),
                    "patched": front["versions"].get("patched", []), "unaffected": front["versions"].get("unaffected", [])})
    document = {"date": date, "advisories": found}
    (root / "packaging/advisories.json").write_text(json.dumps(document, indent=1) + "\n")
