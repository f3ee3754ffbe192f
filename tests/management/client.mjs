// The npm client of EDC's Management API, unchanged: publish, look, negotiate, transfer between two nodes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import client from "@think-it-labs/edc-connector-client";

const [provider, consumer] = JSON.parse(process.env.NODES);

function connect(node) {
    return new client.EdcConnectorClient.Builder()
        .apiToken(readFileSync(`${node.folder}/keys/management.key`, "utf8").trim())
        .managementUrl(node.management)
        .build();
}

const offering = connect(provider).management;
const asking = connect(consumer).management;

// Looks again until `done`; the client has no event stream, so its users poll.
async function until(look, done) {
    for (let turn = 0; turn < 200; turn++) {
        const found = await look();
        if (done(found)) return found;
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.fail("it did not get there");
}

const state = { agreement: undefined, transfer: undefined };

test("a provider publishes", async () => {
    const made = await offering.assets.create({
        "@id": "rows",
        properties: { name: "Rows", contenttype: "text/csv" },
        dataAddress: { type: "File", path: provider.file },
    });
    assert.equal(made.id, "rows");
    assert.ok(made.createdAt > 0);
    const asset = await offering.assets.get("rows");
    assert.equal(asset.properties.mandatoryValue("edc", "name"), "Rows");
    const policy = new client.PolicyBuilder().type("Set").raw({ permission: [{ action: "use" }] }).build();
    await offering.policyDefinitions.create({ "@id": "open", policy });
    const stored = await offering.policyDefinitions.get("open");
    assert.equal(stored.policy.permissions.length, 1);
    await offering.contractDefinitions.create({
        "@id": "everybody", accessPolicyId: "open", contractPolicyId: "open",
        assetsSelector: [{ operandLeft: "https://w3id.org/edc/v0.0.1/ns/id", operator: "=", operandRight: "rows" }],
    });
    assert.equal((await offering.contractDefinitions.queryAll()).length, 1);
    assert.equal((await offering.assets.queryAll({ filterExpression: [
        { operandLeft: "id", operator: "=", operandRight: "none" }] })).length, 0);
});

test("errors have the client's own types", async () => {
    await assert.rejects(offering.assets.get("none"), (error) => error.type === "NotFound");
    await assert.rejects(offering.assets.create({ "@id": "rows", properties: {}, dataAddress: { type: "File", path: provider.file } }),
        (error) => error.type === "Duplicate");
    await assert.rejects(offering.policyDefinitions.create({ "@id": "bad", policy: {} }), (error) => error.type === "BadRequest");
});

test("a consumer looks, negotiates and reads", async () => {
    const catalog = await asking.catalog.request({ counterPartyAddress: provider.protocol, counterPartyId: provider.did });
    assert.equal(catalog.participantId, provider.did);
    const [dataset] = catalog.datasets;
    assert.equal(dataset.id, "rows");
    const [offer] = dataset.offers;
    const begun = await asking.contractNegotiations.initiate({
        counterPartyAddress: provider.protocol,
        policy: { ...offer, assigner: provider.did, target: dataset.id },
    });
    const agreed = await until(() => asking.contractNegotiations.get(begun.id), (one) => one.state === "FINALIZED" || one.state === "TERMINATED");
    assert.equal(agreed.state, "FINALIZED");
    assert.equal((await asking.contractNegotiations.getState(begun.id)).state, "FINALIZED");
    const agreement = await asking.contractNegotiations.getAgreement(begun.id);
    assert.equal(agreement.id, agreed.contractAgreementId);
    assert.equal(agreement.providerId, provider.did);
    assert.equal(agreement.assetId, "rows");
    state.agreement = agreement.id;
    assert.equal((await asking.contractAgreements.queryAll()).length, 1);

    const transfer = await asking.transferProcesses.initiate({
        assetId: "rows", contractId: agreement.id, counterPartyAddress: provider.protocol, transferType: "HttpData-PULL",
        dataDestination: { type: "HttpProxy" },
    });
    await until(() => asking.transferProcesses.get(transfer.id), (one) => one.state === "STARTED");
    assert.equal((await asking.transferProcesses.getState(transfer.id)).state, "STARTED");
    const [entry] = await asking.edrs.request({});
    assert.equal(entry.transferProcessId, transfer.id);
    const address = await asking.edrs.dataAddress(transfer.id);
    const endpoint = address.mandatoryValue("edc", "endpoint");
    const authorization = address.mandatoryValue("edc", "authorization");
    const rows = await fetch(endpoint, { headers: { Authorization: `Bearer ${authorization}` } });
    assert.equal(await rows.text(), readFileSync(provider.file, "utf8"));
    state.transfer = transfer.id;
});

test("a transfer is ended, a negotiation is looked up, a dataset is asked for", async () => {
    await asking.transferProcesses.terminate(state.transfer, "enough");
    const over = await until(() => asking.transferProcesses.get(state.transfer), (one) => one.state === "TERMINATED");
    assert.match(over.errorDetail, /enough/);
    assert.equal((await asking.transferProcesses.queryAll()).length, 1);
    assert.equal((await asking.contractAgreements.getNegotiation(state.agreement)).state, "FINALIZED");
    const dataset = await asking.catalog.requestDataset({ "@id": "rows", counterPartyAddress: provider.protocol });
    assert.equal(dataset.id, "rows");
    assert.equal((await asking.contractNegotiations.queryAll({ limit: 1 })).length, 1);
    await offering.contractDefinitions.delete("everybody");
    await offering.policyDefinitions.delete("open");
    await offering.assets.delete("rows");
});
