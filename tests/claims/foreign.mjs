// Two public libraries read the credentials and presentations of a node, and write others for it: did-jwt-vc the data model 1.1,
// @transmute/verifiable-credentials 2.0. Takes a JSON document on standard input and gives one on standard output.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { ES256Signer } from "did-jwt";
import {
  createVerifiableCredentialJwt,
  createVerifiablePresentationJwt,
  verifyCredential,
  verifyPresentation,
} from "did-jwt-vc";
import { Resolver } from "did-resolver";

const require = createRequire(import.meta.url);
const transmute = require("@transmute/verifiable-credentials");
const jose = require("jose");
const { encoder, decoder } = transmute.text;

const VC1 = "https://www.w3.org/2018/credentials/v1";
const VC2 = "https://www.w3.org/ns/credentials/v2";
const input = JSON.parse(readFileSync(0, "utf8"));

// The documents that the test has at hand stand for resolution.
const resolve = async (did) => ({
  didDocument: input.documents[did] ?? null,
  didDocumentMetadata: {},
  didResolutionMetadata: input.documents[did] ? { contentType: "application/did+json" } : { error: "notFound" },
});
const resolver = new Resolver({ web: resolve, key: resolve });

// The key that `kid` names, for the other library.
const keyOf = {
  resolve: async ({ content }) => {
    const { kid } = jose.decodeProtectedHeader(decoder.decode(content));
    const method = input.documents[kid.split("#")[0]].verificationMethod.find((one) => one.id === kid);
    const { d, ...jwk } = method.publicKeyJwk;
    const alg = jwk.kty === "OKP" ? "EdDSA" : "ES256";
    return { type: "application/jwk+json", content: encoder.encode(JSON.stringify({ alg, ...jwk })) };
  },
};

async function read({ credentialV1, presentationV1, credentialV2, presentationV2, verifier }) {
  const of1 = await verifyCredential(credentialV1, resolver);
  const shown1 = await verifyPresentation(presentationV1, resolver, { domain: verifier, audience: verifier });
  const check = (type, jwt, audience) =>
    transmute.verifier({ resolver: keyOf }).verify({ type, content: encoder.encode(jwt), audience });
  const of2 = await check("application/vc-ld+jwt", credentialV2);
  const shown2 = await check("application/vp-ld+jwt", presentationV2, verifier);
  return {
    credentialV1: of1.verifiableCredential.credentialSubject,
    presentationV1: shown1.verifiablePresentation.verifiableCredential.map((one) => one.type),
    credentialV2: of2.credentialSubject,
    presentationV2: shown2.verifiableCredential.map((one) => one.type),
  };
}

async function write({ issuer, holder, verifier, claims }) {
  const now = Math.floor(Date.now() / 1000);
  const raw = (jwk) => Uint8Array.from(Buffer.from(jwk.d, "base64url"));
  const by = (party) => ({ did: party.did, signer: ES256Signer(raw(party.jwk)), alg: "ES256" });
  // Who it is about and who says so stand around the credential only.
  const credentialV1 = await createVerifiableCredentialJwt(
    {
      sub: holder.did,
      nbf: now - 60,
      exp: now + 3600,
      vc: { "@context": [VC1], type: ["VerifiableCredential", "MembershipCredential"], credentialSubject: claims },
    },
    by(issuer),
  );
  const presentationV1 = await createVerifiablePresentationJwt(
    { nbf: now - 60, exp: now + 300, vp: { "@context": [VC1], type: ["VerifiablePresentation"], verifiableCredential: [credentialV1] } },
    by(holder),
    { domain: verifier },
  );
  const signer = (party) => ({
    sign: async (bytes) => {
      const key = await jose.importJWK({ ...party.jwk, alg: "ES256" });
      const header = { alg: "ES256", kid: `${party.did}#k` };
      return encoder.encode(await new jose.CompactSign(bytes).setProtectedHeader(header).sign(key));
    },
  });
  const document = {
    "@context": [VC2],
    id: "urn:uuid:0f9c1b5e-6f7c-4a53-9a1d-3d0a0d5c7c11",
    type: ["VerifiableCredential", "MembershipCredential"],
    issuer: { id: issuer.did, name: "An authority" },
    validFrom: new Date((now - 60) * 1000).toISOString(),
    validUntil: new Date((now + 3600) * 1000).toISOString(),
    credentialSubject: { id: holder.did, ...claims },
  };
  const credentialV2 = await transmute
    .issuer({ alg: "ES256", type: "application/vc-ld+jwt", signer: signer(issuer) })
    .issue({ claimset: encoder.encode(JSON.stringify(document)) });
  const presentationV2 = await transmute.holder({ alg: "ES256", type: "application/vp-ld+jwt" }).issue({
    signer: signer(holder),
    presentation: { "@context": [VC2], type: ["VerifiablePresentation"], holder: { id: holder.did } },
    disclosures: [{ type: "application/vc-ld+jwt", credential: credentialV2 }],
  });
  return { presentationV1, presentationV2: decoder.decode(presentationV2) };
}

const output = {};
if (input.read) output.read = await read(input.read);
if (input.write) output.written = await write(input.write);
console.log(JSON.stringify(output));
