package sparkconf

import (
	"errors"
	"strings"
)

// ErrUnclosedQuote says that JVM options end inside a quoted word.
var ErrUnclosedQuote = errors.New("a quote is not closed")

// JavaProperties returns the `spark.*` system properties that JVM options such
// as those in $SPARK_DAEMON_JAVA_OPTS define: -Dspark.key=value, or
// -Dspark.key for the empty text. Other options mean nothing here. Of a key
// that comes twice the last value counts, as in a JVM.
//
// Words are split as Spark's launcher does: at blanks, with single and double
// quotes anywhere in a word, and a backslash that takes the next character as
// it is, except inside single quotes. The error is ErrUnclosedQuote.
func JavaProperties(options string) (map[string]string, error) {
	words, err := splitOptions(options)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for _, word := range words {
		if rest, found := strings.CutPrefix(word, "-D"); found && strings.HasPrefix(rest, "spark.") {
			key, value, _ := strings.Cut(rest, "=")
			out[key] = value
		}
	}
	return out, nil
}

func splitOptions(text string) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		open  bool // a word has begun, maybe an empty quoted one
		quote byte
	)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			open = true
		case quote == c && quote != 0:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, open = c, true
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			if open {
				words = append(words, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, ErrUnclosedQuote
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
