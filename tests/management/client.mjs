// EDC's npm client, unchanged, over its whole surface between two nodes: what it calls, and what its own getters read.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { after, test } from "node:test";
import client from "@think-it-labs/edc-connector-client";

const [provider, consumer] = JSON.parse(process.env.NODES);
const installed = client.EdcConnectorClient.version();
const version = process.env.CLIENT_VERSION ?? installed;
const EDC = "https://w3id.org/edc/v0.0.1/ns/";
const ODRL = "http://www.w3.org/ns/odrl/2/";
const CONTROLLERS = [
    "assets", "catalog", "contractAgreements", "contractDefinitions", "contractNegotiations", "dataplanes", "edrs",
    "policyDefinitions", "secrets", "transferProcesses",
];

const id = (name) => `v${version}-${name}`;
const key = (node) => readFileSync(`${node.folder}/keys/management.key`, "utf8").trim();
const addresses = (node) => ({ default: node.management, management: node.management, federatedCatalogUrl: node.management });
const called = new Set();

// Notes each method that is called.
function watched(name, controller) {
    return new Proxy(controller, {
        get(target, method) {
            called.add(`${name}.${method}`);
            return target[method].bind(target);
        },
    });
}

function connect(node, token = key(node)) {
    const built = new client.EdcConnectorClient.Builder()
        .apiToken(token)
        .managementUrl(node.management)
        .defaultUrl(node.management)
        .federatedCatalogUrl(node.management)
        .build();
    const { management } = built;
    return {
        ...Object.fromEntries(CONTROLLERS.map((name) => [name, watched(name, management[name])])),
        federatedCatalog: watched("federatedCatalog", built.federatedCatalog),
        observability: watched("observability", built.observability),
    };
}

const offering = connect(provider);
const asking = connect(consumer);
const hasPublic = "public" in client.EdcConnectorClient.prototype;

// A hanging node is a failed check, not a hanging suite.
const check = (name, run, skip = false) => test(name, { timeout: 30_000, skip }, run);

function once(make) {
    let made;
    return () => (made ??= make());
}

// Looks again until `done`; the client has no event stream, so its users poll.
async function until(look, done) {
    let found;
    for (let turn = 0; turn < 400; turn++) {
        found = await look();
        if (done(found)) return found;
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.fail(`it did not get there: ${JSON.stringify(found)}`);
}

function refused(call, type) {
    return assert.rejects(call, (error) => {
        assert.ok(error instanceof client.EdcConnectorClientError, `${error}`);
        assert.equal(error.type, type, error.message);
        return true;
    });
}

function recent(millis) {
    assert.equal(typeof millis, "number");
    assert.ok(Math.abs(Date.now() - millis) < 600_000, `${millis} is not now`);
}

const where = (operandLeft, operator, operandRight) => ({ operandLeft, operator, operandRight });
const only = (...filterExpression) => ({ filterExpression });
const ids = (found) => found.map((one) => one.id);
const own = (found) => ids(found).filter((one) => one.startsWith(id(""))).sort();
const first = (document, iri) => document[iri]?.[0]?.["@id"] ?? document[iri]?.[0]?.["@value"];
const policy = (rules = {}) => new client.PolicyBuilder().type("Set").raw(rules).build();
const rules = (document) => Object.assign(new client.Policy(), document);
const open = policy({ permission: [{ action: "use" }] });
const file = { type: "File", path: provider.file };
const asset = (name, more = {}) => ({
    "@id": id(name), properties: { name: id(name), contenttype: "text/csv" }, dataAddress: file, ...more,
});
const definition = (name, assetsSelector, more = {}) => ({
    "@id": id(name), accessPolicyId: id("open"), contractPolicyId: id("open"), assetsSelector, ...more,
});

const NAMES = ["cells", "columns", "rows"];
const ALL = NAMES.map(id);

const published = once(async () => {
    await offering.policyDefinitions.create({ "@id": id("open"), policy: open });
    for (const name of NAMES) {
        // Requests for the cells wait for a person, so that there is a negotiation to end.
        const more = name === "cells" ? { "urn:concordat:automation": "manual" } : {};
        await offering.assets.create(asset(name, { privateProperties: { shelf: `shelf of ${name}` } }));
        await offering.contractDefinitions.create(definition(name, [where(`${EDC}id`, "=", id(name))], more));
    }
});

async function look(querySpec) {
    await published();
    return asking.catalog.request({ counterPartyAddress: provider.protocol, counterPartyId: provider.did, querySpec });
}

const listed = async (name) => (await look()).datasets.find((one) => one.id === id(name));

async function negotiate(name) {
    const dataset = await listed(name);
    const [offer] = dataset.offers;
    const terms = new client.PolicyBuilder().raw({ ...offer, assigner: provider.did, target: dataset.id }).build();
    return asking.contractNegotiations.initiate({
        counterPartyAddress: provider.protocol, counterPartyId: provider.did, policy: terms,
    });
}

async function agree(name) {
    const begun = await negotiate(name);
    recent(begun.createdAt);
    const over = (one) => ["FINALIZED", "TERMINATED"].includes(one.state);
    const negotiation = await until(() => asking.contractNegotiations.get(begun.id), over);
    assert.equal(negotiation.state, "FINALIZED", negotiation.mandatoryValue("edc", "errorDetail"));
    return negotiation;
}

const agreed = once(() => agree("rows"));

const waiting = once(async () => {
    await agreed();
    const begun = await negotiate("cells");
    return until(() => asking.contractNegotiations.get(begun.id), (one) => one.state === "REQUESTED");
});

const transfer = (contractId, more = {}) => asking.transferProcesses.initiate({
    counterPartyAddress: provider.protocol, counterPartyId: provider.did, contractId, transferType: "HttpData-PULL",
    dataDestination: { type: "HttpProxy" }, privateProperties: { purpose: "statistics" }, ...more,
});

async function start(contractId) {
    const begun = await transfer(contractId);
    recent(begun.createdAt);
    const settled = (one) => ["STARTED", "TERMINATED"].includes(one.state);
    const process = await until(() => asking.transferProcesses.get(begun.id), settled);
    assert.equal(process.state, "STARTED", process.errorDetail);
    return process;
}

const started = once(async () => start((await agreed()).contractAgreementId));

async function reading(process) {
    const address = await asking.edrs.dataAddress(process.id);
    const token = address.mandatoryValue("edc", "authorization");
    const headers = { Authorization: `Bearer ${token}` };
    return { address, endpoint: address.mandatoryValue("edc", "endpoint"), headers, token };
}

const listen = (server) => new Promise((resolve) => {
    server.unref().listen(0, "127.0.0.1", () => resolve(`localhost:${server.address().port}`));
});

// Says what it was asked.
const upstream = once(() => listen(http.createServer((request, response) => {
    response.writeHead(200, { connection: "close" }).end(`${request.url} ${request.headers["x-upstream-key"] ?? "no key"}`);
})));

const sunk = [];
const sink = once(() => {
    const read = (name) => readFileSync(`${consumer.folder}/tls/${name}.pem`);
    return listen(https.createServer({ key: read("key"), cert: read("certificate") }, async (request, response) => {
        sunk.push([request.url, (await request.toArray()).join("")]);
        response.writeHead(200, { connection: "close" }).end();
    }));
});

const rows = readFileSync(provider.file, "utf8");

check("the installed package is the version that is tested", () => {
    assert.equal(installed, version);
});

for (const probe of ["checkHealth", "checkLiveness", "checkReadiness", "checkStartup"]) {
    check(`observability: ${probe} says that the node is well`, async () => {
        const health = await offering.observability[probe]();
        assert.equal(health.isSystemHealthy, true);
        assert.ok(health.componentResults.every((one) => one.isHealthy === true));
    });
}

check("assets: create answers with the id and the time", async () => {
    const made = await offering.assets.create(asset("plain"));
    assert.equal(made.id, id("plain"));
    recent(made.createdAt);
});

check("assets: create gives an id where there is none", async () => {
    const made = await offering.assets.create({ ...asset("anonymous"), "@id": undefined });
    assert.ok(made.id);
    assert.equal((await offering.assets.get(made.id)).id, made.id);
    await offering.assets.delete(made.id);
});

check("assets: get reads properties under EDC's namespace", async () => {
    const { properties } = await offering.assets.get(id("plain"));
    assert.equal(properties.mandatoryValue("edc", "name"), id("plain"));
    assert.equal(properties.mandatoryValue("edc", "contenttype"), "text/csv");
});

check("assets: the id is among the properties", async () => {
    assert.equal((await offering.assets.get(id("plain"))).properties.mandatoryValue("edc", "id"), id("plain"));
});

check("assets: the type is EDC's", async () => {
    assert.deepEqual((await offering.assets.get(id("plain"))).types(), [`${EDC}Asset`]);
});

check("assets: get reads the data address", async () => {
    const { dataAddress } = await offering.assets.get(id("plain"));
    assert.equal(dataAddress.mandatoryValue("edc", "type"), "File");
    assert.equal(dataAddress.mandatoryValue("edc", "path"), provider.file);
});

check("assets: get reads private properties", async () => {
    await published();
    const { privateProperties } = await offering.assets.get(id("rows"));
    assert.equal(privateProperties.mandatoryValue("edc", "shelf"), "shelf of rows");
});

const CLASHING = { format: "csv", action: "read", dataset: "rows", operator: "city", target: "all" };

check("assets: properties named as terms of other vocabularies stay under EDC's namespace", async () => {
    await offering.assets.create(asset("clashing", { properties: CLASHING }));
    const { properties } = await offering.assets.get(id("clashing"));
    for (const [name, value] of Object.entries(CLASHING)) assert.equal(properties.mandatoryValue("edc", name), value, name);
});

check("assets: private properties named so stay there too", async () => {
    await offering.assets.create(asset("veiled", { privateProperties: CLASHING }));
    const { privateProperties } = await offering.assets.get(id("veiled"));
    for (const [name, value] of Object.entries(CLASHING)) {
        assert.equal(privateProperties.mandatoryValue("edc", name), value, name);
    }
});

check("assets: numbers, booleans and nested properties keep their kind", async () => {
    const properties = { count: 3, live: true, owner: { name: "city" } };
    await offering.assets.create(asset("kinds", { properties }));
    const read = (await offering.assets.get(id("kinds"))).properties;
    assert.equal(read.mandatoryValue("edc", "count"), 3);
    assert.equal(read.mandatoryValue("edc", "live"), true);
    assert.equal(read.nested("edc", "owner").mandatoryValue("edc", "name"), "city");
});

check("assets: update replaces the properties", async () => {
    const properties = { name: "renamed" };
    assert.equal(await offering.assets.update(asset("plain", { properties })), undefined);
    const read = (await offering.assets.get(id("plain"))).properties;
    assert.equal(read.mandatoryValue("edc", "name"), "renamed");
    assert.equal(read.optionalValue("edc", "contenttype"), undefined);
});

const HTTP = {
    type: "HttpData", baseUrl: "http://127.0.0.1:1/first", name: "first", path: "/rows", method: "GET", queryParams: "a=1",
    proxyPath: "true", proxyQueryParams: "false", authKey: "x-upstream-key", secretName: "first", "header:x-tenant": "city",
};

check("assets: an HttpData address is read as it was written", async () => {
    await offering.assets.create(asset("upstream", { dataAddress: HTTP }));
    const read = (await offering.assets.get(id("upstream"))).dataAddress;
    for (const [name, value] of Object.entries(HTTP)) {
        assert.equal(first(read, name.includes(":") ? name : `${EDC}${name}`), value, name);
    }
});

check("assets: update replaces the data address", async () => {
    const dataAddress = { type: "HttpData", baseUrl: "http://127.0.0.1:1/second" };
    await offering.assets.create(asset("moving"));
    assert.equal((await offering.assets.get(id("moving"))).dataAddress.mandatoryValue("edc", "path"), provider.file);
    assert.equal(await offering.assets.update(asset("moving", { dataAddress })), undefined);
    const read = (await offering.assets.get(id("moving"))).dataAddress;
    assert.equal(read.mandatoryValue("edc", "baseUrl"), dataAddress.baseUrl);
    assert.equal(read.optionalValue("edc", "path"), undefined);
});

check("assets: queryAll without a query finds them", async () => {
    await published();
    const found = ids(await offering.assets.queryAll());
    assert.ok(ALL.every((one) => found.includes(one)));
});

const FOUND = {
    "= finds one by its id": [where("id", "=", id("rows")), ["rows"]],
    "= finds one by the full name of its id": [where(`${EDC}id`, "=", id("rows")), ["rows"]],
    "= finds one by a property": [where(`${EDC}name`, "=", id("rows")), ["rows"]],
    "= finds nothing where there is nothing": [where("id", "=", id("none")), []],
    "in finds each of a list": [where("id", "in", [id("rows"), id("cells"), id("none")]), ["cells", "rows"]],
    "like finds by a pattern": [where("id", "like", id("c%s")), ["cells", "columns"]],
    "like finds by a pattern of a property": [where(`${EDC}name`, "like", id("%ow%")), ["rows"]],
    "= finds one by a private property": [where(`${EDC}shelf`, "=", "shelf of rows"), ["rows"]],
};

for (const [name, [criterion, expected]] of Object.entries(FOUND)) {
    check(`queries: ${name}`, async () => {
        await published();
        assert.deepEqual(own(await offering.assets.queryAll(only(criterion))), expected.map(id));
    });
}

check("queries: all comparisons must hold", async () => {
    await published();
    const query = only(where("id", "in", ALL), where(`${EDC}name`, "=", id("rows")));
    assert.deepEqual(ids(await offering.assets.queryAll(query)), [id("rows")]);
});

check("queries: sorted by a property, upwards and downwards", async () => {
    await published();
    const query = (sortOrder) => ({ ...only(where("id", "in", ALL)), sortField: `${EDC}name`, sortOrder });
    assert.deepEqual(ids(await offering.assets.queryAll(query("ASC"))), ALL);
    assert.deepEqual(ids(await offering.assets.queryAll(query("DESC"))), [...ALL].reverse());
});

check("queries: sorted by id, cut by limit and offset", async () => {
    await published();
    const query = { ...only(where("id", "in", ALL)), sortField: "id", sortOrder: "DESC" };
    assert.deepEqual(ids(await offering.assets.queryAll({ ...query, limit: 2 })), [id("rows"), id("columns")]);
    assert.deepEqual(ids(await offering.assets.queryAll({ ...query, limit: 2, offset: 2 })), [id("cells")]);
    assert.deepEqual(ids(await offering.assets.queryAll({ ...query, offset: 3 })), []);
});

const MALFORMED_QUERIES = {
    "an unknown operator": only(where("id", "resembles", "rows")),
    "a limit of zero": { limit: 0 },
    "a negative offset": { offset: -1 },
    "an unknown order": { sortField: "id", sortOrder: "SIDEWAYS" },
    "a comparison without operator": only({ operandLeft: "id", operandRight: "rows" }),
};

for (const [name, query] of Object.entries(MALFORMED_QUERIES)) {
    check(`queries: ${name} is a BadRequest`, () => refused(offering.assets.queryAll(query), "BadRequest"));
}

for (const name of CONTROLLERS.filter((one) => /^(contract|policy|transfer)/.test(one))) {
    check(`queries: an unknown operator is a BadRequest among ${name}`, () =>
        refused(offering[name].queryAll(only(where("id", "resembles", "x"))), "BadRequest"));
}

check("policyDefinitions: create and get agree on id and time", async () => {
    const made = await offering.policyDefinitions.create({ "@id": id("terms"), policy: open });
    assert.equal(made.id, id("terms"));
    recent(made.createdAt);
    const stored = await offering.policyDefinitions.get(id("terms"));
    assert.equal(stored.id, made.id);
    assert.equal(stored.createdAt, made.createdAt);
});

check("policyDefinitions: get reads the permission, and the absent rules as none", async () => {
    const terms = (await offering.policyDefinitions.get(id("terms"))).policy;
    assert.equal(terms.permissions.length, 1);
    assert.equal(first(terms.permissions[0], `${ODRL}action`), `${ODRL}use`);
    assert.deepEqual(terms.prohibitions, []);
    assert.deepEqual(terms.obligations, []);
    assert.deepEqual(terms.types(), [`${ODRL}Set`]);
});

check("policyDefinitions: an empty Set has three empty lists of rules", async () => {
    await offering.policyDefinitions.create({ "@id": id("empty"), policy: policy() });
    const terms = (await offering.policyDefinitions.get(id("empty"))).policy;
    assert.deepEqual([terms.permissions, terms.prohibitions, terms.obligations], [[], [], []]);
});

check("policyDefinitions: rules and constraints are read one by one", async () => {
    const compare = (leftOperand, rightOperand) => ({ leftOperand, operator: "eq", rightOperand });
    const either = { "@type": "LogicalConstraint", and: [compare("field2", "value"), compare("field3", "value")] };
    const full = policy({
        permission: [{ action: "use", constraint: [compare("field", "value"), either] }],
        prohibition: [{ action: "use", constraint: [compare("field", "value")] }],
        obligation: [{ action: "use", constraint: [compare("field", "value")] }],
    });
    await offering.policyDefinitions.create({ "@id": id("full"), policy: full });
    const terms = (await offering.policyDefinitions.get(id("full"))).policy;
    const [alone, together] = terms.permissions[0].array("odrl", "constraint");
    assert.equal(alone.array("odrl", "leftOperand")[0]["@id"].replace(EDC, ""), "field");
    assert.equal(alone.array("odrl", "operator")[0]["@id"], `${ODRL}eq`);
    assert.equal(alone.mandatoryValue("odrl", "rightOperand"), "value");
    assert.equal(together.array("odrl", "and").length, 2);
    assert.equal(terms.prohibitions[0].array("odrl", "constraint").length, 1);
    assert.equal(terms.obligations[0].array("odrl", "constraint").length, 1);
});

check("policyDefinitions: update(id, input) replaces the policy", async () => {
    const forbidding = policy({ prohibition: [{ action: "use" }] });
    assert.equal(await offering.policyDefinitions.update(id("terms"), { "@id": id("terms"), policy: forbidding }), undefined);
    const terms = (await offering.policyDefinitions.get(id("terms"))).policy;
    assert.deepEqual([terms.permissions.length, terms.prohibitions.length], [0, 1]);
});

check("policyDefinitions: queryAll finds all, and one", async () => {
    assert.ok(ids(await offering.policyDefinitions.queryAll()).includes(id("terms")));
    const [found, ...others] = await offering.policyDefinitions.queryAll(only(where("id", "=", id("terms"))));
    assert.deepEqual([found.id, others.length, found.policy.obligations], [id("terms"), 0, []]);
});

check("contractDefinitions: create answers with the id and the time", async () => {
    await published();
    const both = where(`${EDC}id`, "in", [id("plain"), id("kinds")]);
    const made = await offering.contractDefinitions.create(definition("bundle", [both]));
    assert.equal(made.id, id("bundle"));
    recent(made.createdAt);
});

check("contractDefinitions: get reads the policies", async () => {
    const found = await offering.contractDefinitions.get(id("bundle"));
    assert.deepEqual([found.accessPolicyId, found.contractPolicyId], [id("open"), id("open")]);
});

check("contractDefinitions: get reads when it was made", async () => {
    recent((await offering.contractDefinitions.get(id("bundle"))).mandatoryValue("edc", "createdAt"));
});

check("contractDefinitions: get reads the selector, its operator too", async () => {
    await published();
    const [criterion, ...others] = (await offering.contractDefinitions.get(id("rows"))).assetsSelector;
    assert.equal(others.length, 0);
    assert.equal(criterion.operandLeft, `${EDC}id`);
    assert.equal(criterion.operator, "=");
    assert.equal(criterion.operandRight, id("rows"));
});

check("contractDefinitions: get reads a selector with a list", async () => {
    const [criterion] = (await offering.contractDefinitions.get(id("bundle"))).assetsSelector;
    assert.equal(criterion.operator, "in");
    const values = criterion[`${EDC}operandRight`].flatMap((one) => one["@list"] ?? one).map((one) => one["@value"]);
    assert.deepEqual(values, [id("plain"), id("kinds")]);
});

check("contractDefinitions: update replaces the selector, and an empty one is read as none", async () => {
    // Nobody is offered what the empty selector selects: its terms are a prohibition.
    const forbidding = policy({ prohibition: [{ action: "use" }] });
    await offering.policyDefinitions.create({ "@id": id("never"), policy: forbidding });
    const input = definition("bundle", [], { accessPolicyId: id("never"), contractPolicyId: id("never") });
    assert.equal(await offering.contractDefinitions.update(input), undefined);
    const found = await offering.contractDefinitions.get(id("bundle"));
    assert.deepEqual(found.assetsSelector, []);
    assert.equal(found.accessPolicyId, id("never"));
});

check("contractDefinitions: queryAll finds all, and one", async () => {
    await published();
    assert.ok(ids(await offering.contractDefinitions.queryAll()).includes(id("rows")));
    const query = only(where("id", "=", id("rows")));
    assert.deepEqual(ids(await offering.contractDefinitions.queryAll(query)), [id("rows")]);
});

check("contractDefinitions: queryAll finds by the policy", async () => {
    await published();
    const found = await offering.contractDefinitions.queryAll(only(where("accessPolicyId", "=", id("open"))));
    assert.ok(ALL.every((one) => ids(found).includes(one)));
});

check("contractDefinitions: delete makes it gone", async () => {
    assert.equal(await offering.contractDefinitions.delete(id("bundle")), undefined);
    await refused(offering.contractDefinitions.get(id("bundle")), "NotFound");
});

check("policyDefinitions: delete makes it gone", async () => {
    assert.equal(await offering.policyDefinitions.delete(id("terms")), undefined);
    await refused(offering.policyDefinitions.get(id("terms")), "NotFound");
});

check("assets: delete makes it gone", async () => {
    assert.equal(await offering.assets.delete(id("kinds")), undefined);
    await refused(offering.assets.get(id("kinds")), "NotFound");
});

const secret = (name, value) => new client.SecretBuilder().id(id(name)).value(value).build();

check("secrets: create answers with the id and the time", async () => {
    const made = await offering.secrets.create(secret("key", "swordfish"));
    // This client returns the answer of this call as it came.
    assert.equal(made["@id"], id("key"));
    recent(made.createdAt);
});

check("secrets: get reads the value", async () => {
    const found = await offering.secrets.get(id("key"));
    assert.deepEqual([found.id, found.value], [id("key"), "swordfish"]);
});

check("secrets: update replaces the value", async () => {
    assert.equal(await offering.secrets.update(secret("key", "marlin")), undefined);
    assert.equal((await offering.secrets.get(id("key"))).value, "marlin");
});

check("secrets: one that exists is a Duplicate", () => refused(offering.secrets.create(secret("key", "again")), "Duplicate"));

check("secrets: delete makes it gone", async () => {
    assert.equal(await offering.secrets.delete(id("key")), undefined);
    await refused(offering.secrets.get(id("key")), "NotFound");
});

check("dataplanes: list reads where it is and what it takes", async () => {
    const [plane] = await offering.dataplanes.list();
    assert.ok(plane.id);
    assert.ok(URL.canParse(plane.url), plane.url);
    assert.ok(plane.allowedSourceTypes.length > 0);
    assert.ok(plane.allowedTransferTypes.includes("HttpData-PULL"));
    assert.ok(plane.properties instanceof client.JsonLdObject);
});

check("dataplanes: the types of destinations are a list", async () => {
    const [plane] = await offering.dataplanes.list();
    assert.ok(Array.isArray(plane.allowedDestTypes));
});

check("catalog: participantId is the provider's DID", async () => {
    assert.equal((await look()).participantId, provider.did);
});

check("catalog: request finds each dataset with an offer", async () => {
    const { datasets } = await look();
    assert.deepEqual(own(datasets), ALL);
    assert.ok(datasets.every((one) => one.offers.length === 1 && one.offers[0].id));
});

check("catalog: queryAll is request", async () => {
    await published();
    const catalog = await asking.catalog.queryAll({ counterPartyAddress: provider.protocol, counterPartyId: provider.did });
    assert.deepEqual(own(catalog.datasets), ALL);
});

check("catalog: the types are DCAT's and ODRL's", async () => {
    const catalog = await look();
    assert.deepEqual(catalog.types(), ["http://www.w3.org/ns/dcat#Catalog"]);
    assert.deepEqual(catalog.datasets[0].types(), ["http://www.w3.org/ns/dcat#Dataset"]);
    assert.deepEqual(catalog.datasets[0].offers[0].types(), [`${ODRL}Offer`]);
});

check("catalog: an offer has its permission, and the absent rules as none", async () => {
    const terms = rules((await listed("rows")).offers[0]);
    assert.equal(first(terms.permissions[0], `${ODRL}action`), `${ODRL}use`);
    assert.deepEqual([terms.permissions.length, terms.prohibitions, terms.obligations], [1, [], []]);
});

check("catalog: a dataset has the properties of the asset under EDC's namespace, and no private ones", async () => {
    const dataset = await listed("rows");
    assert.equal(dataset.mandatoryValue("edc", "name"), id("rows"));
    assert.equal(dataset.mandatoryValue("edc", "contenttype"), "text/csv");
    assert.doesNotMatch(JSON.stringify(dataset), /shelf/);
});

check("catalog: properties named as terms of other vocabularies stay under EDC's namespace", async () => {
    await published();
    await offering.contractDefinitions.create(definition("clashing", [where(`${EDC}id`, "=", id("clashing"))]));
    const dataset = await listed("clashing");
    await offering.contractDefinitions.delete(id("clashing"));
    for (const [name, value] of Object.entries(CLASHING)) assert.equal(dataset.mandatoryValue("edc", name), value, name);
});

check("catalog: a dataset names the kinds of transfer", async () => {
    const distributions = (await listed("rows")).array("dcat", "distribution");
    const formats = distributions.map((one) => first(one, "http://purl.org/dc/terms/format"));
    assert.ok(formats.includes("HttpData-PULL"), `${formats}`);
});

check("catalog: = finds exactly one of several", async () => {
    const { datasets } = await look(only(where(`${EDC}id`, "=", id("rows"))));
    assert.deepEqual(ids(datasets), [id("rows")]);
});

check("catalog: in finds each of a list", async () => {
    const { datasets } = await look(only(where(`${EDC}id`, "in", [id("rows"), id("cells")])));
    assert.deepEqual(ids(datasets).sort(), [id("cells"), id("rows")]);
});

check("catalog: like finds by a pattern of a property", async () => {
    const { datasets } = await look(only(where(`${EDC}name`, "like", id("c%"))));
    assert.deepEqual(ids(datasets).sort(), [id("cells"), id("columns")]);
});

check("catalog: what nothing matches has no datasets, and says whose it is", async () => {
    const catalog = await look(only(where(`${EDC}id`, "=", id("none"))));
    assert.deepEqual(catalog.datasets, []);
    assert.equal(catalog.participantId, provider.did);
});

check("catalog: limit and offset cut it", async () => {
    const all = ids((await look()).datasets);
    const pages = [];
    for (let offset = 0; offset <= all.length; offset++) pages.push(ids((await look({ limit: 1, offset })).datasets));
    assert.deepEqual(pages.pop(), []);
    assert.ok(pages.every((page) => page.length === 1));
    assert.deepEqual(pages.flat().sort(), all.sort());
});

check("catalog: requestDataset finds one with its offers", async () => {
    await published();
    const dataset = await asking.catalog.requestDataset({
        "@id": id("rows"), counterPartyAddress: provider.protocol, counterPartyId: provider.did,
    });
    assert.equal(dataset.id, id("rows"));
    assert.equal(dataset.offers.length, 1);
});

check("catalog: an unreachable participant is a BadGateway", () => {
    const request = asking.catalog.request({ counterPartyAddress: "https://localhost:1/dsp", counterPartyId: provider.did });
    // 0.8.0 has no name for it.
    return refused(request, client.EdcConnectorClientErrorType.BadGateway ?? "Unknown");
});

const crawled = once(async () => {
    await published();
    // EDC's crawler has a clock; this node's can be told.
    await fetch(`${consumer.management}/v4/peers/refresh`, { method: "POST", headers: { "X-Api-Key": key(consumer) } });
    const theirs = (all) => all.find((one) => one.participantId === provider.did);
    const fresh = (all) => ids(theirs(all)?.datasets ?? []).includes(id("rows"));
    return theirs(await until(() => asking.federatedCatalog.queryAll(), fresh));
});

check("federatedCatalog: queryAll has the provider's catalog with its datasets and offers", async () => {
    const { datasets } = await crawled();
    assert.deepEqual(own(datasets), ALL);
    assert.ok(datasets.every((one) => one.offers.length > 0));
});

check("federatedCatalog: queryAll takes a query", async () => {
    await crawled();
    assert.equal((await asking.federatedCatalog.queryAll({ limit: 1 })).length, 1);
    assert.deepEqual(await asking.federatedCatalog.queryAll({ offset: 1000 }), []);
});

check("contractNegotiations: initiate leads to FINALIZED", async () => {
    const { id } = await agreed();
    assert.equal((await asking.contractNegotiations.getState(id)).state, "FINALIZED");
});

check("contractNegotiations: get reads whose it is, with whom and since when", async () => {
    const negotiation = await agreed();
    assert.ok(negotiation.contractAgreementId);
    assert.equal(negotiation.mandatoryValue("edc", "type"), "CONSUMER");
    assert.equal(negotiation.mandatoryValue("edc", "counterPartyId"), provider.did);
    assert.equal(negotiation.mandatoryValue("edc", "counterPartyAddress"), provider.protocol);
    assert.match(negotiation.mandatoryValue("edc", "protocol"), /^dataspace-protocol-http/);
    recent(negotiation.mandatoryValue("edc", "createdAt"));
});

check("contractNegotiations: the provider has it too", async () => {
    const { id: mine } = await agreed();
    const query = only(where("contractAgreement.assetId", "=", id("rows")));
    const [negotiation] = await offering.contractNegotiations.queryAll(query);
    assert.equal(negotiation.mandatoryValue("edc", "type"), "PROVIDER");
    assert.equal(negotiation.mandatoryValue("edc", "counterPartyId"), consumer.did);
    assert.equal(negotiation.mandatoryValue("edc", "correlationId"), mine);
});

check("contractNegotiations: getAgreement reads the agreement", async () => {
    const negotiation = await agreed();
    const agreement = await asking.contractNegotiations.getAgreement(negotiation.id);
    assert.equal(agreement.id, negotiation.contractAgreementId);
    assert.equal(agreement.assetId, id("rows"));
});

check("contractNegotiations: queryAll finds all, and one by the asset of its agreement", async () => {
    const { id: mine } = await agreed();
    assert.ok(ids(await asking.contractNegotiations.queryAll()).includes(mine));
    const query = only(where("contractAgreement.assetId", "=", id("rows")));
    assert.deepEqual(ids(await asking.contractNegotiations.queryAll(query)), [mine]);
});

check("contractNegotiations: the newest come first if asked for", async () => {
    const { id: newest } = await waiting();
    const found = await asking.contractNegotiations.queryAll({ sortField: "createdAt", sortOrder: "DESC" });
    const times = found.map((one) => one.mandatoryValue("edc", "createdAt"));
    assert.equal(found[0].id, newest);
    assert.deepEqual(times, [...times].sort((a, b) => b - a));
});

check("contractNegotiations: terminate ends one on both sides, with the reason", async () => {
    const { id: mine } = await waiting();
    assert.equal(await asking.contractNegotiations.terminate(mine, "too dear"), undefined);
    const ended = (one) => one?.state === "TERMINATED";
    await until(() => asking.contractNegotiations.get(mine), ended);
    const query = only(where("correlationId", "=", mine));
    const theirs = await until(async () => (await offering.contractNegotiations.queryAll(query))[0], ended);
    assert.match(theirs.mandatoryValue("edc", "errorDetail"), /too dear/);
});

check("contractNegotiations: terminating what is finalized is a conflict", async () => {
    await refused(asking.contractNegotiations.terminate((await agreed()).id, "late"), "Duplicate");
});

check("contractNegotiations: one without agreement has none to read", async () => {
    await refused(asking.contractNegotiations.getAgreement((await waiting()).id), "NotFound");
});

check("contractAgreements: get reads the parties, the asset and the day", async () => {
    const { contractAgreementId } = await agreed();
    const agreement = await asking.contractAgreements.get(contractAgreementId);
    assert.equal(agreement.id, contractAgreementId);
    assert.deepEqual([agreement.providerId, agreement.consumerId], [provider.did, consumer.did]);
    assert.equal(agreement.assetId, id("rows"));
    recent(agreement.contractSigningDate * 1000);
});

check("contractAgreements: get reads the policy", async () => {
    const terms = (await asking.contractAgreements.get((await agreed()).contractAgreementId)).policy;
    assert.deepEqual(terms.types(), [`${ODRL}Agreement`]);
    assert.equal(first(terms.permissions[0], `${ODRL}action`), `${ODRL}use`);
    assert.deepEqual([terms.permissions.length, terms.prohibitions, terms.obligations], [1, [], []]);
    assert.equal(first(terms, `${ODRL}target`), id("rows"));
    assert.equal(first(terms, `${ODRL}assigner`), provider.did);
    assert.equal(first(terms, `${ODRL}assignee`), consumer.did);
});

check("contractAgreements: queryAll finds all, and one by its asset", async () => {
    const { contractAgreementId } = await agreed();
    assert.ok(ids(await asking.contractAgreements.queryAll()).includes(contractAgreementId));
    const query = only(where("assetId", "=", id("rows")));
    assert.deepEqual(ids(await asking.contractAgreements.queryAll(query)), [contractAgreementId]);
});

check("contractAgreements: getNegotiation leads back", async () => {
    const mine = await agreed();
    const negotiation = await asking.contractAgreements.getNegotiation(mine.contractAgreementId);
    assert.deepEqual([negotiation.id, negotiation.state], [mine.id, "FINALIZED"]);
});

check("transferProcesses: initiate leads to STARTED", async () => {
    assert.equal((await asking.transferProcesses.getState((await started()).id)).state, "STARTED");
});

check("transferProcesses: get reads what it is about and since when", async () => {
    const process = await started();
    assert.equal(process.type, "CONSUMER");
    assert.equal(process.assetId, id("rows"));
    assert.equal(process.contractId, (await agreed()).contractAgreementId);
    assert.equal(process.errorDetail, undefined);
    assert.equal(process.mandatoryValue("edc", "transferType"), "HttpData-PULL");
    recent(process.createdAt);
});

check("transferProcesses: get reads the id on the other side", async () => {
    const process = await started();
    const [theirs] = await offering.transferProcesses.queryAll(only(where("correlationId", "=", process.id)));
    assert.equal(theirs.type, "PROVIDER");
    assert.equal(process.correlationId, theirs.id);
});

check("transferProcesses: get reads the destination", async () => {
    assert.equal((await started()).dataDestination.mandatoryValue("edc", "type"), "HttpProxy");
});

check("transferProcesses: get reads the private properties", async () => {
    assert.equal((await started()).privateProperties.mandatoryValue("edc", "purpose"), "statistics");
});

check("transferProcesses: queryAll finds all, and one by its agreement", async () => {
    const process = await started();
    assert.ok(ids(await asking.transferProcesses.queryAll()).includes(process.id));
    const query = only(where("contractId", "=", process.contractId));
    assert.deepEqual(ids(await asking.transferProcesses.queryAll(query)), [process.id]);
});

check("transferProcesses: deprovisioning what runs is a conflict", async () => {
    await refused(asking.transferProcesses.deprovision((await started()).id), "Duplicate");
});

check("edrs: request finds the entry", async () => {
    const process = await started();
    const found = await asking.edrs.request();
    assert.equal(found.filter((one) => one.transferProcessId === process.id).length, 1);
});

check("edrs: request takes a query, and every getter of the entry reads", async () => {
    const [process, negotiation] = [await started(), await agreed()];
    const [entry, ...others] = await asking.edrs.request(only(where("agreementId", "=", process.contractId)));
    assert.equal(others.length, 0);
    assert.equal(entry.id, process.id);
    assert.equal(entry.transferProcessId, process.id);
    assert.equal(entry.agreementId, process.contractId);
    assert.equal(entry.contractNegotiationId, negotiation.id);
    assert.equal(entry.assetId, id("rows"));
    assert.equal(entry.providerId, provider.did);
    recent(entry.createdAt);
});

check("edrs: dataAddress has the endpoint and the token", async () => {
    const { address, endpoint } = await reading(await started());
    assert.deepEqual(address.types(), [`${EDC}DataAddress`]);
    assert.ok(URL.canParse(endpoint), endpoint);
    assert.ok(address.mandatoryValue("edc", "authorization"));
    assert.ok(address.mandatoryValue("edc", "type"));
});

for (const scheme of ["Bearer ", ""]) {
    check(`edrs: the data is read with ${scheme ? "the token as a bearer" : "the bare token"}`, async () => {
        const { endpoint, token } = await reading(await started());
        const answer = await fetch(endpoint, { headers: { Authorization: `${scheme}${token}` } });
        assert.equal(answer.status, 200);
        assert.equal(await answer.text(), rows);
    });
}

check("public: getTransferredData reads the data", async () => {
    const { endpoint, headers } = await reading(await started());
    const data = watched("public", new client.EdcConnectorClient.Builder().publicUrl(endpoint).build().public);
    assert.equal(await (await data.getTransferredData(headers)).text(), rows);
}, !hasPublic && `${version} has no public controller`);

const UPSTREAM = {
    "is read at its address": [{}, "", "/base no key"],
    "is read at a path and with parameters that the reader adds":
        [{ proxyPath: "true", proxyQueryParams: "true" }, "/deep?x=1", "/base/deep?x=1 no key"],
    "gets a secret in its header": [{ authKey: "x-upstream-key", secretName: id("upstream") }, "", "/base swordfish"],
};

Object.entries(UPSTREAM).forEach(([name, [more, below, expected]], index) => {
    check(`edrs: an HttpData upstream ${name}`, async () => {
        await published();
        const dataAddress = { type: "HttpData", baseUrl: `http://${await upstream()}/base`, ...more };
        if (more.secretName) await offering.secrets.create(secret("upstream", "swordfish"));
        await offering.assets.create(asset(`air${index}`, { dataAddress }));
        await offering.contractDefinitions.create(definition(`air${index}`, [where(`${EDC}id`, "=", id(`air${index}`))]));
        const { endpoint, headers } = await reading(await start((await agree(`air${index}`)).contractAgreementId));
        assert.equal(await (await fetch(`${endpoint}${below}`, { headers })).text(), expected);
    });
});

check("transferProcesses: HttpData-PUSH delivers to the destination and completes", async () => {
    const dataDestination = { type: "HttpData", baseUrl: `https://${await sink()}/sink` };
    const begun = await transfer((await agreed()).contractAgreementId, { transferType: "HttpData-PUSH", dataDestination });
    const over = (one) => ["COMPLETED", "TERMINATED"].includes(one.state);
    const process = await until(() => asking.transferProcesses.get(begun.id), over);
    assert.equal(process.state, "COMPLETED", process.errorDetail);
    assert.deepEqual(sunk, [["/sink", rows]]);
});

check("edrs: delete makes it gone", async () => {
    const process = await started();
    assert.equal(await asking.edrs.delete(process.id), undefined);
    await refused(asking.edrs.dataAddress(process.id), "NotFound");
    assert.deepEqual(await asking.edrs.request(only(where("transferProcessId", "=", process.id))), []);
});

check("transferProcesses: terminate ends it on both sides, with the reason", async () => {
    const process = await started();
    assert.equal(await asking.transferProcesses.terminate(process.id, "enough"), undefined);
    const ended = (one) => one?.state === "TERMINATED";
    assert.match((await until(() => asking.transferProcesses.get(process.id), ended)).errorDetail, /enough/);
    const query = only(where("correlationId", "=", process.id));
    await until(async () => (await offering.transferProcesses.queryAll(query))[0], ended);
});

check("edrs: an ended transfer has none", async () => {
    await refused(asking.edrs.dataAddress((await started()).id), "NotFound");
});

check("transferProcesses: terminating what is over is a conflict", async () => {
    await refused(asking.transferProcesses.terminate((await started()).id, "again"), "Duplicate");
});

check("transferProcesses: deprovision answers nothing, and it stays over", async () => {
    const process = await started();
    assert.equal(await asking.transferProcesses.deprovision(process.id), undefined);
    assert.match((await asking.transferProcesses.getState(process.id)).state, /^(TERMINATED|DEPROVISION)/);
});

const NOT_FOUND = {
    "assets.get": () => offering.assets.get(id("none")),
    "assets.update": () => offering.assets.update(asset("none")),
    "assets.delete": () => offering.assets.delete(id("none")),
    "policyDefinitions.get": () => offering.policyDefinitions.get(id("none")),
    "policyDefinitions.update": () => offering.policyDefinitions.update(id("none"), { "@id": id("none"), policy: open }),
    "policyDefinitions.delete": () => offering.policyDefinitions.delete(id("none")),
    "contractDefinitions.get": () => offering.contractDefinitions.get(id("none")),
    "contractDefinitions.update": () => offering.contractDefinitions.update(definition("none", [])),
    "contractDefinitions.delete": () => offering.contractDefinitions.delete(id("none")),
    "contractNegotiations.get": () => asking.contractNegotiations.get(id("none")),
    "contractNegotiations.getState": () => asking.contractNegotiations.getState(id("none")),
    "contractNegotiations.getAgreement": () => asking.contractNegotiations.getAgreement(id("none")),
    "contractNegotiations.terminate": () => asking.contractNegotiations.terminate(id("none"), "none"),
    "contractAgreements.get": () => asking.contractAgreements.get(id("none")),
    "contractAgreements.getNegotiation": () => asking.contractAgreements.getNegotiation(id("none")),
    "transferProcesses.get": () => asking.transferProcesses.get(id("none")),
    "transferProcesses.getState": () => asking.transferProcesses.getState(id("none")),
    "transferProcesses.terminate": () => asking.transferProcesses.terminate(id("none"), "none"),
    "transferProcesses.deprovision": () => asking.transferProcesses.deprovision(id("none")),
    "edrs.dataAddress": () => asking.edrs.dataAddress(id("none")),
    "edrs.delete": () => asking.edrs.delete(id("none")),
    "secrets.get": () => offering.secrets.get(id("none")),
    "secrets.update": () => offering.secrets.update(secret("none", "none")),
    "secrets.delete": () => offering.secrets.delete(id("none")),
};

for (const [name, call] of Object.entries(NOT_FOUND)) {
    check(`errors: ${name} of what there is not is NotFound and names it`, async () => {
        await published();
        await assert.rejects(call(), (error) => {
            assert.equal(error.type, "NotFound", error.message);
            const [{ message, type }] = JSON.parse(error.message.replace("resource not found: ", ""));
            assert.equal(type, "ObjectNotFound");
            assert.ok(message.includes(id("none")), message);
            return true;
        });
    });
}

const DUPLICATE = {
    "an asset that exists": () => offering.assets.create(asset("rows")),
    "a policy definition that exists": () => offering.policyDefinitions.create({ "@id": id("open"), policy: open }),
    "a contract definition that exists": () => offering.contractDefinitions.create(definition("rows", [])),
    "deleting a policy that a contract definition names": () => offering.policyDefinitions.delete(id("open")),
};

for (const [name, call] of Object.entries(DUPLICATE)) {
    check(`errors: ${name} is a Duplicate`, async () => {
        await published();
        await refused(call(), "Duplicate");
    });
}

const there = { counterPartyAddress: provider.protocol, counterPartyId: provider.did };
const BAD_REQUEST = {
    "an asset without properties": () => offering.assets.create(asset("bare", { properties: undefined })),
    "an asset with a property both public and private": () =>
        offering.assets.create(asset("double", { privateProperties: { name: "double" } })),
    "a data address without type": () => offering.assets.create(asset("lost", { dataAddress: { path: provider.file } })),
    "a policy definition without policy": () => offering.policyDefinitions.create({ "@id": id("bare") }),
    "a policy without type": () => offering.policyDefinitions.create({ "@id": id("lost"), policy: {} }),
    "a contract definition without access policy": () =>
        offering.contractDefinitions.create(definition("bare", [], { accessPolicyId: undefined })),
    "a selector without operator": () =>
        offering.contractDefinitions.create(definition("lost", [{ operandLeft: "id", operandRight: "rows" }])),
    "a secret without value": () => offering.secrets.create({ "@id": id("bare") }),
    "a catalog of nowhere": () => asking.catalog.request({}),
    "a negotiation without policy": () => asking.contractNegotiations.initiate(there),
    "a negotiation about no offer, no provider and no asset": () =>
        asking.contractNegotiations.initiate({ ...there, policy: new client.PolicyBuilder().type("Offer").build() }),
    "a transfer under an unknown agreement": () => transfer(id("none")),
    "a transfer of an unknown kind": async () => transfer((await agreed()).contractAgreementId, { transferType: "nonsense" }),
};

for (const [name, call] of Object.entries(BAD_REQUEST)) {
    check(`errors: ${name} is a BadRequest`, () => refused(call(), "BadRequest"));
}

check("errors: a wrong key opens nothing", () => refused(connect(provider, "wrong").assets.queryAll(), "Unknown"));

check("contexts: one client speaks to both nodes", async () => {
    await published();
    const both = new client.EdcConnectorClient();
    const [theirs, mine] = [provider, consumer].map((node) => both.createContext(key(node), addresses(node)));
    assert.equal((await both.management.assets.get(id("rows"), theirs)).id, id("rows"));
    await refused(both.management.assets.get(id("rows"), mine), "NotFound");
    assert.equal((await both.observability.checkHealth(mine)).isSystemHealthy, true);
});

check("errors: deleting an asset that is under an agreement is a Duplicate", async () => {
    await agreed();
    await refused(offering.assets.delete(id("rows")), "Duplicate");
});

for (const name of ["participants", "participant", "keyPairs", "DIDs", "VerifiableCredentials"]) {
    check(`identity: ${name}`, () => {}, "IdentityHub's API, not the management API");
}

check("presentation: queryAll", () => {}, "IdentityHub's API, not the management API");

check("every method of every controller was called", () => {
    const built = new client.EdcConnectorClient();
    const { federatedCatalog, observability, management } = built;
    const controllers = { federatedCatalog, observability, ...(hasPublic && { public: built.public }) };
    for (const name of Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(management)))) {
        if (name !== "constructor") controllers[name] = management[name];
    }
    const methods = Object.entries(controllers).flatMap(([name, controller]) =>
        Object.getOwnPropertyNames(Object.getPrototypeOf(controller))
            .filter((method) => method !== "constructor")
            .map((method) => `${name}.${method}`));
    assert.deepEqual(methods.filter((method) => !called.has(method)), []);
});

// What is under an agreement stays.
after(async () => {
    const air = Object.keys(UPSTREAM).map((_, index) => `air${index}`);
    const left = {
        contractDefinitions: [...NAMES, ...air, "bare", "bundle", "clashing", "lost"],
        policyDefinitions: ["bare", "empty", "full", "lost", "never", "open", "terms"],
        assets: [...NAMES, ...air, "bare", "clashing", "double", "kinds", "lost", "moving", "plain", "upstream", "veiled"],
        secrets: ["bare", "key", "upstream"],
    };
    for (const [controller, names] of Object.entries(left)) {
        for (const name of names) await offering[controller].delete(id(name)).catch(() => {});
    }
});
