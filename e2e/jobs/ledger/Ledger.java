package dev.waterwheel.e2e;

import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringEncoder;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.core.fs.Path;
import org.apache.flink.metrics.Counter;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.filesystem.bucketassigners.BasePathBucketAssigner;
import org.apache.flink.streaming.api.functions.sink.filesystem.rollingpolicies.OnCheckpointRollingPolicy;
import org.apache.flink.util.Collector;

/**
 * A job whose output proves what happened to its state. The numbers 0, 1, 2, … are dealt to keys in
 * turn; each key counts what it got and writes a line "key,count,n" for it. While source, counts and
 * files are of one and the same snapshot, n == count * keys + key holds on every line and every
 * number is there once. A count that does not fit is written as it is, for the checker to find.
 *
 * Arguments, each with a value unless noted: --out DIR, or --print (no value); --rate per second;
 * --keys; --n: end after so many; --fault none|throw-once|throw-always|fail-main|oom|slow|no-job|
 * two-jobs, from number --fault-at on; --marker FILE: tells throw-once that it is done; --snapshot-ms:
 * time each snapshot takes; --pad: bytes of extra state per key; --uid and --max-parallelism.
 */
public final class Ledger {
  private static final List<String> KNOWN = Arrays.asList("out", "rate", "keys", "n", "fault", "fault-at", "marker",
      "snapshot-ms", "pad", "uid", "max-parallelism");
  private static final List<String> FAULTS = Arrays.asList("none", "throw-once", "throw-always", "fail-main", "oom",
      "slow", "no-job", "two-jobs");

  public static void main(String[] argv) throws Exception {
    Map<String, String> args = parse(argv);
    String fault = args.getOrDefault("fault", "none");
    if (fault.equals("fail-main")) throw new IllegalStateException("main fails as it was told to");
    if (fault.equals("no-job")) return;

    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    if (args.containsKey("max-parallelism")) env.setMaxParallelism((int) number(args, "max-parallelism", 0));
    ledger(env, args);
    env.execute("ledger");
    if (fault.equals("two-jobs")) {
      ledger(env, args);
      env.execute("ledger-two");
    }
  }

  private static void ledger(StreamExecutionEnvironment env, Map<String, String> args) {
    long n = number(args, "n", 0);
    long keys = number(args, "keys", 10);
    GeneratorFunction<Long, Long> same = i -> i;
    DataStream<String> lines = env
        .fromSource(new DataGeneratorSource<>(same, n > 0 ? n : Long.MAX_VALUE,
            RateLimiterStrategy.perSecond(number(args, "rate", 100)), Types.LONG),
            WatermarkStrategy.noWatermarks(), "numbers")
        .setParallelism(1).uid("numbers")
        .keyBy(i -> i % keys, Types.LONG)
        .process(new Count(keys, args)).name("count").uid(args.getOrDefault("uid", "count"));
    if (args.containsKey("print")) lines.print().name("print").uid("print");
    else lines.sinkTo(FileSink.forRowFormat(new Path(args.get("out")), new SimpleStringEncoder<String>())
        .withBucketAssigner(new BasePathBucketAssigner<>())
        .withRollingPolicy(OnCheckpointRollingPolicy.build())
        .build()).name("files").uid("files");
  }

  private static Map<String, String> parse(String[] argv) {
    Map<String, String> args = new HashMap<>();
    for (int i = 0; i < argv.length; i++) {
      String name = argv[i].startsWith("--") ? argv[i].substring(2) : "";
      if (name.equals("print")) args.put(name, "");
      else if (!KNOWN.contains(name)) throw new IllegalArgumentException("unknown argument " + argv[i]);
      else if (++i == argv.length) throw new IllegalArgumentException("no value for --" + name);
      else args.put(name, argv[i]);
    }
    String fault = args.getOrDefault("fault", "none");
    if (!FAULTS.contains(fault)) throw new IllegalArgumentException("--fault is none of " + FAULTS + ": " + fault);
    if (fault.equals("throw-once") && !args.containsKey("marker")) throw new IllegalArgumentException("throw-once needs --marker");
    if (!args.containsKey("out") && !args.containsKey("print")) throw new IllegalArgumentException("--out DIR or --print is needed");
    return args;
  }

  private static long number(Map<String, String> args, String name, long otherwise) {
    return args.containsKey(name) ? Long.parseLong(args.get(name)) : otherwise;
  }

  private static final class Count extends KeyedProcessFunction<Long, Long, String> implements CheckpointedFunction {
    private static final List<byte[]> HOARD = new ArrayList<>();
    private final long keys, faultAt, snapshotMs;
    private final int pad;
    private final String fault, marker;
    private transient ValueState<Long> count;
    private transient ValueState<byte[]> padding;
    private transient Counter violations;

    Count(long keys, Map<String, String> args) {
      this.keys = keys;
      fault = args.getOrDefault("fault", "none");
      faultAt = number(args, "fault-at", 0);
      marker = args.get("marker");
      snapshotMs = number(args, "snapshot-ms", 0);
      pad = (int) number(args, "pad", 0);
    }

    @Override public void initializeState(FunctionInitializationContext context) throws Exception {
      count = context.getKeyedStateStore().getState(new ValueStateDescriptor<>("count", Types.LONG));
      padding = context.getKeyedStateStore().getState(
          new ValueStateDescriptor<>("padding", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
      violations = getRuntimeContext().getMetricGroup().counter("violations");
    }

    @Override public void snapshotState(FunctionSnapshotContext context) throws Exception {
      if (snapshotMs > 0) Thread.sleep(snapshotMs);
    }

    @Override public void processElement(Long n, Context context, Collector<String> lines) throws Exception {
      if (n >= faultAt) misbehave(n);
      long key = context.getCurrentKey();
      long seen = count.value() == null ? 0 : count.value();
      if (n != seen * keys + key) violations.inc();
      count.update(seen + 1);
      if (pad > 0) padding.update(new byte[pad]);
      lines.collect(key + "," + seen + "," + n);
    }

    private void misbehave(long n) throws Exception {
      boolean once = fault.equals("throw-once") && new File(marker).createNewFile();
      if (once || fault.equals("throw-always")) throw new IllegalStateException("number " + n + " throws as it was told to");
      if (fault.equals("slow")) Thread.sleep(20);
      while (fault.equals("oom")) HOARD.add(new byte[1 << 20]);
    }
  }
}
