"""The PyPI client edc-python, unchanged, between an operator's program and two nodes."""
import contextlib
import io
import sys
import tempfile
from pathlib import Path

from checks import CONSUMER, PROVIDER, Checks, contents, has, key, manage, named, refused, same, until

sys.argv = sys.argv[:1]  # its configuration parser reads the command line

from edc_python import Connector, get_asset_access, provide_data, verify_provided_data
from edc_python.common import IdGen
from edc_python.config import ConnectorConfig

checks = Checks("edc-python")
check = checks.check
ASSET = named("edc-python", "rows")
OTHER = named("edc-python", "more")


def configured(node):
    return ConnectorConfig(public_url=node["management"], management_url_path="", api_version="v3",
                           dsp_url=node["protocol"], header_api_key=key(node), bpn=node["did"])


provider = Connector(configured(PROVIDER))
consumer = Connector(configured(CONSUMER))


def told():
    """What became of the newest negotiation, for a check that waits in vain."""
    _, found = manage(CONSUMER, "POST", "/v3/contractnegotiations/request",
                      {"@context": {"@vocab": "https://w3id.org/edc/v0.0.1/ns/"}, "sortField": "createdAt", "sortOrder": "DESC", "limit": 1})
    return {name: one.get(name) for one in found for name in ("state", "errorDetail")}


def patiently(look, pause=0.1):
    try:
        return until(look, bool, pause=pause)
    except TimeoutError:
        raise AssertionError(f"there was no EDR; the negotiation: {told()}") from None


def read(access):
    answer = consumer.get_raw(access["asset_url"], headers={"Authorization": access["auth_token"]})
    same(answer.status_code, 200)
    return answer.content


@check("a connector is made from a configuration file")
def _():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "connector.yaml"
        file.write_text(f"public_url: {PROVIDER['management']}\nmanagement_url_path: /\napi_version: v3\n"
                        f"dsp_url: {PROVIDER['protocol']}\nheader_api_key: {key(PROVIDER)}\nbpn: \"{PROVIDER['did']}\"\n")
        made = Connector.create_connector_from_config_file(file)
    same(made.get_business_partner_number(), PROVIDER["did"])
    same(made.get_dsp_url(), PROVIDER["protocol"])
    made.get_all_assets()


@check("an asset is created, found and listed")
def _():
    provider.create_asset(ASSET, PROVIDER["upstream"])
    same(provider.get_asset_by_id(ASSET)["@id"], ASSET)
    found = provider.get_all_assets()
    assert ASSET in [one["@id"] for one in found], found
    same(len(provider.get_all_assets(offset=0, limit=1)), 1)


@check("a second asset with the same id is refused")
def _():
    error = refused(RuntimeError, provider.create_asset, ASSET, PROVIDER["upstream"])
    assert "409" in str(error), error


@check("a usage policy without rules is created and found")
def _():
    provider.create_usage_policy(ASSET)
    same(provider.get_policy_by_id(IdGen.gen_usage_policy_id(ASSET))["@id"], IdGen.gen_usage_policy_id(ASSET))


@check("an access policy for the consumer's BusinessPartnerNumber is created and found")
def _():
    provider.create_access_policy(ASSET, consumer)
    found = has(provider.get_policy_by_id(IdGen.gen_access_policy_id(ASSET)), "@id", "policy")
    assert CONSUMER["did"] in str(found["policy"]), found


@check("policies are listed")
def _():
    found = [one["@id"] for one in provider.get_all_policies()]
    assert IdGen.gen_access_policy_id(ASSET) in found and IdGen.gen_usage_policy_id(ASSET) in found, found


@check("a contract definition with a single criterion, not a list, is created and found")
def _():
    provider.create_contract(ASSET)
    found = has(provider.get_contract_by_id(IdGen.gen_contract_id(ASSET)), "@id", "accessPolicyId", "contractPolicyId")
    same(found["contractPolicyId"], IdGen.gen_access_policy_id(ASSET))
    assert ASSET in str(found["assetsSelector"]), found


@check("contract definitions are listed")
def _():
    assert IdGen.gen_contract_id(ASSET) in [one["@id"] for one in provider.get_all_contracts()]


@check("the catalog is a list of datasets with the member id")
def _():
    found = consumer.query_catalog(provider)
    assert isinstance(found, list), f"dcat:dataset is not a list: {found}"
    assert ASSET in [one.get("id") for one in found], found


@check("the one offer of a dataset is an object of the type odrl:Offer")
def _():
    checks.keep(offer=consumer.read_policy_id_from_catalog(provider, ASSET))


@check("an EDR is negotiated, found by its asset and read")
def _():
    consumer.negotiate_edr(checks.need("offer"), ASSET, provider)

    def look():
        try:
            return consumer.request_edr(ASSET)
        except RuntimeError as error:
            if "No transfer id" not in str(error):
                raise
            return None
    transfer = patiently(look)
    checks.keep(access=has(consumer.read_edr_details(transfer), "asset_url", "auth_token"))


@check("the data are read with the EDR as it is")
def _():
    same(read(checks.need("access")), contents(PROVIDER))


@check("provide_data publishes with one call")
def _():
    provide_data(PROVIDER["upstream"], OTHER, provider, consumer)


@check("verify_provided_data finds all that was published")
def _():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        verify_provided_data(OTHER, provider)
    said = said.getvalue()
    assert "Unable" not in said, said
    same(said.count(" exists."), 4)
    assert f" - {OTHER}\n" in said and f" - {IdGen.gen_contract_id(OTHER)}" in said, said


@check("get_asset_access gives access to the data")
def _():
    # It does not wait between the negotiation and the question for the EDR, so it is called again until there is one.
    def look():
        try:
            return get_asset_access(OTHER, provider, consumer)
        except RuntimeError as error:
            if "No transfer id" not in str(error):
                raise
            return None
    same(read(patiently(look, pause=1)), contents(PROVIDER))


@check("its own requests: get, head, post, put, delete")
def _():
    base = PROVIDER["management"].rstrip("/") + "/v3"
    word = named("edc-python", "own")
    asset = {"@context": {"@vocab": "https://w3id.org/edc/v0.0.1/ns/"}, "@id": word, "properties": {"name": "Own"},
             "dataAddress": {"type": "HttpData", "baseUrl": PROVIDER["upstream"]}}
    same(provider.post(f"{base}/assets", json=asset)["@id"], word)
    same(provider.get(f"{base}/assets/{word}")["@id"], word)
    same(provider.head(f"{base}/assets/{word}"), {})
    import json
    same(provider.put(f"{base}/assets", data=json.dumps(asset)), {})
    same(provider.put_raw(f"{base}/assets", data=json.dumps(asset)).status_code, 204)
    same(provider.safe_delete(f"{base}/assets/{word}"), {})
    same(provider.delete(f"{base}/assets/{word}").status_code, 404)
    same(provider.get_raw(f"{base}/assets/{word}").status_code, 404)
    assert "ObjectNotFound" in str(refused(Exception, provider.get, f"{base}/assets/{word}"))


checks.leave_out("get_asset_access with a single call",
                 "it asks for the EDR right after the negotiation was begun; EDC has none yet either, so it is called again")
checks.leave_out("get_downloadable_file_type, download_file, download_file_without_saving",
                 "plain downloads of any address, which take no token of an EDR")


@checks.finally_
def _():
    for word in ("rows", "more"):
        asset = named("edc-python", word)
        manage(PROVIDER, "DELETE", f"/v3/contractdefinitions/{IdGen.gen_contract_id(asset)}")


checks.run()
