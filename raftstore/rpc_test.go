package raftstore_test

import (
	"net"
	"net/rpc"
	"testing"

	"github.com/ha-dispatcher/ha-dispatcher/raftstore/internal/wire"
)

// callRPC speaks to a node's port as another node would.
func callRPC(t *testing.T, addr, method string, q wire.Request) wire.Reply {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	// Kind, protocol version, who dials, whom (anybody).
	if _, err := conn.Write([]byte{'C', 1, 4, 't', 'e', 's', 't', 0}); err != nil {
		t.Fatal(err)
	}
	client := rpc.NewClient(conn)
	defer client.Close()
	var r wire.Reply
	if err := client.Call(method, &q, &r); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return r
}
