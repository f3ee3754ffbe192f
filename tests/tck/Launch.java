import java.io.FileReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Properties;
import org.eclipse.dataspacetck.core.system.ConsoleMonitor;
import org.eclipse.dataspacetck.runtime.TckRuntime;

/** Launches the packages of a suite through its public runtime API and ends with the counts of the runner. */
public final class Launch {
    public static void main(String[] arguments) throws Exception {
        var properties = new Properties();
        try (var reader = new FileReader(arguments[0])) {
            properties.load(reader);
        }
        var settings = new HashMap<String, String>();
        properties.forEach((name, value) -> settings.put((String) name, (String) value));
        var runtime = TckRuntime.Builder.newInstance()
                .properties(settings)
                .monitor(new ConsoleMonitor(false, false));
        for (var name : Arrays.asList(arguments).subList(1, arguments.length)) {
            runtime.addPackage(name);
        }
        var summary = runtime.build().execute();
        for (var failure : summary.getFailures()) {
            System.out.println("FAILED " + failure.getTestIdentifier().getDisplayName() + ": "
                    + String.valueOf(failure.getException().getMessage()).lines().limit(3).toList());
        }
        System.out.printf("%d passed, %d failed, %d skipped%n", summary.getTestsSucceededCount(),
                summary.getTestsFailedCount(), summary.getTestsSkippedCount());
        System.exit(summary.getTestsFailedCount() == 0 && summary.getTestsSucceededCount() > 0 ? 0 : 1);
    }
}
