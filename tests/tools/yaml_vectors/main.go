// Reads the texts of tests/vectors/yaml.jsonl as RoadRunner does, with go-yaml v3, and writes down what it answered.
//
// A line without an answer is a new text: {"text":"a: b\n"}. scripts/yaml-vectors runs this.
package main

import (
	"bytes"
	"encoding/json"
	"os"

	"gopkg.in/yaml.v3"
)

type vector struct {
	Text string `json:"text"`
	// The document: null, texts, lists and maps. What a text means, a number or a word, is the schema's.
	Value any `json:"value"`
	// Why there is none.
	Refused string `json:"refused,omitempty"`
}

// tree is a value whose scalars are texts; aliases and merge keys are go-yaml's to resolve.
type tree struct{ value any }

func (t *tree) UnmarshalYAML(node *yaml.Node) error {
	switch node.Kind {
	case yaml.MappingNode:
		var pairs map[string]*tree
		if err := node.Decode(&pairs); err != nil {
			return err
		}
		out := map[string]any{}
		for key, value := range pairs {
			out[key] = value.plain()
		}
		t.value = out
	case yaml.SequenceNode:
		var items []*tree
		if err := node.Decode(&items); err != nil {
			return err
		}
		out := []any{}
		for _, item := range items {
			out = append(out, item.plain())
		}
		t.value = out
	default:
		t.value = node.Value
	}
	return nil
}

func (t *tree) plain() any {
	if t == nil {
		return nil
	}
	return t.value
}

func read(text string) (any, error) {
	// As viper does.
	var plain map[string]any
	if err := yaml.Unmarshal([]byte(text), &plain); err != nil {
		return nil, err
	}
	var root tree
	err := yaml.Unmarshal([]byte(text), &root)
	return root.value, err
}

func main() {
	lines, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, line := range bytes.Split(bytes.TrimSpace(lines), []byte("\n")) {
		var known vector
		if err := json.Unmarshal(line, &known); err != nil {
			panic(err)
		}
		answer := vector{Text: known.Text}
		if value, err := read(known.Text); err != nil {
			answer.Refused = err.Error()
		} else {
			answer.Value = value
		}
		if err := encoder.Encode(answer); err != nil {
			panic(err)
		}
	}
	if err := os.WriteFile(os.Args[1], out.Bytes(), 0o644); err != nil {
		panic(err)
	}
}
