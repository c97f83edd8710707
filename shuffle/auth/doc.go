// Package auth is the server's side of the two ways in which Spark's network
// module authenticates a connection, and the encryption that may follow:
//
//   - SASL DIGEST-MD5 (spark.authenticate), with or without the auth-conf
//     encryption of RFC 2831, here with 3DES, the cipher that Java's client
//     picks. Obsolete cryptography; it is what Spark does by default.
//   - Spark's own AuthEngine (spark.network.crypto.enabled): the
//     forward-secure X25519 handshake of Spark 3.1.3/3.2.0 and later, with both
//     key derivations ("engine versions" 1 and 2), and the challenge protocol
//     of 2.2.0 to 3.1.2, followed by AES-CTR or, with clients of 3.4.4, 3.5.2 and
//     4.0.0 on, AES-GCM.
//
// A [Handshake] is fed the bodies of a connection's first RPCs and says what to
// answer; when it is done, its [Session] names the application that the
// connection belongs to, and the [Channel] that encrypts it, if any. The
// package does no I/O. [Client] is the other side, for tests and tools.
//
// A wrong secret and an unknown application fail alike, so that nobody can
// probe for application ids.
package auth
