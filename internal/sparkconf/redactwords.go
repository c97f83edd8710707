package sparkconf

import (
	"regexp"
	"strings"
)

// RedactWords hides secrets in a command line: the value of key=value, -Dkey=value
// and --key=value, the word behind an option --key, and what RedactURL hides.
// A word that is secret by itself is hidden whole.
func RedactWords(pattern *regexp.Regexp, words []string) []string {
	out := make([]string, 0, len(words))
	secretNext := false
	for _, word := range words {
		word = RedactURL(word) // before the = of its query is taken for an assignment
		option := strings.HasPrefix(word, "-")
		key, value, assigned := strings.Cut(word, "=")
		switch {
		case secretNext && !option:
			out = append(out, RedactedText)
		case assigned:
			out = append(out, key+"="+RedactURL(RedactValue(pattern, key, value)))
		case option:
			out = append(out, word)
		default:
			out = append(out, RedactValue(pattern, "", word))
		}
		secretNext = option && !assigned && RedactValue(pattern, word, "") != ""
	}
	return out
}

// urlPassword is the user and password of a URL anywhere in a text, urlSignature
// a parameter of its query that lets in whoever has it, as of links that are
// signed in advance (S3, GCS, Azure).
var (
	urlPassword  = regexp.MustCompile(`://[^\s/?#@:,"']*:[^\s/?#]*@`)
	urlSignature = regexp.MustCompile(`(?i)([?&](?:sig|key|auth|[\w.-]*(?:signature|credential|secret|password|token|api[_-]?key|access[._-]?key)[\w.-]*)=)[^\s&#,;"']+`)
)

// RedactURL hides the passwords and the signatures of all URLs in text, which
// may be one URL, a list, a command or a message.
func RedactURL(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	if strings.Contains(text, "@") {
		text = urlPassword.ReplaceAllLiteralString(text, "://"+RedactedText+"@")
	}
	if strings.Contains(text, "?") {
		text = urlSignature.ReplaceAllString(text, "${1}"+RedactedText)
	}
	return text
}
