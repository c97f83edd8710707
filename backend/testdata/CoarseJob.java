import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.deploy.master.Master;

/**
 * A Spark driver that nobody brings executors: its cluster manager is a
 * standalone master without workers, in this process. It runs one job of TASKS
 * tasks, of which the last ones wait until DIR/finish is there, and writes into
 * DIR: "driver" (its port), "executors" (how many have registered), "done" (how
 * many tasks have ended), "result" (the sum of the numbers below TASKS).
 *
 * <pre>CoarseJob DIR TASKS MILLIS</pre>
 */
public final class CoarseJob {
  private static final int WAITING = 2;

  private CoarseJob() {}

  public static void main(String[] args) throws Exception {
    String dir = args[0];
    int tasks = Integer.parseInt(args[1]);
    int millis = Integer.parseInt(args[2]);
    SparkConf conf = new SparkConf().setAppName("CoarseJob");
    int port = Master.startRpcEnvAndEndpoint("127.0.0.1", 0, 0, conf)._1().address().port();
    conf.setMaster("spark://127.0.0.1:" + port);
    try (JavaSparkContext spark = new JavaSparkContext(conf)) {
      write(dir, "driver", spark.getConf().get("spark.driver.port"));
      Thread reporter = new Thread(() -> report(spark, dir));
      reporter.setDaemon(true);
      reporter.start();
      List<Integer> numbers = IntStream.range(0, tasks).boxed().collect(Collectors.toList());
      long sum =
          spark.parallelize(numbers, tasks).map(n -> work(n, tasks, millis, dir)).reduce(Long::sum);
      write(dir, "result", Long.toString(sum));
    }
    System.exit(0);
  }

  private static long work(int n, int tasks, int millis, String dir) throws Exception {
    Thread.sleep(millis);
    while (n >= tasks - WAITING && !Files.exists(Path.of(dir, "finish"))) {
      Thread.sleep(20);
    }
    return n;
  }

  private static void report(JavaSparkContext spark, String dir) {
    try {
      while (true) {
        int all = spark.sc().statusTracker().getExecutorInfos().length; // the driver is one of them
        write(dir, "executors", Integer.toString(all - 1));
        int done = 0;
        for (int id : spark.statusTracker().getActiveStageIds()) {
          done += spark.statusTracker().getStageInfo(id).numCompletedTasks();
        }
        write(dir, "done", Integer.toString(done));
        Thread.sleep(50);
      }
    } catch (Exception e) {
      // The context is closed.
    }
  }

  private static void write(String dir, String name, String text) throws Exception {
    Path fresh = Files.createTempFile(Path.of(dir), name, ".tmp");
    Files.write(fresh, text.getBytes(StandardCharsets.UTF_8));
    Files.move(fresh, Path.of(dir, name), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }
}
