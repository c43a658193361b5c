package config

// small is the declared memory up to which a JVM is made to start fast and stay
// small rather than to run long computations fast.
const small = 2048 * mib

// jvmFlags are the flags of every JVM, with those that open the parts of Java
// that Flink and its serializers reach into.
func jvmFlags(declared int64) []string {
	var flags []string
	for _, m := range []string{
		"java.rmi/sun.rmi.registry", "java.base/sun.net.util", "java.management/sun.management", "java.security.jgss/sun.security.krb5",
	} {
		flags = append(flags, "--add-exports="+m+"=ALL-UNNAMED")
	}
	for _, p := range []string{
		"java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
		"java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
	} {
		flags = append(flags, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	// A killed JVM would leave its perf data behind in the host's /tmp.
	flags = append(flags, "-XX:-UsePerfData", "-Dfile.encoding=UTF-8")
	if declared <= small {
		flags = append(flags, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
	}
	return flags
}

// log4j keeps at most six files of 10 MB of each start.
const log4j = `# Written by the agent for this run.
monitorInterval = 30
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
appender.file.name = file
appender.file.type = RollingFile
appender.file.append = true
appender.file.fileName = ${sys:log.file}
appender.file.filePattern = ${sys:log.file}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 5
logger.pekko.name = org.apache.pekko
logger.pekko.level = INFO
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF
`

// log4jConsole writes to the console: nothing but /tmp can be written to in a
// pod, and what a container prints is kept by its node. The error that a process
// ends of goes to its termination message as well: the causes without their
// frames, since a node keeps 4 KiB, and the end of the console's text is about how
// the process went down. It is appended to: class loaders of plugins have loggers
// of their own, and one that begins during the shutdown must not empty it.
const log4jConsole = `# Written by the agent for this run.
monitorInterval = 30
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.last.name = last
appender.last.type = File
appender.last.fileName = /dev/termination-log
appender.last.layout.type = PatternLayout
appender.last.layout.pattern = %m%n%xEx{full}{filters(java.,javax.,jdk.,sun.,com.,org.)}
logger.entrypoint.name = org.apache.flink.runtime.entrypoint.ClusterEntrypoint
logger.entrypoint.level = INFO
logger.entrypoint.appenderRef.last.ref = last
logger.entrypoint.appenderRef.last.level = ERROR
logger.taskmanager.name = org.apache.flink.runtime.taskexecutor.TaskManagerRunner
logger.taskmanager.level = INFO
logger.taskmanager.appenderRef.last.ref = last
logger.taskmanager.appenderRef.last.level = ERROR
logger.uncaught.name = org.apache.flink.util.FatalExitExceptionHandler
logger.uncaught.level = INFO
logger.uncaught.appenderRef.last.ref = last
logger.uncaught.appenderRef.last.level = ERROR
logger.pekko.name = org.apache.pekko
logger.pekko.level = INFO
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF
`
