package sparkconf

import "testing"

func TestPasswordsAndSignaturesOfURLsAreHidden(t *testing.T) {
	const hidden = RedactedText
	for text, want := range map[string]string{
		"":                    "",
		"no URL: a@b ? sig=x": "no URL: a@b ? sig=x",
		"http://h:80/p?x=a@b": "http://h:80/p?x=a@b",
		"hdfs://user@nn/p":    "hdfs://user@nn/p",
		"http://u:p@h/a?q=1":  "http://" + hidden + "@h/a?q=1",
		"http://:p@h/a":       "http://" + hidden + "@h/a",
		"http://u:p@ss@h/a":   "http://" + hidden + "@h/a",
		// a list, each of it
		"http://u:p@h/a,http://v:q@h/b,http://h:1/c": "http://" + hidden + "@h/a,http://" + hidden + "@h/b,http://h:1/c",
		// a command
		"curl -s https://u:p@h/x | sh": "curl -s https://" + hidden + "@h/x | sh",
		// links that are signed in advance
		"https://b/k?X-Amz-Credential=c&X-Amz-Date=d&X-Amz-Signature=s": "https://b/k?X-Amz-Credential=" + hidden + "&X-Amz-Date=d&X-Amz-Signature=" + hidden,
		"https://b/k?sv=1&sig=s%3D#f":                                   "https://b/k?sv=1&sig=" + hidden + "#f",
		"https://b/k?access_token=s,https://b/l?api-key=t":              "https://b/k?access_token=" + hidden + ",https://b/l?api-key=" + hidden,
		"https://b/k?monkey=1&signal=2":                                 "https://b/k?monkey=1&signal=2",
	} {
		got := RedactURL(text)
		if got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
		if again := RedactURL(got); again != got {
			t.Errorf("%q: %q when it is hidden again", got, again)
		}
	}
}
