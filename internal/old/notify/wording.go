package notify

import (
	_ "embed" // for the files of words
	"strings"
	"sync"
)

// The files of words: what all channels say, and each channel's form. text/template
// would do the same, and keeps the linker from leaving out what is not used: the
// function's zip would have two and a half times its size.
var (
	//go:embed wording/sentences.txt
	sentencesFile string
	//go:embed wording/slack.txt
	slackFile string
	//go:embed wording/opsgenie.txt
	opsgenieFile string
	//go:embed wording/sns.txt
	snsFile string

	sentences     = wordsOf(sentencesFile)
	slackWords    = wordsOf(slackFile)
	opsgenieWords = wordsOf(opsgenieFile)
	snsWords      = wordsOf(snsFile)
)

// wordlist returns texts by their keys, which are read when they are needed.
type wordlist func() map[string]string

func wordsOf(file string) wordlist {
	return sync.OnceValue(func() map[string]string { return parseWords(file) })
}

// parseWords reads a file of words. What it does not understand it leaves out: a
// page is worth more than a sentence of it. The tests are strict instead.
func parseWords(file string) map[string]string {
	words := map[string]string{}
	block := ""
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\r\n")
		if inner, indented := strings.CutPrefix(line, "  "); block != "" && (indented || line == "") {
			words[block] += inner + "\n"
			continue
		}
		block = ""
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, text, found := strings.Cut(line, " =")
		switch {
		case !found:
		case text == "":
			block = key
		default:
			words[key] = strings.TrimSpace(text)
		}
	}
	for key, text := range words {
		words[key] = strings.TrimRight(text, "\n")
	}
	return words
}

// say returns the text of a key with its placeholders filled: values are pairs of a
// name and a value. Without a value nothing stands there, and no space too many.
func (w wordlist) say(key string, values ...string) string {
	text, _, _ := fill(w()[key], values)
	return strings.TrimSpace(text)
}

// fill puts values, which are pairs of a name and a value, into the placeholders of
// a text, and counts the placeholders and those that got a value. No value is read
// for placeholders. An empty one takes the space before it along.
func fill(text string, values []string) (filled string, placeholders, got int) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), placeholders, got
		}
		name, after, _ := strings.Cut(rest, "}")
		placeholders++
		value := valueOf(name, values)
		if value == "" {
			so := strings.TrimSuffix(b.String(), " ")
			b.Reset()
			b.WriteString(so)
		} else {
			got++
		}
		b.WriteString(value)
		text = after
	}
}

func valueOf(name string, values []string) string {
	for i := 0; i+1 < len(values); i += 2 {
		if values[i] == name {
			return values[i+1]
		}
	}
	return ""
}

// lay returns the lines of a block. A line whose values are all empty is left out,
// and so is a paragraph that has values and got none.
func (w wordlist) lay(key string, values ...string) []string {
	var lines, paragraph []string
	placeholders, got := 0, 0
	flush := func() {
		if len(paragraph) > 0 && (placeholders == 0 || got > 0) {
			if len(lines) > 0 {
				lines = append(lines, "")
			}
			lines = append(lines, paragraph...)
		}
		paragraph, placeholders, got = nil, 0, 0
	}
	for line := range strings.SplitSeq(w()[key], "\n") {
		if line == "" {
			flush()
			continue
		}
		text, p, g := fill(line, values)
		placeholders, got = placeholders+p, got+g
		if p == 0 || g > 0 {
			paragraph = append(paragraph, strings.Split(text, "\n")...)
		}
	}
	flush()
	return lines
}
