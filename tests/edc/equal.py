#!/usr/bin/env python3
"""Whether the terms that two nodes sent each other are equal to a JSON-LD processor, with the contexts of either side.

equal.py JARS DOSSIER CATALOG: the contexts are those in EDC's libraries, the messages those of an exported agreement, as they were
sent, the catalog one that has its offer. Every form in which the terms stand is expanded, compacted with each side's contexts and
expanded again; all of it must come to the same rules. Prints a line for each form.
"""
import json
import pathlib
import sys
import zipfile

from pyld import jsonld

DSP = "https://w3id.org/dspace/2025/1/context.jsonld"
EDC = "https://w3id.org/edc/dspace/v0.0.1"
DOCUMENTS = {
    DSP: "document/dspace-v2025-1.jsonld",
    "https://w3id.org/dspace/2025/1/odrl-profile.jsonld": "document/dspace-v2025-1-odrl.jsonld",
    EDC: "document/dspace-edc-context-v1.jsonld",
}
ODRL = "http://www.w3.org/ns/odrl/2/"
RULES = [ODRL + name for name in ("permission", "prohibition", "obligation")]


def contexts(jars):
    """The texts of the contexts, by address."""
    found = {}
    for jar in pathlib.Path(jars).glob("*.jar"):
        with zipfile.ZipFile(jar) as archive:
            names = set(archive.namelist())
            for address, name in DOCUMENTS.items():
                if name in names:
                    found[address] = json.loads(archive.read(name))
    missing = set(DOCUMENTS) - set(found)
    assert not missing, f"EDC's libraries have no {missing}"
    return found


def loader(known):
    def load(address, _options):
        if address not in known:
            raise LookupError(f"`{address}` is none of the contexts of either side")
        return {"contextUrl": None, "documentUrl": address, "document": known[address], "contentType": "application/ld+json"}

    return load


def canonical(value):
    """The same text for the same rules, in whatever order they stand."""
    if isinstance(value, list):
        return sorted((canonical(one) for one in value), key=json.dumps)
    if isinstance(value, dict):
        return {name: canonical(one) for name, one in sorted(value.items())}
    return value


def policies(expanded):
    """Everything that has rules."""
    found = []
    if isinstance(expanded, list):
        for one in expanded:
            found += policies(one)
    elif isinstance(expanded, dict):
        if any(name in expanded for name in RULES):
            found.append({name: canonical(expanded[name]) for name in RULES if name in expanded})
        else:
            for one in expanded.values():
                found += policies(one)
    return found


def main():
    jars, dossier, catalog = sys.argv[1:]
    options = {"documentLoader": loader(contexts(jars))}
    documents = [("the catalog", json.load(open(catalog, encoding="utf-8")))]
    for message in json.load(open(dossier, encoding="utf-8"))["messages"]:
        documents.append((message["body"]["@type"], message["body"]))
    seen = {}
    for name, document in documents:
        expanded = jsonld.expand(document, options)
        forms = {"as sent": expanded}
        for side, context in (("the protocol's", [DSP]), ("EDC's", [DSP, EDC])):
            compacted = jsonld.compact(expanded, {"@context": context}, options)
            forms[f"compacted with {side} contexts"] = jsonld.expand(compacted, options)
        for form, value in forms.items():
            for policy in policies(value):
                seen.setdefault(json.dumps(policy, sort_keys=True), []).append(f"{name}, {form}")
    for number, places in enumerate(seen.values()):
        for place in places:
            print(f"terms {number}: {place}")
    kinds = {place.split(",")[0] for places in seen.values() for place in places}
    assert {"the catalog", "ContractRequestMessage", "ContractAgreementMessage"} <= kinds, kinds
    if len(seen) != 1:
        sys.exit("the terms are not equal:\n" + "\n".join(seen))


main()
