package main

import (
	"net/netip"
	"os"
	"strings"
)

// bareHost is --host without the brackets of an IPv6 address.
func bareHost(text string) (string, error) {
	host, bracketed := strings.CutPrefix(text, "[")
	if bracketed {
		inner, closed := strings.CutSuffix(host, "]")
		if ip, err := netip.ParseAddr(inner); closed && err == nil && ip.Is6() {
			return inner, nil
		}
	}
	if bracketed || text == "" || strings.ContainsAny(text, ":]/ ") {
		return "", usageError("--host %s: a bare host is wanted, without a port; an IPv6 address in brackets", text)
	}
	return text, nil
}

// publicHost is what others call this host: the name that was given, else the
// host that it listens on, or its name where that is every address.
func publicHost(given, host string) (string, error) {
	if given == "" && !isUnspecified(host) {
		return host, nil
	}
	if given == "" {
		name, err := os.Hostname()
		if err != nil {
			return "", usageError("--host %s says nothing that others can reach, and the host's name is not known (%v): give --public-host", host, err)
		}
		return name, nil
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(given, "["), "]")
	if _, err := netip.ParseAddr(inner); err == nil {
		return inner, nil
	}
	if strings.ContainsAny(given, ":[]/ ") {
		return "", usageError("public host %s: a name or an address is wanted, without a port", given)
	}
	return given, nil
}

func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func parseNetworks(flag string, texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return nil, usageError("%s %s: a network such as 10.1.0.0/16 is wanted", flag, t)
		}
		out = append(out, p)
	}
	return out, nil
}
