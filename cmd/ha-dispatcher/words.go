package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// strictWords makes every verb end with exitUsage, and say what it wants, where
// its words are too few, too many, or none of its verbs. Cobra by itself ends
// with the code of a request that failed, and prints help for a verb that is none.
func strictWords(c *cobra.Command) {
	if c.HasSubCommands() && c.RunE == nil {
		c.Args = cobra.ArbitraryArgs
		c.DisableFlagsInUseLine = true
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownVerb(c, args[0])
		}
	} else if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			switch {
			case err == nil:
				return nil
			case c.HasSubCommands() && len(args) > 0:
				return unknownVerb(c, args[0])
			case c.Name() == "serve": // has Spark's words
				return err
			}
			return usageError("%v\nUsage: %s\nSee '%s --help'", err, c.UseLine(), c.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		strictWords(sub)
	}
}

func unknownVerb(c *cobra.Command, word string) error {
	text := fmt.Sprintf("unknown command %q for %q", word, c.CommandPath())
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if like := c.SuggestionsFor(word); len(like) > 0 {
		text += "; is '" + strings.Join(like, "' or '") + "' meant?"
	}
	return usageError("%s\nSee '%s --help'", text, c.CommandPath())
}

// pair splits KEY=VALUE of an option. The value may be empty, the key may not.
func pair(option, text, form string) (key, value string, err error) {
	key, value, found := strings.Cut(text, "=")
	if !found || key == "" {
		return "", "", usageError("%s %s: %s is wanted", option, text, form)
	}
	return key, value, nil
}

// plain is text of somebody else's (a name, a reason) for a terminal: line
// breaks and escape sequences could forge rows or drive the terminal.
func plain(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}
