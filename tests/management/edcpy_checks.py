"""The PyPI client edcpy, unchanged, between an operator's program and two nodes."""
import asyncio
from urllib.parse import urlsplit

from checks import CONSUMER, PROVIDER, Checks, Server, contents, has, key, manage, named, refused, same

import httpx
from edcpy import edc_api
from edcpy.config import AppConfig, ConnectorUrls
from edcpy.edc_api import CatalogContent, CatalogDataset, ConnectorController, TransferProcessDetails

checks = Checks("edcpy")
check = checks.check
ASSET = named("edcpy", "rows")
OTHER = named("edcpy", "more")
POLICY = named("edcpy", "open")
OFFER = named("edcpy", "everybody")


def configured(node):
    address = urlsplit(node["management"])
    return AppConfig.from_environ({
        "EDC_CONNECTOR_SCHEME": address.scheme, "EDC_CONNECTOR_HOST": address.hostname,
        "EDC_CONNECTOR_CONNECTOR_ID": node["did"], "EDC_CONNECTOR_PARTICIPANT_ID": node["did"],
        "EDC_CONNECTOR_MANAGEMENT_PORT": str(address.port), "EDC_CONNECTOR_MANAGEMENT_PATH": address.path,
        "EDC_CONNECTOR_API_KEY": key(node), "EDC_CONNECTOR_API_KEY_HEADER": "X-Api-Key",
    })


there, here = configured(PROVIDER), configured(CONSUMER)
offering, asking = ConnectorUrls(there).management_url, ConnectorUrls(here).management_url
controller = ConnectorController(timeout_secs=20, config=here)
BOTH = {"counter_party_protocol_url": PROVIDER["protocol"], "counter_party_connector_id": PROVIDER["did"]}


def wait(task, seconds=25):
    return asyncio.run(asyncio.wait_for(task, seconds))


def completed(task, transfer):
    """The client waits for COMPLETED whatever becomes of the transfer; so this tells what did."""
    try:
        return wait(task, 15)
    except TimeoutError:
        raise AssertionError(f"not COMPLETED: {wait(get(f'/v3/transferprocesses/{transfer}'))}") from None


async def get(path):
    async with edc_api.async_httpx_client(config=here) as client:
        answer = await client.get(f"{CONSUMER['management'].rstrip('/')}{path}")
        answer.raise_for_status()
        return answer.json()


@check("the configuration gives the address of the management API")
def _():
    same(offering.rstrip("/"), PROVIDER["management"].rstrip("/"))
    same(asking.rstrip("/"), CONSUMER["management"].rstrip("/"))


@check("another data plane is refused by name: a node reads data itself")
def _():
    error = refused(httpx.HTTPStatusError, wait, edc_api.register_data_plane(
        offering, config=there, control_url="http://127.0.0.1:9/control", public_api_url="http://127.0.0.1:9/public",
        uid=named("edcpy", "plane")))
    same(error.response.status_code, 409)
    assert "reads data itself" in error.response.text, error.response.text


@check("an asset is created")
def _():
    same(wait(edc_api.create_asset(offering, config=there, source_base_url=PROVIDER["upstream"], uid=ASSET))["@id"], ASSET)


@check("an asset without method, body, path and query of the reader is created")
def _():
    same(wait(edc_api.create_asset(offering, config=there, source_base_url=PROVIDER["upstream"], uid=OTHER, proxy_body=False,
                                   proxy_path=False, proxy_query_params=False, proxy_method=False))["@id"], OTHER)


@check("a second asset with the same id is refused with 409")
def _():
    error = refused(httpx.HTTPStatusError, wait,
                    edc_api.create_asset(offering, config=there, source_base_url=PROVIDER["upstream"], uid=ASSET))
    same(error.response.status_code, 409)


@check("a policy without rules is created at v2")
def _():
    same(wait(edc_api.create_policy_definition(offering, config=there, uid=POLICY))["@id"], POLICY)


@check("a contract definition for all assets is created at v2")
def _():
    same(wait(edc_api.create_contract_definition(offering, config=there, uid=OFFER, policy_definition_id=POLICY))["@id"], OFFER)


@check("the catalog is asked for at v2 without the other's id")
def _():
    found = CatalogContent(wait(edc_api.fetch_catalog(asking, PROVIDER["protocol"], config=here)))
    assert {ASSET, OTHER} <= {one["@id"] for one in found.datasets}, found.data


@check("the catalog keeps to a limit")
def _():
    found = CatalogContent(wait(edc_api.fetch_catalog(asking, PROVIDER["protocol"], limit=1, config=here)))
    same(len(list(found.datasets)), 1)


@check("a dataset is found by the member id, by name and by a part of the id")
def _():
    found = wait(controller.fetch_catalog(PROVIDER["protocol"], limit=100))
    ours = [one for one in found.datasets if one["@id"] in (ASSET, OTHER)]
    assert all("id" in one and "name" in one for one in ours), [sorted(one) for one in ours]
    same(found.find_one_dataset(ASSET)["@id"], ASSET)
    same(found.find_one_dataset(f"Name of asset {OTHER}".upper())["@id"], OTHER)
    same(found.find_one_dataset(OTHER[3:])["@id"], OTHER)
    assert found.find_one_dataset(None)["@id"]


@check("a contract is negotiated at v2 with the offer as the catalog shows it")
def _():
    content = CatalogContent(wait(edc_api.fetch_catalog(asking, PROVIDER["protocol"], config=here)))
    dataset = CatalogDataset(next(one for one in content.datasets if one["@id"] == ASSET))
    begun = wait(edc_api.create_contract_negotiation(
        asking, config=here, asset_id=dataset.default_asset_id, policy=dataset.default_policy, **BOTH))
    assert dataset.default_contract_offer_id
    agreement = wait(edc_api.wait_for_contract_negotiation(asking, begun["@id"], iter_sleep=0.2, config=here))
    assert isinstance(agreement, str), agreement
    checks.keep(agreement=agreement)


@check("a pull is begun at v2 and its data are read with the EDR")
def _():
    begun = wait(edc_api.create_transfer_process(
        asking, config=here, contract_agreement_id=checks.need("agreement"), asset_id=ASSET, **BOTH))
    checks.keep(transfer=begun["@id"])
    read(begun["@id"])


def read(transfer):
    async def all_of_it():
        while (await get(f"/v2/transferprocesses/{transfer}"))["state"] != "STARTED":
            await asyncio.sleep(0.2)
        address = await get(f"/v3/edrs/{transfer}/dataaddress")
        async with httpx.AsyncClient() as client:
            return await client.get(address["endpoint"], headers={"Authorization": address["authorization"]})
    answer = wait(all_of_it())
    same(answer.status_code, 200)
    same(answer.content, contents(PROVIDER))


@check("the controller negotiates and pulls")
def _():
    details = wait(controller.run_negotiation_flow(asset_query=OTHER, catalog_limit=100, **BOTH))
    assert isinstance(details, TransferProcessDetails)
    same(details.asset_id, OTHER)
    checks.keep(details=details)
    read(wait(controller.run_transfer_flow(details)))


@check("the controller pushes to a sink over TLS, and the transfer is COMPLETED")
def _():
    sink = Server(node=CONSUMER)
    transfer = wait(controller.run_transfer_flow(checks.need("details"), is_provider_push=True, sink_base_url=sink.address,
                                                 sink_path="push/rows", sink_method="POST", sink_content_type="application/json"))
    completed(controller.wait_for_transfer_process(transfer, iter_sleep=0.2), transfer)
    got = sink.last()
    same(got["body"], contents(PROVIDER))
    same((got["method"], got["path"]), ("POST", "/push/rows"))
    same(got["headers"].get("content-type"), "application/json")


@check("a push without the controller answers the finished transfer")
def _():
    sink = Server(node=CONSUMER)
    begun = wait(edc_api.create_transfer_process(
        asking, config=here, is_provider_push=True, contract_agreement_id=checks.need("agreement"), asset_id=ASSET,
        sink_base_url=sink.address, sink_path="/other", sink_method="PUT", **BOTH))
    over = completed(edc_api.wait_for_transfer_process(asking, begun["@id"], iter_sleep=0.2, config=here), begun["@id"])
    same((over["@id"], over["state"]), (begun["@id"], "COMPLETED"))
    got = sink.last()
    same(got["body"], contents(PROVIDER))
    same((got["method"], got["path"]), ("PUT", "/other"))


@check("what is not there answers 404")
def _():
    none = named("edcpy", "none")
    error = refused(httpx.HTTPStatusError, wait, edc_api.wait_for_contract_negotiation(asking, none, config=here))
    same(error.response.status_code, 404)
    found = error.response.json()[0]
    assert found["type"] == "ObjectNotFound" and none in found["message"], error.response.text


checks.leave_out("backend, messaging, message_handler",
                 "its own receiver and queue (RabbitMQ); EDRs come to it by a receiver that EDC took out, not by the management API")
checks.leave_out("keycloak", "sets up a Keycloak, not a connector")


@checks.finally_
def _():
    manage(PROVIDER, "DELETE", f"/v3/contractdefinitions/{OFFER}")


checks.run()
