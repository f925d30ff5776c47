import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Instant;

/** Answers each line with what the JVM's clocks show; names as in clock.rs. */
public class Clocks {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        while (in.readLine() != null) {
            Instant instant = Instant.now();
            long nanos = instant.getEpochSecond() * 1_000_000_000L + instant.getNano();
            System.out.println("@r/1000000=" + System.currentTimeMillis() * 1_000_000L
                + " r/1000=" + nanos + " m=" + System.nanoTime());
            System.out.flush();
        }
    }
}
