package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
)

const bom = "\xef\xbb\xbf"

// part is one document of a manifest. The parts of a manifest, marker and body each, are the manifest.
type part struct {
	marker []byte // the lines that separate it from what came before: "---", "..."; may be empty
	body   []byte
	line   int  // of the body's first byte in the manifest, counted from 1
	json   bool // one value of a stream of JSON values
}

// split cuts a manifest into its documents. A stream of JSON values is cut after each value, anything else where YAML
// cuts: at lines that begin with "---" or "..." (YAML 1.2, section 9.1; inside a document no line can begin so).
func split(in []byte) ([]part, error) {
	if bytes.HasPrefix(in, []byte("\xff\xfe")) || bytes.HasPrefix(in, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	}
	if parts, ok := splitJSON(in); ok {
		return parts, nil
	}
	var parts []part
	current := part{line: 1}
	for number, line := 1, []byte(nil); len(in) > 0; number++ {
		line, in = cutLine(in)
		marker := markerLength(line)
		if marker == 0 {
			current.body = append(current.body, line...)
			continue
		}
		if len(current.marker)+len(current.body) > 0 {
			parts = append(parts, current)
		}
		current = part{marker: line[:marker:marker], body: bytes.Clone(line[marker:])}
		current.line = number + bytes.Count(current.marker, []byte("\n"))
	}
	return append(parts, current), nil
}

// splitJSON cuts a stream of JSON objects; ok is false when in is not one.
func splitJSON(in []byte) (parts []part, ok bool) {
	text := bytes.TrimPrefix(in, []byte(bom))
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	start, line := 0, 1
	for {
		var value map[string]any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false
		}
		end := int(decoder.InputOffset())
		parts = append(parts, part{body: text[start:end:end], line: line, json: true})
		line += bytes.Count(text[start:end], []byte("\n"))
		start = end
	}
	last := &parts[len(parts)-1]
	last.body = append(last.body, text[start:]...)
	if len(text) < len(in) {
		parts[0].body = append([]byte(bom), parts[0].body...)
	}
	return parts, true
}

func cutLine(in []byte) (line, rest []byte) {
	if i := bytes.IndexByte(in, '\n'); i >= 0 {
		return in[:i+1], in[i+1:]
	}
	return in, nil
}

// markerLength returns how much of the line is a document marker: nothing, the three signs where content follows on the
// same line, or all of it.
func markerLength(line []byte) int {
	signs := 3
	if bytes.HasPrefix(line, []byte(bom)) {
		signs += len(bom)
	}
	text := bytes.TrimPrefix(line, []byte(bom))
	if !bytes.HasPrefix(text, []byte("---")) && !bytes.HasPrefix(text, []byte("...")) {
		return 0
	}
	rest := text[3:]
	switch trimmed := bytes.TrimSpace(rest); {
	case len(trimmed) == 0:
		return len(line)
	case rest[0] != ' ' && rest[0] != '\t':
		return 0
	case trimmed[0] == '#':
		return len(line)
	}
	return signs
}

func (p part) raw() []byte { return append(bytes.Clone(p.marker), p.body...) }

// blank says whether the part holds nothing but white space, comments and directives.
func (p part) blank() bool {
	lead, _, _ := p.trivia()
	return len(lead) == len(p.body)
}

// contentLine is the line of the first byte that is neither white space nor comment.
func (p part) contentLine() int {
	lead, _, _ := p.trivia()
	return p.line + bytes.Count(lead, []byte("\n"))
}

// trivia cuts the body into the comment lines before its content, the content, and the comment lines after it.
func (p part) trivia() (lead, content, tail []byte) {
	content = p.body
	for len(content) > 0 {
		line, rest := cutLine(content)
		if !isTrivia(bytes.TrimPrefix(line, []byte(bom))) {
			break
		}
		content = rest
	}
	lead = p.body[:len(p.body)-len(content)]
	end := len(content)
	for end > 0 {
		start := bytes.LastIndexByte(content[:end-1], '\n') + 1
		if !isTrivia(content[start:end]) {
			break
		}
		end = start
	}
	return lead, content[:end], content[end:]
}

// isTrivia says whether a line is blank, a directive ("%YAML 1.2") or a comment at the left margin. An indented comment
// may as well be text of a block scalar.
func isTrivia(line []byte) bool {
	return len(bytes.TrimSpace(line)) == 0 || line[0] == '#' || line[0] == '%'
}

// object parses the body. Blank lines stand in for what came before, so that the parser's messages count the lines of
// the whole manifest.
func (p part) object() (map[string]any, error) {
	_, content, _ := p.trivia()
	padded := strings.Repeat("\n", p.contentLine()-1) + strings.TrimPrefix(string(content), bom)
	encoded, err := yaml.YAMLToJSON([]byte(padded))
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber() // a float64 would round large whole numbers
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, errors.New("not a Kubernetes object, which has fields such as kind")
	}
	if object == nil {
		return nil, errors.New("not a Kubernetes object: null")
	}
	return object, nil
}

// replace returns the part with object in place of its content, in the notation and line endings that it had.
func (p part) replace(object map[string]any) ([]byte, error) {
	lead, content, tail := p.trivia()
	var text []byte
	var err error
	if p.json {
		if text, err = json.MarshalIndent(object, "", "  "); err == nil {
			text = append(text, '\n')
		}
	} else {
		text, err = toYAML(object)
	}
	if err != nil {
		return nil, err
	}
	if bytes.Contains(content, []byte("\r\n")) {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	out := bytes.Clone(p.marker)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	out = append(out, lead...)
	out = append(out, text...)
	return append(out, tail...), nil
}
