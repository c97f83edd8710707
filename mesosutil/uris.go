package mesosutil

import (
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
)

// FetchURIs returns one fetcher entry for each URI, with blanks around it
// removed and blank URIs dropped. cache asks the fetcher to keep the file for
// later tasks on the agent. The other flags stay at Mesos's defaults: archives
// are unpacked.
func FetchURIs(uris []string, cache bool) []mesos.CommandInfo_URI {
	out := make([]mesos.CommandInfo_URI, 0, len(uris))
	for _, u := range uris {
		if u = strings.TrimSpace(u); u != "" {
			c := cache
			out = append(out, mesos.CommandInfo_URI{Value: u, Cache: &c})
		}
	}
	return out
}

// URIFileName returns the last segment of a URI or path, which is the name of
// the file in the sandbox. Slashes at the end do not count; it is "" when
// nothing else is there.
//
//	http://h/x/app.jar → app.jar
func URIFileName(uri string) string {
	uri = strings.TrimRight(uri, "/")
	return uri[strings.LastIndexByte(uri, '/')+1:]
}

// PackageBaseName returns the part of a Spark package's file name that Spark
// expects its unpacked directory to start with: the text up to the first dot.
//
//	s3a://b/spark-3.5.1-bin.tgz → spark-3
func PackageBaseName(uri string) string {
	base, _, _ := strings.Cut(URIFileName(uri), ".")
	return base
}

// EnterPackage returns the command that changes into the directory that a
// fetched Spark package unpacked to: `cd <base>*`. The base name is escaped, so
// that only the star is left to the shell.
func EnterPackage(uri string) string {
	return "cd " + ShellEscape(PackageBaseName(uri)) + "*"
}
