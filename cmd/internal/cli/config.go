package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

func (a *app) config() *cobra.Command {
	get := &cobra.Command{
		Use: "get KEY", Short: "Print a setting", Args: countArgs(1, 1), ValidArgsFunction: completeKeys,
		Example: `  skiff config get memory`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := knownKey(args[0]); err != nil {
				return err
			}
			value := a.settings.text(args[0])
			return a.out.Data(map[string]string{args[0]: value}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, value)
				return err
			})
		},
		Annotations: map[string]string{annotationFormats: "json yaml"},
	}
	set := &cobra.Command{
		Use: "set KEY VALUE", Short: "Write a setting, for clusters that are created afterwards", Args: countArgs(2, 2), ValidArgsFunction: a.completeSetting,
		Example: `  skiff config set memory 4g`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := knownKey(args[0]); err != nil {
				return err
			}
			if err := a.goodSetting(args[0], args[1]); err != nil {
				return err
			}
			return a.settings.edit(args[0], &args[1])
		},
		Annotations: map[string]string{annotationMakesSettings: "yes"},
	}
	unset := &cobra.Command{
		Use: "unset KEY", Short: "Remove a setting, which restores the default", Args: countArgs(1, 1), ValidArgsFunction: completeKeys,
		Example: `  skiff config unset memory`,
		RunE: func(_ *cobra.Command, args []string) error {
			in := func(one wrong) bool { return strings.EqualFold(one.key, args[0]) }
			if !slices.ContainsFunc(a.settings.wrong, in) { // what is wrong can be taken out, whatever it is called
				if err := knownKey(args[0]); err != nil {
					return err
				}
			}
			return a.settings.edit(args[0], nil)
		},
	}
	return group(&cobra.Command{
		Use: "config", Short: "Read and write the settings",
		Long: "Read and write the settings. They are, by the long names of `skiff start`'s flags:\n  " + strings.Join(settingKeys(), ", "),
	}, get, set, unset, a.configView())
}

func (a *app) configView() *cobra.Command {
	return &cobra.Command{
		Use: "view", Short: "Print all settings, and where they come from", Args: noArgs,
		Example:     `  skiff config view -o json`,
		Annotations: map[string]string{annotationFormats: "json yaml"},
		RunE: func(*cobra.Command, []string) error {
			values := map[string]string{}
			for _, key := range settingKeys() {
				values[key] = a.settings.text(key)
			}
			return a.out.Data(values, func(w io.Writer) error {
				for _, key := range settingKeys() {
					from := map[source]string{fromFile: a.settings.path, fromEnv: envName(key), fromFlag: "--" + key}[a.settings.from(key)]
					if from == "" {
						from = "default"
					}
					if _, err := fmt.Fprintf(w, "%s: %s  # %s\n", key, a.settings.text(key), from); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func knownKey(key string) error {
	if known := settingKeys(); !slices.Contains(known, key) {
		return unknownKey("of skiff", key, known).WithNext("skiff config view")
	}
	return nil
}

// edit sets a key of the settings file, or takes it out when value is nil.
func (s *settings) edit(key string, value *string) error {
	err := editSettings(s.path, key, value)
	if path, _ := refused(err); path == "" || s.own || fail.Known(err) {
		return err
	}
	return fail.New(fail.ConfigInvalid, "write settings "+s.path, "%w", err).
		WithHint("Name a file of your own that can be written to with --config or SKIFF_CONFIG, or leave both off.").
		WithNext("ls -ld %s", machine.Quote(standing(filepath.Dir(s.path))))
}

// editSettings sets a key of the settings file, or takes it out when value is nil. Comments and order stay.
func editSettings(path, key string, value *string) error {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail.New(fail.ConfigInvalid, "read settings", "%w", err)
	}
	var document yaml.Node
	if _, err := mapping(content); err != nil {
		return fail.New(fail.ConfigInvalid, "change settings "+path, "%w", err).
			WithHint("Mend the place that the message names, or put the file aside to return to the defaults.").
			WithNext("mv %s %s", machine.Quote(path), machine.Quote(path+".bad"))
	}
	if err := yaml.Unmarshal(content, &document); err != nil {
		return fail.New(fail.ConfigInvalid, "change settings "+path, "%w", err)
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		document = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	edit(document.Content[0], key, value)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return store.Write(path, out.Bytes(), 0o600)
}

// edit changes one key of a YAML mapping, wherever and as often as it is there. A value with commas becomes a list where the flag of that name is one.
func edit(mapping *yaml.Node, key string, value *string) {
	var places []int
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if strings.EqualFold(mapping.Content[i].Value, key) {
			places = append(places, i)
		}
	}
	keep := 0
	if value != nil {
		keep = min(1, len(places))
	}
	for _, i := range slices.Backward(places[keep:]) {
		mapping.Content = slices.Delete(mapping.Content, i, i+2)
	}
	if value == nil {
		return
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: *value}
	if flag := startFlags().Lookup(key); flag != nil && flag.Value.Type() == "stringSlice" {
		node = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, word := range words(*value) {
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: word})
		}
	}
	if keep > 0 {
		at := places[0]
		node.LineComment = mapping.Content[at+1].LineComment
		mapping.Content[at+1] = node
		return
	}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, node)
}
