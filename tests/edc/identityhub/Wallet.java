import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eclipse.edc.identityhub.spi.participantcontext.ParticipantContextService;
import org.eclipse.edc.identityhub.spi.participantcontext.model.KeyDescriptor;
import org.eclipse.edc.identityhub.spi.participantcontext.model.ParticipantManifest;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;

/** What IdentityHub takes beyond its modules: an administrator. */
public final class Wallet implements ServiceExtension {
    @Inject private ParticipantContextService participants;
    private ServiceExtensionContext context;

    @Override
    public void initialize(ServiceExtensionContext context) {
        this.context = context;
    }

    @Override
    public void start() {
        var key = KeyDescriptor.Builder.newInstance().keyId("super-user-key").privateKeyAlias("super-user-key")
                .keyGeneratorParams(java.util.Map.of("algorithm", "EC", "curve", "secp256r1")).build();
        var made = participants.createParticipantContext(ParticipantManifest.Builder.newInstance()
                .participantContextId("super-user").did("did:web:super-user").active(true).key(key).roles(List.of("admin")).build());
        try {
            Files.writeString(Path.of(context.getSetting("x.key.file", null)), made.getContent().apiKey());
        } catch (java.io.IOException error) {
            throw new IllegalStateException(error);
        }
    }
}
