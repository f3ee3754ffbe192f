"""The PyPI client tractusx-sdk, unchanged, in both its dataspace versions, between an operator's program and two nodes."""
import json
import logging

from checks import CONSUMER, EDC, PROVIDER, Checks, Server, has, key, manage, named, refused, same, until

import requests
from tractusx_sdk.dataspace.adapters.connector.adapter_factory import AdapterFactory
from tractusx_sdk.dataspace.controllers.connector.controller_factory import ControllerFactory, ControllerType
from tractusx_sdk.dataspace.models.connector import saturn as saturn_models
from tractusx_sdk.dataspace.models.connector.model_factory import ModelFactory
from tractusx_sdk.dataspace.models.model import BaseModel
from tractusx_sdk.dataspace.services.connector import ServiceFactory
from tractusx_sdk.dataspace.tools import DspTools

logging.disable(logging.CRITICAL)
checks = Checks("tractusx-sdk")
DATA = json.dumps({"rows": [{"a": 1, "b": 2}]}).encode()
TYPE = "https://w3id.org/catenax/taxonomy#Submodel"
TYPE_KEY = "'http://purl.org/dc/terms/type'.'@id'"
JUPITER = [ControllerType.ASSET, ControllerType.CATALOG, ControllerType.CONTRACT_AGREEMENT, ControllerType.CONTRACT_DEFINITION,
           ControllerType.CONTRACT_NEGOTIATION, ControllerType.EDR, ControllerType.POLICY, ControllerType.TRANSFER_PROCESS]
there, here = PROVIDER["did"], CONSUMER["did"]
address = PROVIDER["protocol"]


def source(request):
    """What stands behind the assets: data for whoever reads, and its own bytes for whoever writes; a token for OAuth2."""
    if request["path"].endswith("/token"):
        return 200, "application/json", b'{"access_token":"granted","token_type":"Bearer","expires_in":300}'
    return 200, "application/json", request["body"] if request["method"] in ("POST", "PUT") else DATA


class Words(BaseModel):
    """A body of the program's own, as the controllers take it."""
    body: dict

    def to_data(self):
        return json.dumps(self.body)


class Version:
    """All checks of one dataspace version."""

    def __init__(self, version):
        self.version = version
        self.protocol = "dataspace-protocol-http" if version == "jupiter" else "dataspace-protocol-http:2025-1"
        self.source = Server(source)
        self.provider = self.service("provider", PROVIDER)
        self.consumer = self.service("consumer", CONSUMER)
        self.offering, self.asking = self.controllers(PROVIDER), self.controllers(CONSUMER)
        self.rows, self.marked, self.bound = map(self.me, ("rows", "marked", "bound"))
        self.usage, self.access, self.partner = map(self.me, ("usage", "access", "partner"))

    def me(self, word):
        return named(f"tractusx-{self.version}", word)

    def service(self, kind, node, **more):
        make = getattr(ServiceFactory, f"get_connector_{kind}_service")
        service = make(dataspace_version=self.version, base_url=node["management"], dma_path="",
                       headers={"X-Api-Key": key(node)}, verbose=False, **more)
        service.dma_adapter.session.hooks["response"].append(checks.saw)
        return service

    def controllers(self, node, path=""):
        adapter = AdapterFactory.get_dma_adapter(self.version, node["management"], path, {"X-Api-Key": key(node)})
        # For jupiter the factory's own list of all names controllers that jupiter does not have.
        types = list(ControllerType) if self.version == "saturn" else JUPITER
        return ControllerFactory.get_dma_controllers_for_version(self.version, adapter, types)

    def check(self, name):
        return checks.check(f"{self.version}: {name}")

    def need(self, name):
        return checks.need(f"{name} of {self.version}")

    def keep(self, **values):
        checks.keep(**{f"{name} of {self.version}": value for name, value in values.items()})

    def query(self, left, right, **more):
        return ModelFactory.get_queryspec_model(
            self.version, filter_expression=[{"operandLeft": left, "operator": "=", "operandRight": right}], **more)

    def only(self, id):
        return [{"operandLeft": EDC + "id", "operator": "=", "operandRight": id}]

    def context(self):
        if self.version == "jupiter":
            return {"@vocab": EDC, "odrl": "http://www.w3.org/ns/odrl/2/", "tx": "https://w3id.org/tractusx/v0.0.1/ns/"}
        return None

    def rule(self):
        if self.version == "jupiter":
            return {"action": "use", "constraint": {"leftOperand": "BusinessPartnerNumber", "operator": "eq", "rightOperand": here}}
        return {"action": "use", "constraint": {"and": [
            {"leftOperand": "BusinessPartnerNumber", "operator": "isAnyOf", "rightOperand": [here]}]}}


def ok(response, status=200):
    """The JSON of an answer with this status."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    return response.json() if response.content else None


def gone(response, status=404):
    """The error of an answer with this status."""
    found = ok(response, status)
    assert isinstance(found, list) and has(found[0], "message", "type"), found


def listed(datasets):
    return [one["@id"] for one in ([datasets] if isinstance(datasets, dict) else datasets or [])]


def shown(catalog):
    return listed(catalog.get("dataset", catalog.get("dcat:dataset")))


def provide(v):
    check = v.check

    @check("provider: create_asset with the client's own parameters for its source")
    def _():
        same(has(v.provider.create_asset(v.rows, v.source.address), "@id", "createdAt")["@id"], v.rows)

    @check("provider: create_asset with all parameters of the reader, headers, a type, a subject and properties")
    def _():
        every = dict.fromkeys(("proxyQueryParams", "proxyPath", "proxyMethod", "proxyBody"), "true")
        made = v.provider.create_asset(
            v.marked, v.source.address + "/base", dct_type=TYPE, dct_subject="cx-taxo:Something", version="3.0", proxy_params=every,
            headers={"X-Marker": "marked"}, properties={"note": v.me("note")}, private_properties={"secretly": "yes"})
        same(made["@id"], v.marked)
        found = ok(v.provider.assets.get_by_id(v.marked))
        same((found["@id"], found["properties"]["note"]), (v.marked, v.me("note")))
        assert TYPE in json.dumps(found["properties"]), found

    @check("provider: create_asset without parameters of the reader")
    def _():
        same(v.provider.create_asset(v.me("plain"), v.source.address, version=None, proxy_params=None)["@id"], v.me("plain"))

    @check("provider: create_asset for a source behind OAuth2 is refused by name")
    def _():
        manage(PROVIDER, "POST", "/v3/secrets", {"@context": {"@vocab": EDC}, "@id": v.me("secret"), "@type": "Secret", "value": "quiet"})
        grant = {"tokenUrl": v.source.address + "/token", "clientId": "me", "clientSecretKey": v.me("secret"), "scope": "read"}
        refused(ValueError, v.provider.create_asset, v.me("oauth"), v.source.address, oauth2_config=grant)
        assert "oauth2:tokenUrl" in checks.answer.text, checks.answer.text

    @check("provider: create_asset twice is an error of the client's own")
    def _():
        error = refused(ValueError, v.provider.create_asset, v.rows, v.source.address)
        assert "409" in str(error), error

    @check("provider: create_policy with a permission as an object and as a list")
    def _():
        same(v.provider.create_policy(v.usage, context=v.context(), permissions={"action": "use"})["@id"], v.usage)
        same(v.provider.create_policy(v.partner, context=v.context(), permissions=[v.rule()])["@id"], v.partner)

    @check("provider: create_policy without any rule")
    def _():
        same(v.provider.create_policy(v.access)["@id"], v.access)

    @check("provider: create_contract")
    def _():
        for id in (v.rows, v.marked):
            made = v.provider.create_contract(id, usage_policy_id=v.usage, access_policy_id=v.access, asset_id=id)
            same(made["@id"], id)
        v.provider.create_asset(v.bound, v.source.address)
        v.provider.create_contract(v.bound, usage_policy_id=v.partner, access_policy_id=v.access, asset_id=v.bound)

    @check("provider: the three controllers of the service")
    def _():
        same(ok(v.provider.contract_definitions.get_by_id(v.rows))["contractPolicyId"], v.usage)
        same(ok(v.provider.policies.get_by_id(v.usage))["@id"], v.usage)
        assert v.rows in listed(ok(v.provider.assets.query(v.query("id", v.rows))))

    @check("connector service: consumer, provider and agreements in one, with a trace")
    def _():
        service = ServiceFactory.get_connector_service(v.version, PROVIDER["management"], "", {"X-Api-Key": key(PROVIDER)},
                                                       verbose=False, trace=True)
        ok(service.provider.assets.get_by_id(v.rows))
        ok(service.consumer.edrs.query(v.query("assetId", v.rows)))
        assert len(json.loads(service.get_trace_json())) >= 1


def crud(v):
    check = v.check

    @check("controller of assets: create, get_by_id, query, get_all without a body, update and delete")
    def _():
        assets, id = v.offering[ControllerType.ASSET], v.me("made")

        def model(**properties):
            return ModelFactory.get_asset_model(v.version, id, {"@type": "DataAddress", "type": "HttpData", "baseUrl": v.source.address},
                                                properties=properties)
        same(ok(assets.create(model(name="Made")))["@id"], id)
        same(has(ok(assets.get_by_id(id)), "@id", "@type", "properties", "dataAddress")["properties"]["name"], "Made")
        same(listed(ok(assets.query(v.query("name", "Made", limit=5)))), [id])
        assert isinstance(ok(assets.get_all()), list)
        assert ok(assets.update(model(name="Changed")), 204) is None
        same(ok(assets.get_by_id(id))["properties"]["name"], "Changed")
        gone(assets.create(model()), 409)
        ok(assets.delete(id), 204)
        gone(assets.delete(id))
        gone(assets.get_by_id(id))

    @check("controller of policies: create, get_by_id, query, get_all without a body and delete")
    def _():
        policies, id = v.offering[ControllerType.POLICY], v.me("made")
        model = ModelFactory.get_policy_model(v.version, id, context=v.context(), permissions=[v.rule()])
        same(ok(policies.create(model))["@id"], id)
        found = has(ok(policies.get_by_id(id)), "@id", "@type", "policy")
        assert here in json.dumps(found["policy"]), found
        same(listed(ok(policies.query(v.query("id", id)))), [id])
        assert isinstance(ok(policies.get_all()), list)
        gone(policies.create(model), 409)
        ok(policies.delete(id), 204)
        gone(policies.get_by_id(id))

    @check("controller of contract definitions: create, get_by_id, query, get_all without a body, update and delete")
    def _():
        definitions, id = v.offering[ControllerType.CONTRACT_DEFINITION], v.me("made")

        def model(asset):
            return ModelFactory.get_contract_definition_model(v.version, id, v.access, v.usage, assets_selector=v.only(asset))
        same(ok(definitions.create(model(v.me("elsewhere"))))["@id"], id)
        has(ok(definitions.get_by_id(id)), "@id", "@type", "accessPolicyId", "contractPolicyId", "assetsSelector")
        same(listed(ok(definitions.query(v.query("id", id)))), [id])
        assert isinstance(ok(definitions.get_all()), list)
        assert ok(definitions.update(model(v.me("nowhere"))), 204) is None
        assert v.me("nowhere") in json.dumps(ok(definitions.get_by_id(id)))
        gone(definitions.create(model(v.rows)), 409)
        ok(definitions.delete(id), 204)
        gone(definitions.get_by_id(id))

    @check("controller of the catalog: get_catalog")
    def _():
        model = ModelFactory.get_catalog_model(v.version, address, there, queryspec={
            "@type": "QuerySpec", "filterExpression": v.only(v.rows)})
        same(shown(ok(v.asking[ControllerType.CATALOG].get_catalog(model))), [v.rows])


def look(v):
    check, consumer = v.check, v.consumer

    @check("consumer: get_catalog with an empty query and scopes, without @vocab")
    def _():
        found = consumer.get_catalog(there, address)
        assert {v.rows, v.marked} <= set(shown(found)), found
        same(shown(consumer.get_catalog(request=consumer.get_catalog_request_with_filter(there, address, v.only(v.rows)))), [v.rows])

    @check("consumer: get_catalog_with_filter, by asset id and by the type of Dublin Core")
    def _():
        same(shown(consumer.get_catalog_with_filter(there, address, v.only(v.marked))), [v.marked])
        same(shown(consumer.get_catalog_by_asset_id(there, address, v.rows)), [v.rows])
        found = shown(consumer.get_catalog_by_dct_type(there, address, TYPE))
        assert v.marked in found and v.rows not in found, found
        note = [consumer.get_filter_expression(EDC + "note", v.me("note"))]
        same(shown(consumer.get_catalog_with_filter(there, address, note)), [v.marked])

    @check("consumer: several catalogs at once")
    def _():
        for found in (consumer.get_catalogs_by_dct_type(there, [address], TYPE),
                      consumer.get_catalogs_with_filter(there, [address], v.only(v.marked))):
            assert v.marked in shown(has(found, address)[address]), found
        into = {}
        consumer.get_catalog_with_filter_parallel(there, address, v.only(v.marked), into)
        same(shown(into[address]), [v.marked])

    @check("consumer: catalogs by BPN" + ("" if v.version == "jupiter" else ", found by connector discovery"))
    def _():
        same(shown(consumer.get_catalog_with_bpnl(there, address, v.only(v.rows))), [v.rows])
        assert v.rows in shown(consumer.get_catalog_with_bpnl(there, address))
        same(shown(consumer.get_catalog_by_asset_id_with_bpnl(there, address, v.rows)), [v.rows])
        assert v.marked in shown(consumer.get_catalog_by_dct_type_with_bpnl(there, address, TYPE))
        for found in (consumer.get_catalogs_with_filter_with_bpnl(there, [address], v.only(v.marked)),
                      consumer.get_catalogs_by_dct_type_with_bpnl(there, [address], TYPE),
                      consumer.get_catalogs_with_filter_with_bpnl_parallel(there, [address], v.only(v.marked)),
                      consumer.get_catalogs_by_dct_type_with_bpnl_parallel(there, [address], TYPE)):
            assert v.marked in shown(has(found, address)[address]), found
        into = {}
        consumer.get_catalog_with_filter_parallel_with_bpnl(there, address, v.only(v.marked), into)
        same(shown(into[address]), [v.marked])

    @check("consumer: assets_exists, which wants an empty list of datasets where there are none")
    def _():
        same(consumer.assets_exists(there, address, v.only(v.rows)), True)
        same(consumer.assets_exists(there, address, v.only(v.me("none"))), False)

    @check("consumer: the offer is one that its lists of allowed policies match")
    def _():
        catalog = consumer.get_catalog_by_asset_id(there, address, v.rows)
        asset, offer = DspTools.filter_assets_and_policies(catalog, None)[0]
        same(asset, v.rows)
        v.keep(offer=offer)
        # Beside @id and @type only rules: a target or an assigner would match no list.
        rules = {name.removeprefix("odrl:") for name in offer if not name.startswith("@")}
        assert rules <= {"permission", "prohibition", "obligation"}, offer
        # As the client's documentation writes such a list; without prefixes, if the catalog is without them.
        allowed = {"odrl:permission": {"odrl:action": {"@id": "odrl:use"}}, "odrl:prohibition": [], "odrl:obligation": []}
        if "permission" in offer:
            allowed = {"permission": {"action": "use"}}
        same(len(DspTools.filter_assets_and_policies(catalog, [allowed])), 1)
        v.keep(allowed=allowed)

    @check("consumer: the offer with constraints is one that its lists of allowed policies match")
    def _():
        catalog = consumer.get_catalog_by_asset_id(there, address, v.bound)
        _, offer = DspTools.filter_assets_and_policies(catalog, None)[0]
        v.keep(bound=offer)
        text = json.dumps(offer)
        assert here in text and "BusinessPartnerNumber" in text, offer
        allowed = {name: value for name, value in offer.items() if not name.startswith("@")}
        if v.version == "jupiter":
            constraint = has(offer["odrl:permission"], "odrl:action", "odrl:constraint")["odrl:constraint"]
            # As the client's documentation writes such a list; only the name of the operand is the catalog's.
            allowed["odrl:permission"] = {"odrl:action": {"@id": "odrl:use"}, "odrl:constraint": {
                "odrl:leftOperand": has(constraint, "odrl:leftOperand")["odrl:leftOperand"], "odrl:operator": {"@id": "odrl:eq"},
                "odrl:rightOperand": here}}
        same(len(DspTools.filter_assets_and_policies(catalog, [allowed])), 1)
        other = json.loads(json.dumps(allowed).replace(here, "BPNL000000000000"))
        refused(Exception, DspTools.filter_assets_and_policies, catalog, [other])


def negotiate(v):
    check, consumer = v.check, v.consumer

    @check("consumer: start_edr_negotiation, and its state and agreement")
    def _():
        begun = consumer.start_edr_negotiation(there, address, v.rows, v.need("offer"))
        assert begun, "POST edrs was not answered with 200 and an @id"
        agreement = consumer._poll_negotiation_state(begun, address, 20, 0.2)
        v.keep(negotiation=begun, agreement=agreement)

    @check("consumer: get_transfer_process by the agreement, and its STARTED state")
    def _():
        found = until(lambda: consumer.get_transfer_process(v.need("agreement")), lambda one: one and one["state"] == "STARTED")
        has(found, "@id", "state")
        v.keep(transfer=found["@id"])

    @check("consumer: get_edr_entry by the negotiation")
    def _():
        found = until(lambda: consumer.get_edr_entry(v.need("negotiation")), bool)
        has(found, "@id", "@type", "@context", "providerId", "assetId", "agreementId", "transferProcessId", "createdAt",
            "contractNegotiationId")
        same((found["transferProcessId"], found["assetId"], found["agreementId"]), (v.need("transfer"), v.rows, v.need("agreement")))
        consumer.connection_manager.add_connection(there, address, "a", "b", found)

    @check("consumer: get_edr and get_endpoint_with_token, and the data are read")
    def _():
        has(consumer.get_edr(v.need("transfer")), "endpoint", "authorization")
        endpoint, token = consumer.get_endpoint_with_token(v.need("transfer"))
        answer = requests.get(endpoint, headers=consumer.get_data_plane_headers(token))
        same((answer.status_code, answer.content), (200, DATA))

    @check("consumer: negotiate_and_transfer with a list of allowed policies")
    def _():
        found = consumer.negotiate_and_transfer(there, address, v.only(v.rows), policies=[v.need("allowed")], max_wait=20,
                                                protocol=v.protocol)
        has(found, "transferProcessId")

    @check("consumer: get_transfer_id keeps what it has")
    def _():
        first = consumer.get_transfer_id(there, address, v.only(v.rows), policies=[v.need("allowed")], max_wait=20)
        same(consumer.get_transfer_id(there, address, v.only(v.rows), policies=[v.need("allowed")], max_wait=20), first)


def read(v):
    check, consumer = v.check, v.consumer
    wait = {"max_wait": 20}

    @check("consumer: do_dsp and do_dsp_by_asset_id")
    def _():
        for endpoint, token in (consumer.do_dsp(there, address, v.only(v.rows), None, **wait),
                                consumer.do_dsp_by_asset_id(there, address, v.rows)):
            assert endpoint.startswith("http") and token, (endpoint, token)

    @check("consumer: do_dsp_by_dct_type")
    def _():
        endpoint, token = consumer.do_dsp_by_dct_type(there, address, TYPE)
        assert endpoint and token

    @check("consumer: do_get of the data, with the client's own path /")
    def _():
        answer = consumer.do_get(there, address, v.only(v.rows), policies=None, **wait)
        same((answer.status_code, answer.content), (200, DATA))
        same(v.source.asked[-1]["path"].rstrip("/"), "")

    @check("consumer: do_get with a path, a query and the asset's own header")
    def _():
        answer = consumer.do_get(there, address, v.only(v.marked), path="/detail/1", params={"depth": "2"}, policies=None, **wait)
        same((answer.status_code, answer.content), (200, DATA))
        asked = v.source.asked[-1]
        same((asked["method"], asked["path"], asked["query"], asked["headers"].get("x-marker")),
             ("GET", "/base/detail/1", "depth=2", "marked"))
        assert "authorization" not in asked["headers"], "the reader's token reached the source"

    @check("consumer: do_get_by_asset_id")
    def _():
        answer = consumer.do_get_by_asset_id(there, address, v.rows, **wait)
        same((answer.status_code, answer.content), (200, DATA))

    @check("consumer: do_get under a constraint on the BusinessPartnerNumber, the reader's DID")
    def _():
        answer = consumer.do_get(there, address, v.only(v.bound), path="", policies=None, **wait)
        same((answer.status_code, answer.content), (200, DATA))

    @check("consumer: do_get_by_dct_type")
    def _():
        same(consumer.do_get_by_dct_type(there, address, TYPE, policies=None, **wait).status_code, 200)

    @check("consumer: do_post and do_post_by_asset_id; method, body and type reach the source")
    def _():
        body = {"question": 1}
        for answer in (consumer.do_post(there, address, v.only(v.marked), path="/ask", json=body, policies=None, **wait),
                       consumer.do_post_by_asset_id(there, address, v.marked, json=body, path="/ask", **wait)):
            same((answer.status_code, answer.json()), (200, body))
            asked = v.source.asked[-1]
            same((asked["method"], asked["path"], asked["headers"].get("content-type")), ("POST", "/base/ask", "application/json"))

    @check("consumer: do_post_by_dct_type")
    def _():
        same(consumer.do_post_by_dct_type(there, address, TYPE, json={"question": 1}, **wait).status_code, 200)

    @check("consumer: do_put")
    def _():
        body = {"answer": 2}
        answer = consumer.do_put(there, address, v.only(v.marked), path="/set", json=body, policies=None, **wait)
        same((answer.status_code, answer.json()), (200, body))
        same((v.source.asked[-1]["method"], v.source.asked[-1]["path"]), ("PUT", "/base/set"))

    found = "" if v.version == "jupiter" else ", found by connector discovery"

    @check("consumer: do_dsp_with_bpnl and do_get_with_bpnl" + found)
    def _():
        endpoint, token = consumer.do_dsp_with_bpnl(there, address, v.only(v.rows), policies=None, **wait)
        assert endpoint.startswith("http") and token, (endpoint, token)
        answer = consumer.do_get_with_bpnl(there, address, v.only(v.rows), policies=None, **wait)
        same((answer.status_code, answer.content), (200, DATA))

    @check("consumer: do_post_with_bpnl" + found)
    def _():
        body = {"question": 1}
        answer = consumer.do_post_with_bpnl(there, address, v.only(v.marked), path="/ask", json=body, policies=None, **wait)
        same((answer.status_code, answer.json()), (200, body))

    @check("consumer: do_put_with_bpnl" + found)
    def _():
        body = {"answer": 2}
        answer = consumer.do_put_with_bpnl(there, address, v.only(v.marked), path="/set", json=body, policies=None, **wait)
        same((answer.status_code, answer.json()), (200, body))

    @check("consumer: an asset whose method the reader does not choose is not written to")
    def _():
        v.provider.create_contract(v.me("plain"), usage_policy_id=v.usage, access_policy_id=v.access, asset_id=v.me("plain"))
        answer = consumer.do_post(there, address, v.only(v.me("plain")), json={}, policies=None, **wait)
        assert answer.status_code >= 400 or v.source.asked[-1]["method"] == "GET", answer.status_code


def states(v):
    check = v.check

    @check("controller of negotiations: get_by_id, state, agreement, query and get_all without a body")
    def _():
        negotiations = v.asking[ControllerType.CONTRACT_NEGOTIATION]
        found = has(ok(negotiations.get_by_id(v.need("negotiation"))), "@id", "@type", "state", "type", "protocol", "counterPartyId",
                    "counterPartyAddress", "contractAgreementId", "createdAt")
        same((found["state"], found["type"], found["contractAgreementId"]), ("FINALIZED", "CONSUMER", v.need("agreement")))
        same(ok(negotiations.get_state_by_id(v.need("negotiation")))["state"], "FINALIZED")
        same(ok(negotiations.get_agreement_by_negotiation_id(v.need("negotiation")))["@id"], v.need("agreement"))
        same(listed(ok(negotiations.query(v.query("id", v.need("negotiation"))))), [v.need("negotiation")])
        assert isinstance(ok(negotiations.get_all()), list)
        gone(negotiations.get_by_id(v.me("none")))

    def request():
        return ModelFactory.get_contract_negotiation_model(
            v.version, address, v.need("offer")["@id"], v.rows, there, offer_policy=v.need("offer"), protocol=v.protocol,
            context={"@vocab": EDC, "odrl": "http://www.w3.org/ns/odrl/2/"})

    @check("controller of negotiations: create")
    def _():
        negotiations = v.asking[ControllerType.CONTRACT_NEGOTIATION]
        begun = ok(negotiations.create(request()))["@id"]
        until(lambda: ok(negotiations.get_state_by_id(begun))["state"], lambda state: state == "FINALIZED")

    @check("controller of negotiations: terminate_by_id of one whose provider does not answer")
    def _():
        negotiations, model = v.asking[ControllerType.CONTRACT_NEGOTIATION], request()
        model.counter_party_address = "https://localhost:9/dsp/2025-1"
        begun = ok(negotiations.create(model))["@id"]
        words = Words(body={"@context": {"@vocab": EDC}, "@type": "TerminateNegotiation", "@id": begun, "reason": "enough"})
        assert negotiations.terminate_by_id(begun, words).status_code in (200, 204)
        until(lambda: ok(negotiations.get_state_by_id(begun))["state"], lambda state: state in ("TERMINATING", "TERMINATED"))

    @check("controller of edrs: query, get_all without a body and get_data_address")
    def _():
        edrs = v.asking[ControllerType.EDR]
        same([one["transferProcessId"] for one in ok(edrs.query(v.query("transferProcessId", v.need("transfer"))))], [v.need("transfer")])
        assert isinstance(ok(edrs.get_all()), list)
        has(ok(edrs.get_data_address(v.need("transfer"))), "endpoint", "authorization")
        gone(edrs.get_data_address(v.me("none")))

    @check("controller of edrs: refresh gives a data address")
    def _():
        found = has(ok(v.asking[ControllerType.EDR].refresh(v.need("transfer"))), "endpoint", "authorization")
        same(requests.get(found["endpoint"], headers={"Authorization": found["authorization"]}).content, DATA)

    @check("controller of edrs: delete")
    def _():
        edrs = v.asking[ControllerType.EDR]
        ok(edrs.delete(v.need("transfer")), 204)
        gone(edrs.get_data_address(v.need("transfer")))

    @check("controller of transfers: create, get_by_id, state, query and get_all without a body")
    def _():
        transfers = v.asking[ControllerType.TRANSFER_PROCESS]
        model = ModelFactory.get_transfer_process_model(v.version, address, "HttpData-PULL", v.need("agreement"), {"type": "HttpProxy"},
                                                        private_properties={"note": "mine"})
        begun = ok(transfers.create(model))["@id"]
        until(lambda: ok(transfers.get_state_by_id(begun))["state"], lambda state: state == "STARTED")
        found = has(ok(transfers.get_by_id(begun)), "@id", "@type", "state", "type", "contractId", "assetId", "transferType")
        same((found["type"], found["contractId"], found["assetId"]), ("CONSUMER", v.need("agreement"), v.rows))
        same(listed(ok(transfers.query(v.query("id", begun)))), [begun])
        assert isinstance(ok(transfers.get_all()), list)
        gone(transfers.get_by_id(v.me("none")))
        v.keep(moved=begun)

    if v.version == "saturn":
        @check("controller of transfers: suspend_by_id and resume_by_id")
        def _():
            transfers = v.asking[ControllerType.TRANSFER_PROCESS]
            words = {"@context": {"@vocab": EDC}, "@type": "SuspendTransfer", "reason": "a pause"}
            ok(transfers.suspend_by_id(v.need("moved"), data=json.dumps(words)), 204)
            until(lambda: ok(transfers.get_state_by_id(v.need("moved")))["state"], lambda state: state == "SUSPENDED")
            ok(transfers.resume_by_id(v.need("moved")), 204)
            until(lambda: ok(transfers.get_state_by_id(v.need("moved")))["state"], lambda state: state == "STARTED")

    @check("controller of transfers: terminate_by_id and deprovision_by_id")
    def _():
        transfers = v.asking[ControllerType.TRANSFER_PROCESS]
        words = Words(body={"@context": {"@vocab": EDC}, "@type": "TerminateTransfer", "reason": "enough"})
        ok(transfers.terminate_by_id(v.need("moved"), words), 204)
        until(lambda: ok(transfers.get_state_by_id(v.need("moved")))["state"], lambda state: state == "TERMINATED")
        ok(transfers.deprovision_by_id(v.need("moved")), 204)

    @check("controller of agreements: get_by_id, query (sorted by createdAt, as all queries) and get_all without a body")
    def _():
        # Saturn's controller leaves the version out of its own address, but not of the negotiation's: /v3//contractagreements.
        agreements = v.asking[ControllerType.CONTRACT_AGREEMENT]
        plain = agreements if v.version == "jupiter" else v.controllers(CONSUMER, "/v3")[ControllerType.CONTRACT_AGREEMENT]
        found = has(ok(plain.get_by_id(v.need("agreement"))), "@id", "@type", "assetId", "providerId", "consumerId",
                    "contractSigningDate", "policy")
        same((found["assetId"], found["providerId"], found["consumerId"]), (v.rows, there, here))
        same(listed(ok(plain.query(v.query("id", v.need("agreement"))))), [v.need("agreement")])
        assert isinstance(ok(plain.get_all()), list)

    @check("controller of agreements: get_negotiation_by_id" + ("" if v.version == "jupiter" else " (with two slashes)"))
    def _():
        agreements = v.asking[ControllerType.CONTRACT_AGREEMENT]
        same(ok(agreements.get_negotiation_by_id(v.need("agreement")))["@id"], v.need("negotiation"))


def saturn(v):
    check = v.check

    @check("consumer: connector discovery tells id, address and protocol")
    def _():
        found = v.consumer.discover_connector_protocol(there, address)
        assert isinstance(found, dict), found
        got_address, got_id, protocol = v.consumer.get_discovery_info(there, address)
        assert got_address.startswith(address.removesuffix("/2025-1")), got_address
        same((got_id, protocol), (there, v.protocol))

    @check("consumer: do_get_by_dct_type_with_bpnl")
    def _():
        same(v.consumer.do_get_by_dct_type_with_bpnl(there, address, TYPE, max_wait=20).status_code, 200)

    @check("consumer: do_put_by_dct_type_with_bpnl")
    def _():
        same(v.consumer.do_put_by_dct_type_with_bpnl(there, address, TYPE, json={"answer": 2}, max_wait=20).status_code, 200)

    @check("controller of connector discovery")
    def _():
        model = ModelFactory.get_connector_discovery_model(v.version, there, address)
        ok(v.asking[ControllerType.CONNECTOR_DISCOVERY].get_discover(model))

    @check("controller of protocol versions")
    def _():
        found = ok(v.asking[ControllerType.PROTOCOL_VERSION].get_discover(ModelFactory.get_catalog_model(v.version, address, there)))
        assert "2025-1" in json.dumps(found), found

    @check("controller of the catalog: get_by_dataset")
    def _():
        model = saturn_models.CatalogDatasetRequestModel(oid=v.rows, counter_party_address=address, counter_party_id=there, protocol=v.protocol)
        same(ok(v.asking[ControllerType.CATALOG].get_by_dataset(model))["@id"], v.rows)

    @check("controller of policies: evaluation_plan and validate_policy")
    def _():
        policies = v.offering[ControllerType.POLICY]
        plan = ok(policies.evaluation_plan(v.usage, saturn_models.EvaluationPolicyModel(policy_scope="contract.negotiation")))
        has(plan, "@type", "permissionSteps")
        same(ok(policies.validate_policy(v.usage))["isValid"], True)
        gone(policies.validate_policy(v.me("none")))

    for kind in ("get_all_v3", "get_all_v4alpha"):
        @check(f"controller of data planes: {kind} (with two slashes)")
        def _(kind=kind):
            found = ok(getattr(v.offering[ControllerType.DATAPLANE_SELECTOR], kind)())
            assert isinstance(found, list) and found and has(found[0], "@id", "url", "allowedSourceTypes"), found

    @check("controller of observability: health, liveness, readiness and startup")
    def _():
        watch = v.offering[ControllerType.APPLICATION_OBSERVABILITY]
        for answer in (watch.get_health(), watch.get_liveness(), watch.get_readiness(), watch.get_startup()):
            same(has(ok(answer), "isSystemHealthy")["isSystemHealthy"], True)

    @check("controller of agreements: the negotiation of one in version 4alpha (with two slashes)")
    def _():
        agreements = v.asking[ControllerType.CONTRACT_AGREEMENT]
        same(ok(agreements.get_negotiation_by_id_v4alpha(v.need("agreement")))["@id"], v.need("negotiation"))

    @check("controller of agreements: one is retired and listed, and stays so (with two slashes)")
    def _():
        agreements = v.offering[ControllerType.CONTRACT_AGREEMENT]
        retired = saturn_models.ContractAgreementRetirementModel(agreement_id=v.need("agreement"), reason="no longer")
        ok(agreements.agreement_retirement(retired), 204)
        found = ok(agreements.get_all_retired_agreements())
        assert isinstance(found, list) and v.need("agreement") in json.dumps(found) and "no longer" in json.dumps(found), found
        transfers = v.asking[ControllerType.TRANSFER_PROCESS]
        begun = transfers.create(ModelFactory.get_transfer_process_model(
            v.version, address, "HttpData-PULL", v.need("agreement"), {"type": "HttpProxy"}))
        # The other side was told of the end, or learns of it now.
        if begun.status_code == 409:
            assert "no longer" in begun.text, begun.text
        else:
            begun = ok(begun)["@id"]
            until(lambda: ok(transfers.get_state_by_id(begun))["state"], lambda state: state == "TERMINATED")
        # Both sides know that it is over.
        same(agreements.delete_retired_agreement_by_id(v.need("agreement")).status_code, 409)
        gone(agreements.delete_retired_agreement_by_id(v.me("none")))
        assert v.need("agreement") in json.dumps(ok(agreements.get_all_retired_agreements()))


for version in (Version("jupiter"), Version("saturn")):
    provide(version)
    crud(version)
    look(version)
    negotiate(version)
    read(version)
    states(version)
    if version.version == "saturn":
        saturn(version)

    @checks.finally_
    def _(v=version):
        for word in ("rows", "marked", "bound", "oauth", "plain", "made"):
            manage(PROVIDER, "DELETE", f"/v3/contractdefinitions/{v.me(word)}")

checks.leave_out("provider: create_asset with a semantic_id", "build_properties uses a name that it does not have (NameError), whatever the server")
checks.leave_out("controller of policies: update", "it puts to /v3/policydefinitions without an id; EDC has only PUT /v3/policydefinitions/{id}")
checks.leave_out("saturn: controller of agreements: get_all_v4alpha, get_by_id_v4alpha", "they give `url` twice (TypeError), whatever the server")
checks.leave_out("saturn: controller of agreements: get_by_id and get_all below dma_path",
                 "they leave the version out; checked with dma_path /v3 instead")
checks.leave_out("jupiter: policies=None with verbose=True", "it asks for the length of a UUID (TypeError), whatever the server")
checks.leave_out("jupiter: get_all_dma_controllers_for_version", "it names controllers that jupiter does not have (ValueError)")
checks.leave_out("discovery finder, BPN and connector discovery services, OAuth2 and database managers",
                 "clients of other services than a connector")
checks.leave_out("industry (AAS, notifications) and extensions", "above the connector's services, or no clients of it")

checks.run()
