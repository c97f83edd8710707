package launch

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

const (
	// secretsVariable carries secret properties to the command. Its name
	// starts with SPARK_ so that it is told apart from a submitter's own.
	secretsVariable = "SPARK_DISPATCHER_PROPERTIES"
	secretsFile     = ".spark-dispatcher.properties"
)

// writeSecrets returns the command that writes the secret properties into a
// file that only the driver's user can read. --properties-file makes
// spark-submit skip its spark-defaults.conf, so that file goes in first; of a
// key in both, the later line counts. A failure stops the launch.
func writeSecrets(f sparkForm) string {
	defaults := `"${SPARK_CONF_DIR:-` + f.home + `/conf}/spark-defaults.conf"`
	if strings.ContainsAny(f.home, `"'~`) {
		// Neither a quoted home nor ~ can stand inside the quotes of the expansion.
		defaults = f.home + "/conf/spark-defaults.conf"
	}
	return `(umask 077; { cat ` + defaults + ` 2>/dev/null; printf '\n%s\n' "$` + secretsVariable + `"; } > ` + f.file(secretsFile) + `) && `
}

// secretsText writes properties in the syntax of java.util.Properties, in
// ASCII; "" for none.
func secretsText(properties []KV) string {
	var b strings.Builder
	for _, p := range properties {
		writeProperty(&b, p.Key, true)
		b.WriteByte('=')
		writeProperty(&b, p.Value, false)
		b.WriteByte('\n')
	}
	return b.String()
}

func writeProperty(b *strings.Builder, text string, key bool) {
	for i, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\\', r == ' ' && (key || i == 0), key && (r == '=' || r == ':' || r == '#' || r == '!'):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r > '~':
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(b, `\u%04x`, unit)
			}
		default:
			b.WriteRune(r)
		}
	}
}
