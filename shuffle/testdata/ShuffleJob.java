import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import org.apache.spark.HashPartitioner;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.LongAccumulator;
import scala.Tuple2;

/**
 * A shuffle whose result does not depend on where its blocks come from.
 * Arguments: shape megabytes maps reduces, and "kill" to kill -9 all executors
 * between map and reduce. Prints MAPPED once all map output is on disk and
 * waits for a line on stdin; prints RESULT digest records generated millis.
 * generated exceeds the number of input records if map tasks ran again.
 */
public class ShuffleJob {
  static final int VALUE = 1000;

  public static void main(String[] args) throws Exception {
    String shape = args[0];
    long records = Long.parseLong(args[1]) * 1_000_000 / VALUE;
    int maps = Integer.parseInt(args[2]), reduces = Integer.parseInt(args[3]);
    boolean kill = args.length > 4 && args[4].equals("kill");
    try (JavaSparkContext sc = new JavaSparkContext(new SparkConf().setAppName("shuffle-" + shape))) {
      LongAccumulator generated = sc.sc().longAccumulator("generated");
      JavaPairRDD<Integer, byte[]> input = generate(sc, records, maps, shape.equals("skew"), generated, 0);
      JavaRDD<long[]> digests;
      switch (shape) {
        case "sort":
          digests = input.repartitionAndSortWithinPartitions(new HashPartitioner(reduces)).mapPartitions(it -> digest(it, true));
          break;
        case "join":
          JavaPairRDD<Integer, byte[]> other = generate(sc, records / 10, maps, false, generated, 1);
          digests = input.join(other, reduces).mapToPair(t -> new Tuple2<>(t._1, concat(t._2._1, t._2._2))).mapPartitions(it -> digest(it, false));
          break;
        default:
          digests = input.partitionBy(new HashPartitioner(reduces)).mapPartitions(it -> digest(it, false));
      }
      // One reduce partition makes the whole map stage run.
      long start = System.currentTimeMillis();
      digests.collectPartitions(new int[] {0});
      System.out.println("MAPPED " + (System.currentTimeMillis() - start));
      if (kill) killExecutors();
      new BufferedReader(new InputStreamReader(System.in)).readLine();
      start = System.currentTimeMillis();
      long sum = 0, count = 0;
      for (long[] d : digests.collect()) {
        sum += d[0];
        count += d[1];
      }
      System.out.println("RESULT " + Long.toHexString(sum) + " " + count + " " + generated.value() + " " + (System.currentTimeMillis() - start));
    }
  }

  static void killExecutors() throws Exception {
    List<ProcessHandle> gone = new ArrayList<>();
    ProcessHandle.current().descendants()
        .filter(p -> p.info().arguments().map(a -> String.join(" ", a).contains("CoarseGrainedExecutorBackend")).orElse(false))
        .forEach(p -> { if (p.destroyForcibly()) gone.add(p); });
    for (ProcessHandle p : gone) p.onExit().get();
    System.out.println("KILLED " + gone.size());
  }

  static JavaPairRDD<Integer, byte[]> generate(JavaSparkContext sc, long records, int maps, boolean skew, LongAccumulator generated, int salt) {
    List<Integer> seeds = new ArrayList<>();
    for (int i = 0; i < maps; i++) seeds.add(i);
    long perMap = records / maps;
    return sc.parallelize(seeds, maps).flatMapToPair(seed -> new Iterator<Tuple2<Integer, byte[]>>() {
      final Random random = new Random(seed * 31L + salt);
      long left = perMap;

      @Override public boolean hasNext() { return left > 0; }

      @Override public Tuple2<Integer, byte[]> next() {
        left--;
        generated.add(1);
        byte[] value = new byte[VALUE];
        random.nextBytes(value);
        int key = skew && random.nextInt(10) > 1 ? 7 : random.nextInt(100_000);
        return new Tuple2<>(key, value);
      }
    });
  }

  static byte[] concat(byte[] a, byte[] b) {
    byte[] c = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, c, a.length, b.length);
    return c;
  }

  static Iterator<long[]> digest(Iterator<Tuple2<Integer, byte[]>> it, boolean sorted) {
    long sum = 0, count = 0;
    int last = Integer.MIN_VALUE;
    while (it.hasNext()) {
      Tuple2<Integer, byte[]> t = it.next();
      if (sorted && t._1 < last) throw new IllegalStateException("not sorted: " + t._1 + " after " + last);
      last = t._1;
      sum += t._1 * 1_000_003L + Arrays.hashCode(t._2) * 31L;
      count++;
    }
    return Collections.singletonList(new long[] {sum, count}).iterator();
  }
}
