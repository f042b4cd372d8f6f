package kubeconfig

import "go.yaml.in/yaml/v3"

// get returns the value of a key in a mapping, or nil.
func get(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// put sets the value of a key in a mapping.
func put(mapping *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content[i+1] = value
			return
		}
	}
	mapping.Content = append(mapping.Content, scalar(key), value)
}

func absent(node *yaml.Node) bool {
	return node == nil || node.Kind == 0 || node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// text is the value of a scalar, also of one behind an alias; empty for anything else.
func text(node *yaml.Node) string {
	if node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if absent(node) || node.Kind != yaml.ScalarNode {
		return ""
	}
	return node.Value
}

// scalar is a string, quoted where it would be read as something else.
func scalar(value string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(value)
	return node
}

func mapping(pairs ...string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		node.Content = append(node.Content, scalar(pairs[i]), scalar(pairs[i+1]))
	}
	return node
}

// meaning is what a node stands for, without comments and styles.
func meaning(node *yaml.Node) any {
	var value any
	if err := node.Decode(&value); err != nil {
		return err.Error()
	}
	return value
}

// spellNulls writes out the nulls of flow style, as in {a, b}, which the encoder would turn into empty strings.
func spellNulls(node *yaml.Node) {
	for _, child := range node.Content {
		if node.Style&yaml.FlowStyle != 0 && child.Kind == yaml.ScalarNode && child.Value == "" && absent(child) {
			child.Value = "null"
		}
		spellNulls(child)
	}
}
