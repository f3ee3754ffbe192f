import jakarta.ws.rs.GET;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.PathParam;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.HeaderParam;
import jakarta.ws.rs.core.MediaType;
import jakarta.ws.rs.core.Response;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.security.KeyPairGenerator;
import java.security.spec.ECGenParameterSpec;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.eclipse.edc.connector.controlplane.catalog.spi.policy.CatalogPolicyContext;
import org.eclipse.edc.connector.controlplane.contract.spi.policy.ContractNegotiationPolicyContext;
import org.eclipse.edc.connector.controlplane.contract.spi.policy.TransferProcessPolicyContext;
import org.eclipse.edc.connector.dataplane.spi.Endpoint;
import org.eclipse.edc.connector.dataplane.spi.iam.DataPlaneAuthorizationService;
import org.eclipse.edc.connector.dataplane.spi.iam.PublicEndpointGeneratorService;
import org.eclipse.edc.edr.spi.store.EndpointDataReferenceStore;
import org.eclipse.edc.iam.decentralizedclaims.spi.SecureTokenService;
import org.eclipse.edc.iam.decentralizedclaims.sts.remote.RemoteSecureTokenService;
import org.eclipse.edc.iam.decentralizedclaims.sts.remote.StsRemoteClientConfiguration;
import org.eclipse.edc.iam.oauth2.spi.client.Oauth2Client;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.VerifiableCredential;
import org.eclipse.edc.participant.spi.ParticipantAgentPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestCatalogPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestContractNegotiationPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestTransferProcessPolicyContext;
import org.eclipse.edc.policy.engine.spi.PolicyContext;
import org.eclipse.edc.policy.engine.spi.PolicyEngine;
import org.eclipse.edc.policy.engine.spi.RuleBindingRegistry;
import org.eclipse.edc.policy.model.Operator;
import org.eclipse.edc.policy.model.Permission;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.runtime.metamodel.annotation.Provider;
import org.eclipse.edc.spi.security.Vault;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;
import org.eclipse.edc.web.spi.WebService;
import org.eclipse.edc.web.spi.configuration.PortMapping;
import org.eclipse.edc.web.spi.configuration.PortMappingRegistry;

/**
 * What a city adds to Eclipse EDC to run it: the token service in another process, the credentials that are asked for, keys of
 * the data plane, the policies it understands, the address at which pulled data is read, and where its client finds the token.
 */
public final class Connector implements ServiceExtension {
    private static final String ODRL = "http://www.w3.org/ns/odrl/2/";
    private static final String MEMBERSHIP = "urn:concordat:membership";

    @Inject private Oauth2Client oauth2;
    @Inject private Vault vault;
    @Inject private PolicyEngine policies;
    @Inject private RuleBindingRegistry rules;
    @Inject private WebService web;
    @Inject private PortMappingRegistry ports;
    @Inject private PublicEndpointGeneratorService endpoints;
    @Inject private DataPlaneAuthorizationService authorization;
    @Inject private EndpointDataReferenceStore references;

    private ServiceExtensionContext context;

    @Provider
    public SecureTokenService tokens(ServiceExtensionContext context) {
        var configuration = new StsRemoteClientConfiguration(setting(context, "edc.iam.sts.oauth.token.url"),
                setting(context, "edc.iam.sts.oauth.client.id"), setting(context, "edc.iam.sts.oauth.client.secret.alias"));
        return new RemoteSecureTokenService(oauth2, participant -> configuration, vault);
    }

    private static String setting(ServiceExtensionContext context, String name) {
        return context.getSetting(name, null);
    }

    @Override
    public void initialize(ServiceExtensionContext context) {
        this.context = context;
        var scopes = Set.of(setting(context, "x.scopes").split(" "));
        ask(RequestCatalogPolicyContext.class, scopes);
        ask(RequestContractNegotiationPolicyContext.class, scopes);
        ask(RequestTransferProcessPolicyContext.class, scopes);
        for (var scope : List.of(CatalogPolicyContext.CATALOG_SCOPE, ContractNegotiationPolicyContext.NEGOTIATION_SCOPE,
                TransferProcessPolicyContext.TRANSFER_SCOPE)) {
            List.of(ODRL + "use", "use", ODRL + "purpose", ODRL + "dateTime", MEMBERSHIP)
                    .forEach(name -> rules.bind(name, scope));
        }
        understand(CatalogPolicyContext.class);
        understand(ContractNegotiationPolicyContext.class);
        understand(TransferProcessPolicyContext.class);

        var port = Integer.parseInt(setting(context, "web.http.public.port"));
        ports.register(new PortMapping("public", port, setting(context, "web.http.public.path")));
        endpoints.addGeneratorFunction("HttpData", address -> Endpoint.url(setting(context, "edc.dataplane.api.public.baseurl")));
        web.registerResource("public", new Data(authorization));
        web.registerResource("management", new References(references));
    }

    private <C extends RequestPolicyContext> void ask(Class<C> kind, Set<String> scopes) {
        policies.registerPostValidator(kind, (policy, request) -> {
            request.requestScopeBuilder().scopes(scopes);
            return true;
        });
    }

    private <C extends PolicyContext & ParticipantAgentPolicyContext> void understand(Class<C> kind) {
        policies.registerFunction(kind, Permission.class, ODRL + "purpose", (operator, right, rule, request) -> true);
        policies.registerFunction(kind, Permission.class, ODRL + "dateTime", (operator, right, rule, request) ->
                operator == Operator.LEQ && !Instant.now().isAfter(Instant.parse(String.valueOf(right))));
        policies.registerFunction(kind, Permission.class, MEMBERSHIP, (operator, right, rule, request) ->
                operator == Operator.EQ && isMember(request.participantAgent().getClaims().get("vc"), String.valueOf(right)));
    }

    private static boolean isMember(Object credentials, String space) {
        return credentials instanceof List<?> all && all.stream()
                .filter(VerifiableCredential.class::isInstance).map(VerifiableCredential.class::cast)
                .filter(one -> one.getType().contains("MembershipCredential"))
                .flatMap(one -> one.getCredentialSubject().stream())
                .anyMatch(subject -> space.equals(String.valueOf(subject.getClaims().get("memberOf"))));
    }

    @Override
    public void prepare() {
        try {
            vault.storeSecret(setting(context, "edc.iam.sts.oauth.client.secret.alias"),
                    Files.readString(java.nio.file.Path.of(setting(context, "x.secret.file"))).strip());
            var generator = KeyPairGenerator.getInstance("EC");
            generator.initialize(new ECGenParameterSpec("secp256r1"));
            var pair = generator.generateKeyPair();
            vault.storeSecret("dp-private", pem("PRIVATE KEY", pair.getPrivate().getEncoded()));
            vault.storeSecret("dp-public", pem("PUBLIC KEY", pair.getPublic().getEncoded()));
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static String pem(String kind, byte[] bytes) {
        var lines = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(bytes);
        return "-----BEGIN %s-----\n%s\n-----END %s-----\n".formatted(kind, lines, kind);
    }

    /** Where a consumer reads what it pulls; like EDC's own public API it takes the token without a scheme. */
    @Path("/")
    public static final class Data {
        private final HttpClient client = HttpClient.newHttpClient();
        private final DataPlaneAuthorizationService authorization;

        private Data(DataPlaneAuthorizationService authorization) {
            this.authorization = authorization;
        }

        @GET
        public Response read(@HeaderParam("Authorization") String token) throws Exception {
            var address = token == null ? null : authorization.authorize(token, new HashMap<>());
            if (address == null || address.failed()) {
                return Response.status(Response.Status.FORBIDDEN).build();
            }
            var source = URI.create(address.getContent().getStringProperty("baseUrl"));
            var answer = client.send(HttpRequest.newBuilder(source).build(), HttpResponse.BodyHandlers.ofInputStream());
            var kind = answer.headers().firstValue("content-type").orElse(MediaType.APPLICATION_OCTET_STREAM);
            return Response.status(answer.statusCode()).type(kind).entity(answer.body()).build();
        }
    }

    /** Where a client of the management API finds the endpoint and the token of a transfer. */
    @Path("/v3/edrs")
    public static final class References {
        private final EndpointDataReferenceStore references;

        private References(EndpointDataReferenceStore references) {
            this.references = references;
        }

        @GET
        @Path("{id}")
        @Produces(MediaType.APPLICATION_JSON)
        public Map<String, Object> find(@PathParam("id") String id) {
            var found = references.resolveByTransferProcess(id);
            return found.succeeded() ? found.getContent().getProperties() : Map.of();
        }
    }
}
