package hadispatcher;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * Estimates pi with Spark, and leaves traces by which a test can tell how often
 * and in which process it ran.
 *
 * <pre>SparkPi [SLICES [SECONDS [JOURNAL [MARKER]]]]</pre>
 *
 * SLICES: tasks to split the work into (2). SECONDS: how long to run at least
 * (0). JOURNAL: file that receives the lines "start PID MILLIS", then "end PID
 * MILLIS" or "fail PID MILLIS". MARKER: file that this program makes if it is
 * not there, failing with status 1: so the first attempt fails and the second
 * does not. "-" for a file means none.
 */
public final class SparkPi {
  private static final int SAMPLES_PER_SLICE = 100_000;

  private SparkPi() {}

  public static void main(String[] args) throws Exception {
    long began = System.nanoTime();
    int slices = args.length > 0 ? Integer.parseInt(args[0]) : 2;
    double seconds = args.length > 1 ? Double.parseDouble(args[1]) : 0;
    Path journal = file(args, 2);
    Path marker = file(args, 3);

    record(journal, "start");
    if (marker != null && create(marker)) {
      record(journal, "fail");
      System.err.println("failing on purpose: " + marker + " was not there");
      System.exit(1);
    }
    double pi;
    try (JavaSparkContext spark = new JavaSparkContext(new SparkConf().setAppName("SparkPi"))) {
      pi = estimate(spark, slices);
      long left = (long) (seconds * 1e9) - (System.nanoTime() - began);
      if (left > 0) {
        TimeUnit.NANOSECONDS.sleep(left);
      }
    }
    System.out.println("Pi is roughly " + pi);
    record(journal, "end");
  }

  /** Counts the points of a fixed low-discrepancy sequence that lie in the quarter circle. */
  private static double estimate(JavaSparkContext spark, int slices) {
    List<Integer> numbers = IntStream.range(0, slices).boxed().collect(Collectors.toList());
    long inside = spark.parallelize(numbers, slices).map(SparkPi::countInside).reduce(Long::sum);
    return 4.0 * inside / ((double) slices * SAMPLES_PER_SLICE);
  }

  private static long countInside(int slice) {
    // Multiples of the reciprocals of the plastic number and its square fill
    // the unit square evenly, and need no random numbers.
    long inside = 0;
    for (long i = (long) slice * SAMPLES_PER_SLICE, end = i + SAMPLES_PER_SLICE; i < end; i++) {
      double x = i * 0.7548776662466927 % 1;
      double y = i * 0.5698402909980532 % 1;
      if (x * x + y * y < 1) {
        inside++;
      }
    }
    return inside;
  }

  private static Path file(String[] args, int index) {
    return args.length > index && !args[index].equals("-") ? Path.of(args[index]) : null;
  }

  private static boolean create(Path path) throws IOException {
    try {
      Files.createFile(path);
      return true;
    } catch (FileAlreadyExistsException e) {
      return false;
    }
  }

  /** One write in append mode, so that lines of several drivers do not mix. */
  private static void record(Path journal, String event) throws IOException {
    if (journal == null) {
      return;
    }
    String line =
        event + " " + ProcessHandle.current().pid() + " " + System.currentTimeMillis() + "\n";
    Files.write(
        journal,
        line.getBytes(StandardCharsets.UTF_8),
        StandardOpenOption.CREATE,
        StandardOpenOption.APPEND);
  }
}
