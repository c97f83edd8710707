// Package zkconn opens sessions with ZooKeeper that end when they should.
//
// The client library reconnects for ever, in goroutines of its own, and waits
// long on a server that accepts a connection and says nothing. [Dial] bounds
// that: it returns a connection with a session or an error, and when its
// context ends or [Conn.Close] is called, every request returns and every
// goroutine is gone. Only this package imports the library.
package zkconn
