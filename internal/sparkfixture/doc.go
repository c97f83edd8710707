// Package sparkfixture finds a real Apache Spark, or fetches it once into a
// cache, together with an application to run on it.
//
// Spark comes from PyPI: the source archive of pyspark carries bin/ and jars/
// (for 3.5.1 with the Mesos module), but no examples. The application is
// therefore compiled from src/hadispatcher/SparkPi.java, with the javac of the
// machine, against the jars. [Find] needs Python 3 with pip, PyPI, tar and a
// JDK from 17 on; what it cannot get it names in a fixture.UnavailableError.
// The first call downloads 317 MB (434 MB for Spark 4) and keeps about as much.
//
// For shell scripts, the command in cmd/sparkfixture prints the paths as JSON.
package sparkfixture
