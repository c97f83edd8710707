package auth

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secrets(appID string) (string, bool) {
	return map[string]string{"app": "secret", "appId": "secret", "other": "different"}[appID], appID != "unknown"
}

func TestDigestMatchesJava(t *testing.T) {
	tests := []struct{ name, nonce, cnonce, qop, response, proof string }{
		{"auth", "dIJhaRgqPAIHsRiXYnmhyd+DqlwSmLpoajNYkTQL", "L+x4JekzodK76tsXwRYQC9Prj4AfaB1c24x/hMVI", "auth",
			"ec04485206e6d66388568338eb2b0b0c", "1e952e9f746b3cdbc34d4663fbf0692f"},
		{"auth-conf", "iAGorp37kxpYklW3WQV7Hv2c4HhyiGYR7GvurfWi", "XKBLkzhB3V2los+Vp7fmlB7QIsLN42KhsO5aZ5Is", "auth-conf",
			"aad7ba97b62f6a18d444ae4420f1938a", "ac16c8b7e943d8312109e23dcd39da3d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := digest{secret: "secret", nonce: tt.nonce, cnonce: tt.cnonce, qop: tt.qop}
			if got := d.response("AUTHENTICATE"); got != tt.response {
				t.Errorf("response %s, Java gives %s", got, tt.response)
			}
			if got := d.response(""); got != tt.proof {
				t.Errorf("rspauth %s, Java gives %s", got, tt.proof)
			}
		})
	}
}

func TestSASLTokenMatchesJava(t *testing.T) {
	d := digest{secret: "secret", nonce: "iAGorp37kxpYklW3WQV7Hv2c4HhyiGYR7GvurfWi", cnonce: "XKBLkzhB3V2los+Vp7fmlB7QIsLN42KhsO5aZ5Is", qop: qopConf}
	got := newSASLChannel(d.a1(), false, 0).Seal([]byte("hello"))
	want := append(binary.BigEndian.AppendUint64(nil, 8+22), unhex(t, "01b8aae724784f2641fc339d5ed04e40000100000000")...)
	if !bytes.Equal(got, want) {
		t.Fatalf("token %x, Java gives %x", got, want)
	}
	plain := make([]byte, 5)
	if _, err := io.ReadFull(newSASLChannel(d.a1(), true, 0).Reader(bytes.NewReader(want)), plain); err != nil || string(plain) != "hello" {
		t.Fatalf("opened as %q, %v", plain, err)
	}
}

func TestEngineMatchesSpark(t *testing.T) {
	challenge := unhex(t, "fb00000005617070496400000010057d07daf157155c362aeba1ec46c8650000003cfa859dc85b04c84e3e433acd5b211c91996d9ef1cbda039e9e5bf247ee9a0db0715f3b31ec8d2e66b440dc3011c712b03468eef188ed3eb27e5b55ae")
	response := unhex(t, "fb00000005617070496400000010f67f8161ea639de40d0337357c95bb9a0000003c0426a81821288ad7d96ce34c8abb605b79e9491260110f76318bca74271f240179b522cebbdd5c9826cc437e171df393d87273da163f653efa4e8df4")
	m, ok := parseAuthMessage(challenge)
	if !ok || m.appID != "appId" {
		t.Fatalf("challenge parsed as %+v, %v", m, ok)
	}
	if !bytes.Equal(m.encode(), challenge) {
		t.Error("challenge does not survive a round trip")
	}
	client, err := m.open("secret", nil)
	if err != nil || !bytes.Equal(client.Bytes(), unhex(t, "1f2aef4f3ae6946594bde153cd0639ea8610d190b55f8b6d49a909949c392d58")) {
		t.Fatalf("client's public key: %v", err)
	}
	if _, err := m.open("guess", nil); err == nil {
		t.Error("challenge opens with a wrong secret")
	}
	r, _ := parseAuthMessage(response)
	server, err := r.open("secret", challenge)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdh.X25519().NewPrivateKey(unhex(t, "2f2960384862002fd8059f24b25286139a0772fd025a290cef62aab465f6919a"))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := private.ECDH(server)
	if err != nil {
		t.Fatal(err)
	}
	transcript := append(bytes.Clone(challenge), response...)
	v1, v2 := engineKeys(shared, transcript, 1), engineKeys(shared, transcript, 2)
	for name, pair := range map[string][2]string{
		"v1 key":          {hex.EncodeToString(v1.key), "36e1cd00d344ee177e7a0ad4764c40022955e9356b2e753c21e45d5f699a0d49"},
		"v2 key":          {hex.EncodeToString(v2.key), "5d4838e879f127d6663e5f75a4792f9b"},
		"server's stream": {hex.EncodeToString(v1.toPeer), "2a64d2c47cd75f5fe79bd63915c74a09"},
		"client's stream": {hex.EncodeToString(v1.toServer), "d21b152c79b032c066c5123974ecf555"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %s, Spark's %s", name, pair[0], pair[1])
		}
	}
	c := v1.channel(AESCTR, false)
	if got := append(bytes.Clone(c.Seal([]byte("hello"))), c.Seal([]byte("world"))...); hex.EncodeToString(got) != "30e9ce089633d41c7531" {
		t.Errorf("stream encrypts to %x", got)
	}
}

func TestHandshakesOpenAChannel(t *testing.T) {
	tests := []struct {
		name      string
		server    Config
		client    Client
		mechanism string
	}{
		{"SASL", Config{}, Client{}, "sasl"},
		{"SASL encrypted", Config{MaxEncryptedBlock: 100}, Client{Encrypt: true}, "sasl-conf"},
		{"SASL encrypted on demand of the server", Config{AlwaysEncrypt: true}, Client{Encrypt: true}, "sasl-conf"},
		{"SASL as fallback", Config{Crypto: true, SASLFallback: true}, Client{}, "sasl"},
		{"engine 1", Config{Crypto: true}, Client{Engine: true, EngineVersion: 1}, "engine-v1"},
		{"engine 2", Config{Crypto: true, EngineVersion: 2}, Client{Engine: true, EngineVersion: 2}, "engine-v2"},
		{"engine 1 with GCM", Config{Crypto: true, Cipher: AESGCM}, Client{Engine: true, EngineVersion: 1, Cipher: AESGCM}, "engine-v1"},
		{"engine 2 with GCM", Config{Crypto: true, Cipher: AESGCM, EngineVersion: 2}, Client{Engine: true, EngineVersion: 2, Cipher: AESGCM}, "engine-v2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Secrets = secrets
			tt.client.AppID, tt.client.Secret = "app", "secret"
			if err := tt.server.Validate(); err != nil {
				t.Fatal(err)
			}
			h := NewHandshake(&tt.server)
			channel, err := tt.client.Run(h.Receive)
			if err != nil {
				t.Fatal(err)
			}
			s := h.Session()
			if s == nil || s.AppID != "app" || s.Mechanism != tt.mechanism {
				t.Fatalf("session %+v, want app by %s", s, tt.mechanism)
			}
			if (channel == nil) != (s.Channel == nil) {
				t.Fatalf("encrypted on one side only: client %v, server %v", channel, s.Channel)
			}
			if channel != nil {
				talk(t, channel, s.Channel)
				talk(t, s.Channel, channel)
			}
		})
	}
}

// talk sends messages of awkward sizes one way and checks what comes out.
func talk(t *testing.T, from, to Channel) {
	t.Helper()
	var sent, sealed bytes.Buffer
	for _, n := range []int{1, 5, 0, 8, 99, 100, 101, gcmSegment - 1, gcmSegment, gcmSegment + 1, 200_000} {
		msg := bytes.Repeat([]byte{byte(n)}, n)
		sent.Write(msg)
		sealed.Write(from.Seal(msg))
	}
	got, err := io.ReadAll(to.Reader(iotest.HalfReader(&sealed)))
	if err != nil || !bytes.Equal(got, sent.Bytes()) {
		t.Fatalf("%d of %d bytes arrived, equal %v: %v", len(got), sent.Len(), bytes.Equal(got, sent.Bytes()), err)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	ok := Client{AppID: "app", Secret: "secret"}
	tests := []struct {
		name   string
		server Config
		client Client
		text   string
		fatal  bool
	}{
		{"wrong secret, SASL", Config{}, Client{AppID: "app", Secret: "guess"}, "Authentication failed.", true},
		{"unknown application, SASL", Config{}, Client{AppID: "unknown", Secret: ""}, "Authentication failed.", true},
		{"wrong secret, engine", Config{Crypto: true}, Client{AppID: "app", Secret: "guess", Engine: true}, "Authentication failed.", true},
		{"another application's secret", Config{Crypto: true}, Client{AppID: "other", Secret: "secret", Engine: true}, "Authentication failed.", true},
		{"unknown application, engine", Config{Crypto: true}, Client{AppID: "unknown", Engine: true}, "Authentication failed.", true},
		{"no encryption where it is demanded", Config{AlwaysEncrypt: true}, ok, "demands encryption", true},
		{"SASL without fallback", Config{Crypto: true}, ok, "Unknown challenge message.", true},
		{"engine where only SASL is on", Config{}, Client{AppID: "app", Secret: "secret", Engine: true}, "Expected SaslMessage", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Secrets = secrets
			h := NewHandshake(&tt.server)
			_, err := tt.client.Run(h.Receive)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Text, tt.text) || e.Fatal != tt.fatal {
				t.Fatalf("got %#v, want %q, fatal %v", err, tt.text, tt.fatal)
			}
			if h.Session() != nil {
				t.Fatal("session in spite of the refusal")
			}
		})
	}
}

func TestSASLResponseCannotBeReplayed(t *testing.T) {
	var taped []byte
	cfg := &Config{Secrets: secrets}
	h := NewHandshake(cfg)
	_, err := Client{AppID: "app", Secret: "secret"}.Run(func(p []byte) ([]byte, error) {
		taped = bytes.Clone(p)
		return h.Receive(p)
	})
	if err != nil {
		t.Fatal(err)
	}
	second := NewHandshake(cfg)
	if _, err := second.Receive(encodeSASL("app", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Receive(taped); err == nil || second.Session() != nil {
		t.Fatal("a response recorded from another connection was accepted")
	}
}

func TestLegacyHandshake(t *testing.T) {
	h := NewHandshake(&Config{Secrets: secrets, Crypto: true, Legacy: true})
	m := legacyChallenge{appID: "app", kdf: legacyKDF, iterations: 1024, cipher: AESCTR, keyBits: 128, nonce: random(16)}
	key, err := m.key("secret", m.nonce)
	if err != nil {
		t.Fatal(err)
	}
	in, out := m.streams(key)
	c := random(16)
	m.challenge = []byte("app" + string(m.nonce) + string(c))
	out.XORKeyStream(m.challenge, m.challenge)
	reply, err := h.Receive(m.encode())
	if err != nil {
		t.Fatal(err)
	}
	f := fields{p: reply[1:], ok: true}
	parts := [][]byte{f.bytes(), f.bytes(), f.bytes(), f.bytes()}
	if reply[0] != tagChallenge || !f.ok || len(f.p) != 0 {
		t.Fatalf("reply %x", reply)
	}
	for _, p := range parts {
		in.XORKeyStream(p, p)
	}
	if want := "app" + string(m.nonce) + string(plusOne(c)); string(parts[0]) != want {
		t.Fatalf("answer %x, want %x", parts[0], want)
	}
	sessionKey, err := m.key("secret", parts[1])
	if err != nil {
		t.Fatal(err)
	}
	client := &ctrChannel{in: mustCTR(sessionKey, parts[2]), out: mustCTR(sessionKey, parts[3])}
	talk(t, client, h.Session().Channel)
	talk(t, h.Session().Channel, client)

	t.Run("refuses costly iterations", func(t *testing.T) {
		m.iterations = 1 << 30
		if _, err := NewHandshake(h.cfg).Receive(m.encode()); err == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("refuses a wrong secret", func(t *testing.T) {
		m.appID, m.iterations = "other", 1024
		if _, err := NewHandshake(h.cfg).Receive(m.encode()); err != errUnauthenticated {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("can be switched off", func(t *testing.T) {
		if _, err := NewHandshake(&Config{Secrets: secrets, Crypto: true}).Receive(m.encode()); err != errUnknown {
			t.Fatalf("got %v", err)
		}
	})
}

func TestPlusOneIsJavas(t *testing.T) {
	for in, want := range map[string]string{
		"00": "01", "01": "02", "7f": "0080", "ff": "00", "fe": "ff", "80": "81", "00ff": "0100", "0000ff": "0100",
		"7fffffffffffffffffffffffffffffff": "0080000000000000000000000000000000", "ff7f": "80", "ff7e": "ff7f", "8000": "8001",
	} {
		if got := hex.EncodeToString(plusOne(unhex(t, in))); got != want {
			t.Errorf("%s + 1 = %s, want %s", in, got, want)
		}
	}
}

func TestTamperingIsNoticed(t *testing.T) {
	sasl := func(server bool) Channel {
		return newSASLChannel(digest{secret: "s", nonce: "n", cnonce: "c", qop: qopConf}.a1(), server, 0)
	}
	gcm := func(bool) Channel { return &gcmChannel{key: make([]byte, 32)} }
	for name, make := range map[string]func(bool) Channel{"sasl": sasl, "gcm": gcm} {
		t.Run(name, func(t *testing.T) {
			clean := bytes.Clone(make(false).Seal([]byte("a message of some length")))
			for i := range clean {
				bad := bytes.Clone(clean)
				bad[i] ^= 1
				got, err := io.ReadAll(make(true).Reader(bytes.NewReader(bad)))
				if err == nil || len(got) > 0 {
					t.Fatalf("byte %d flipped, read %q, %v", i, got, err)
				}
			}
			if got, err := io.ReadAll(make(true).Reader(bytes.NewReader(clean[:len(clean)-1]))); err == nil || len(got) > 0 {
				t.Fatalf("cut short, read %q, %v", got, err)
			}
		})
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add(encodeSASL("app", nil), encodeSASL("app", []byte(`charset=utf-8,username="x\"y",nc=00000001`)))
	f.Add(sealAuthMessage("app", "secret", nil, mustKey()).encode(), []byte{tagLegacy})
	f.Add(legacyChallenge{appID: "app", kdf: legacyKDF, iterations: 1, cipher: AESCTR, keyBits: 128, nonce: []byte{1}, challenge: []byte("123456")}.encode(), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		h := NewHandshake(&Config{Secrets: secrets, Crypto: true, SASLFallback: true, Legacy: true})
		if len(first) > 0 && first[0] == tagLegacy {
			if m, ok := parseLegacyChallenge(first); ok && m.iterations > 100 {
				return // slow by design
			}
		}
		for _, p := range [][]byte{first, second} {
			_, err := h.Receive(p)
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("untyped error %v", err)
			}
		}
	})
}

func mustKey() *ecdh.PublicKey {
	k, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	return k.PublicKey()
}

func FuzzChannelReaders(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 30}, true)
	f.Add((&gcmChannel{key: make([]byte, 16)}).Seal([]byte("x")), false)
	f.Fuzz(func(t *testing.T, p []byte, sasl bool) {
		var c Channel = &gcmChannel{key: make([]byte, 16)}
		if sasl {
			c = newSASLChannel([16]byte{}, true, 0)
		}
		io.Copy(io.Discard, c.Reader(bytes.NewReader(p)))
	})
}
