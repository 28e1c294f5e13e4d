// Writes tests/vectors/commands.jsonl: messages, drawn from a seed, and how Go reads each as a command.
// scripts/command-vectors runs it.
//
// A line is {"message": its bytes as the characters U+0000 to U+00FF, "go": what encoding/json reads, "roadrunner": what
// goccy/go-json, RoadRunner's reader, reads, where that differs}. null: it is no command. A missing list of topics is null, too.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"strings"

	goccy "github.com/goccy/go-json"
)

// The fields that RoadRunner's executor looks at. Not `payload`, which it decodes as Base64 and then ignores.
type command struct {
	Command string   `json:"command"`
	Topics  []string `json:"topics"`
}

type vector struct {
	Message    string   `json:"message"`
	Go         *command `json:"go"`
	RoadRunner any      `json:"roadrunner,omitempty"`
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	random := rand.New(rand.NewSource(20261128))
	messages := append([]string{}, picked...)
	for len(messages) < 2500 {
		messages = append(messages, message(random))
	}
	for _, message := range messages {
		if quirk(message) {
			continue
		}
		line := vector{Message: characters(message), Go: read(json.Unmarshal, message)}
		if other := read(goccy.Unmarshal, message); !reflect.DeepEqual(other, line.Go) {
			if other == nil {
				line.RoadRunner = "refused"
			} else {
				line.RoadRunner = other
			}
		}
		text, err := json.Marshal(line)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s\n", text)
	}
}

func read(unmarshal func([]byte, any) error, message string) (read *command) {
	defer func() {
		if recover() != nil {
			read = nil
		}
	}()
	read = &command{}
	if unmarshal([]byte(message), read) != nil {
		return nil
	}
	// A string of goccy's may hold bytes that are not UTF-8, which it replaces when it writes them.
	read.Command = strings.ToValidUTF8(each(read.Command), "")
	for place, topic := range read.Topics {
		read.Topics[place] = each(topic)
	}
	return read
}

// One U+FFFD for each byte that is not part of UTF-8, as both write it.
func each(text string) string {
	return string([]rune(text))
}

// Bytes as the characters U+0000 to U+00FF.
func characters(message string) string {
	var text strings.Builder
	for place := 0; place < len(message); place++ {
		text.WriteRune(rune(message[place]))
	}
	return text.String()
}

// Whether null stands in a field that is given twice: Go leaves there what was there before, which nobody means.
func quirk(message string) bool {
	return strings.Contains(message, "null") &&
		(strings.Count(strings.ToLower(message), "\"command\"") > 1 || strings.Count(strings.ToLower(message), "\"top") > 1)
}

var picked = []string{
	`{"command":"join","topics":["room \ud83d"]}`,
	`{"command":"join","topics":["a"],"x":"\ud83d"}`,
	`{"command":"join","topics":["\ude00\ud83d\ud83d\ude00x","\ud83d\n","\ud83d\u0041"]}`,
	"{\"command\":\"join\",\"topics\":[\"a\xff\xed\xa0\x80b\",\"\xe2\x82\\u00e9\xf0\x9f\x9a\"]}",
	"{\"command\":\"join\",\"topics\":[\"a\"],\"\xff\":\"\xff\"}",
	`{"command":"join","topics":[""]}`,
	`{"command":"join","topics":[null,"a"]}`,
	`{"command":"join","topics":[]}`,
	`{"command":"join","topics":null}`,
	`{"command":"join"}`,
	`{"command":"leave"}`,
	`{"command":"join","broker":5,"topics":["a"]}`,
	`{"command":"join","broker":{"topics":["b"]},"topics":["a"]}`,
	`{"command":"join","topics":["a"],"n":1e999999999}`,
	`{"command":"join","topics":["a"],"n":` + strings.Repeat("7", 5000) + `}`,
	`{"command":"join","topics":["a"],"x":` + nested(200) + `}`,
	`{"command":"join","topics":["a"],"x":` + nested(9999) + `}`,
	`{"command":"join","topics":["a"],"x":` + nested(10000) + `}`,
	"\xef\xbb\xbf{}",
	"",
}

func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func one[T any](random *rand.Rand, of ...T) T {
	return of[random.Intn(len(of))]
}

func message(random *rand.Rand) string {
	var fields []string
	for count := random.Intn(6); count >= 0; count-- {
		name := one(random, "command", "Command", "topics", "topics", "TOPICS", "broker", "payload", "top\\u0069cs", "")
		value := ""
		switch {
		case random.Intn(8) == 0:
			value = anything(random, 0)
		case strings.EqualFold(name, "command"):
			value = one(random, `"join"`, `"leave"`, `"headers"`, `"j\u006fin"`, quoted(random))
		case strings.HasPrefix(strings.ToLower(name), "top"):
			value = topics(random)
		default:
			value = anything(random, 0)
		}
		if random.Intn(4) == 0 && name == "" {
			name = inside(random)
		}
		fields = append(fields, fmt.Sprintf("%s\"%s\"%s:%s%s", space(random), name, space(random), value, space(random)))
	}
	message := "{" + strings.Join(fields, ",") + "}"
	if random.Intn(3) == 0 {
		message = damaged(random, message)
	}
	return message
}

func space(random *rand.Rand) string {
	return one(random, "", "", "", " ", "\n\t ", "\r\n")
}

func topics(random *rand.Rand) string {
	var topics []string
	for count := random.Intn(4); count > 0; count-- {
		topics = append(topics, one(random, quoted(random), quoted(random), quoted(random), "null"))
	}
	return "[" + strings.Join(topics, ",") + "]"
}

func quoted(random *rand.Rand) string {
	return "\"" + inside(random) + "\""
}

// The inside of a string: escapes of all kinds, half pairs, bytes that are not UTF-8.
func inside(random *rand.Rand) string {
	var text strings.Builder
	for count := random.Intn(6); count > 0; count-- {
		switch random.Intn(9) {
		case 0, 1:
			text.WriteString(one(random, "room", "orders/42", "ä", "😀", "\u2028", "<&>", "a text long enough for a vector"))
		case 2:
			text.WriteString(one(random, `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t`))
		case 3, 4:
			fmt.Fprintf(&text, one(random, "\\u%04x", "\\u%04X"), 0xd7f0+random.Intn(0x820))
		case 5:
			fmt.Fprintf(&text, "\\u%04x\\u%04x", 0xd800+random.Intn(0x400), 0xdc00+random.Intn(0x400))
		case 6:
			fmt.Fprintf(&text, "\\u%04x", random.Intn(0x10000))
		case 7:
			text.WriteByte(byte(0x80 + random.Intn(0x80)))
		case 8:
			text.WriteString(one(random, "\xed\xa0\x80", "\xf0\x9f", "\xc0\xaf", "\xf4\x90\x80\x80", "\xe2\x82"))
		}
	}
	return text.String()
}

func anything(random *rand.Rand, depth int) string {
	kinds := 8
	if depth > 4 {
		kinds = 5
	}
	switch random.Intn(kinds) {
	case 0:
		return one(random, "true", "false", "null")
	case 1:
		return one(random, "0", "-0", "-0.0e+1", "1E5", "0.1", "1e999999999", "-1.5e-400", "123456789012345678901234567890")
	case 2, 3, 4:
		return quoted(random)
	case 5:
		return topics(random)
	case 6:
		return fmt.Sprintf("[%s,%s]", anything(random, depth+1), anything(random, depth+1))
	}
	return fmt.Sprintf("{\"%s\":%s,%s:%s}", inside(random), anything(random, depth+1), quoted(random), anything(random, depth+1))
}

// Cut short, or with bytes put in or changed.
func damaged(random *rand.Rand, message string) string {
	for count := 1 + random.Intn(2); count > 0; count-- {
		at := random.Intn(len(message) + 1)
		switch random.Intn(6) {
		case 0:
			message = message[:at]
		case 1, 2:
			message = message[:at] + one(random, "\"", "\\", "{", "}", "[", "]", ":", ",", "0", "e", "-", "\x00", "\n", "\xff", "u", " ") + message[at:]
		default:
			if at < len(message) {
				message = message[:at] + string([]byte{byte(random.Intn(256))}) + message[at+1:]
			}
		}
	}
	return message
}
