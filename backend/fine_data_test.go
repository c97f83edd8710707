package backend

import (
	"encoding/hex"
	"strings"
	"testing"
)

// The bytes of a real ObjectOutputStream, with the Tuple2 of Scala 2.12.18.
func TestPropertiesAreSerialisedAsJavaDoes(t *testing.T) {
	const want = "aced00057572000f5b4c7363616c612e5475706c65323b2ecc00dfd14fd7c00200007870000000027372000c7363616c612e5475706c65322e94667d5b92f9f50200024c00025f317400124c6a6176612f6c616e672f4f626a6563743b4c00025f3271007e000378707400026b3174000276317371007e00027400026b3274000376c3bc"
	if got := hex.EncodeToString(javaPairs(map[string]string{"k2": "vü", "k1": "v1"})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTextsOfJava(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "740000"}, {"\x00", "740002c080"}, {"€", "740003e282ac"}, {"😀", "740006eda0bdedb880"},
	} {
		if got := hex.EncodeToString(javaValue(nil, c.text)); got != c.want {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
	if got := javaValue(nil, strings.Repeat("x", 70000)); got[0] != javaLongString || len(got) != 9+70000 {
		t.Errorf("a long text starts with %x", got[:9])
	}
}
