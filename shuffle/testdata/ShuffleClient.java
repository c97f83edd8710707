import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.sasl.SecretKeyHolder;
import org.apache.spark.network.shuffle.BlockFetchingListener;
import org.apache.spark.network.shuffle.ExternalBlockStoreClient;
import org.apache.spark.network.shuffle.protocol.ExecutorShuffleInfo;
import org.apache.spark.network.util.MapConfigProvider;
import org.apache.spark.network.util.TransportConf;

/**
 * Spark's own client classes, without a cluster. Arguments: port app secret
 * localDir, then properties key=value. An empty secret means no authentication.
 * Does everything once, prints what came of it, and as a driver on Mesos
 * heartbeats until stdin ends.
 */
public class ShuffleClient {
  public static void main(String[] args) throws Exception {
    int port = Integer.parseInt(args[0]);
    String app = args[1], secret = args[2], dir = args[3], host = "127.0.0.1";
    Map<String, String> properties = new HashMap<>();
    for (int i = 4; i < args.length; i++) properties.put(args[i].split("=", 2)[0], args[i].split("=", 2)[1]);
    TransportConf conf = new TransportConf("shuffle", new MapConfigProvider(properties));
    SecretKeyHolder secrets = new SecretKeyHolder() {
      @Override public String getSaslUser(String appId) { return "sparkSaslUser"; }

      @Override public String getSecretKey(String appId) { return secret; }
    };
    boolean mesos = "true".equals(properties.get("mesos"));
    if (mesos) { // another client: registering an executor closes the pooled connection that heartbeats use
      Class<?> type = Class.forName("org.apache.spark.network.shuffle.mesos.MesosExternalBlockStoreClient");
      ExternalBlockStoreClient driver = (ExternalBlockStoreClient) type
          .getConstructor(TransportConf.class, SecretKeyHolder.class, boolean.class, long.class)
          .newInstance(conf, secrets, !secret.isEmpty(), 5000L);
      driver.init(app);
      type.getMethod("registerDriverWithShuffleService", String.class, int.class, long.class, long.class).invoke(driver, host, port, 2000L, 100L);
    }
    ExternalBlockStoreClient client = new ExternalBlockStoreClient(conf, secrets, !secret.isEmpty(), 5000L);
    client.init(app);
    client.registerWithShuffleServer(host, port, "1", new ExecutorShuffleInfo(new String[] {dir}, 64, "org.apache.spark.shuffle.sort.SortShuffleManager"));
    CompletableFuture<Map<String, String[]>> dirs = new CompletableFuture<>();
    client.getHostLocalDirs(host, port, new String[] {"1"}, dirs);
    say("dirs " + String.join(",", dirs.get(10, TimeUnit.SECONDS).get("1")));
    fetch(client, host, port, "shuffle_0_0_0", "shuffle_0_0_1", "shuffle_0_1_0", "shuffle_0_0_2");
    fetch(client, host, port, "shuffle_0_0_0_3", "shuffle_0_1_0_1");
    fetch(client, host, port, "rdd_1_2");
    fetch(client, host, port, "rdd_7_7");
    fetch(client, host, port, "shuffle_5_0_0");
    say("cause " + client.diagnoseCorruption(host, port, "1", 0, 0L, 1, 1L, "ADLER32"));
    say("removed " + client.removeBlocks(host, port, "1", new String[] {"rdd_1_2", "rdd_8_8"}).get(10, TimeUnit.SECONDS));
    say("done");
    new BufferedReader(new InputStreamReader(System.in)).readLine();
    Runtime.getRuntime().halt(0);
  }

  /** Marks our lines: log4j writes to the same stream. */
  static void say(String line) { System.out.println("> " + line); }

  static void fetch(ExternalBlockStoreClient client, String host, int port, String... ids) throws Exception {
    CountDownLatch left = new CountDownLatch(ids.length);
    Map<String, String> results = new HashMap<>();
    client.fetchBlocks(host, port, "1", ids, new BlockFetchingListener() {
      @Override public void onBlockFetchSuccess(String id, ManagedBuffer data) {
        try {
          byte[] bytes = new byte[(int) data.size()];
          data.nioByteBuffer().get(bytes);
          put(id, bytes.length + " bytes " + Integer.toHexString(Arrays.hashCode(bytes)));
        } catch (Exception e) {
          put(id, "unreadable: " + e);
        }
      }

      @Override public void onBlockFetchFailure(String id, Throwable e) {
        put(id, "failed " + String.valueOf(e.getMessage()).split("\n")[0]);
      }

      private synchronized void put(String id, String what) {
        if (results.put(id, what) == null) left.countDown();
      }
    }, null);
    if (!left.await(30, TimeUnit.SECONDS)) say("timeout");
    for (String id : ids) say(id + " " + results.get(id));
  }
}
