package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/skiff-k8s/skiff/config"
	"github.com/skiff-k8s/skiff/fail"
	"github.com/skiff-k8s/skiff/internal/host"
	"github.com/skiff-k8s/skiff/machine"
	"github.com/skiff-k8s/skiff/store"
)

// source is where a value comes from.
type source int

const (
	fromDefault source = iota
	fromFile
	fromEnv
	fromFlag
)

// settings holds what the user decided, by the long names of flags: flag before environment before settings file before
// default. It is the only user of viper.
type settings struct {
	viper *viper.Viper
	flags *pflag.FlagSet
	env   map[string]bool // keys that the environment sets
	path  string
	wrong []wrong // what is not good in the settings file
	own   bool    // the file is that in skiff's own folder: nobody named another one
}

// settingKeys are the names that the settings file may have: those of start's flags, and the profile. What a single start
// is asked for is no setting.
func settingKeys() []string {
	keys := []string{"profile"}
	startFlags().VisitAll(func(flag *pflag.Flag) {
		if !flag.Hidden && flag.Name != "dry-run" {
			keys = append(keys, flag.Name)
		}
	})
	slices.Sort(keys)
	return keys
}

// readSettings reads the settings file (the one at path when it is not empty), the environment and the parsed flags. What is
// wrong in the file is left out and noted; what is wrong elsewhere is the error. With fresh a file that was named need not exist
// either.
func readSettings(home store.Home, path string, env func(string) string, flags *pflag.FlagSet, fresh bool) (*settings, error) {
	s := &settings{viper: viper.New(), flags: flags, env: map[string]bool{}, path: path}
	if s.path == "" {
		s.path = env("SKIFF_CONFIG")
	}
	named := s.path != ""
	if !named {
		s.path = home.Settings()
	}
	s.own = !named
	if err := s.readFile(named && !fresh); err != nil {
		return nil, err
	}
	if err := s.viper.BindPFlags(flags); err != nil {
		return nil, err
	}
	if flags.Lookup("memory") == nil { // another command than start
		_ = s.viper.BindPFlags(startFlags())
	}
	var problems []error
	for _, key := range settingKeys() {
		problems = append(problems, s.readEnv(key, env(envName(key))))
	}
	return s, errors.Join(problems...)
}

// envName is the variable that stands for a flag.
func envName(key string) string { return "SKIFF_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }

// readFile reads the settings file. One that nobody named need not exist.
func (s *settings) readFile(named bool) error {
	content, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	}
	if info, err := os.Stat(s.path); err == nil && info.IsDir() {
		return settingsAreFolder(s.path)
	}
	if err != nil && s.own {
		return fmt.Errorf("read settings: %w", err) // of skiff's own folder
	}
	if err != nil {
		return unreadable(s.path, err)
	}
	values, err := mapping(content)
	if err != nil {
		s.wrong = []wrong{{err: fail.New(fail.ConfigInvalid, "read settings "+s.path, "%w", err).
			WithHint("Mend the place that the message names, or put the file aside to return to the defaults.").
			WithNext("mv %s %s", machine.Quote(s.path), machine.Quote(s.path+".bad"))}}
		return nil
	}
	known := settingKeys()
	good := map[string]any{}
	for i := 0; i+1 < len(values); i += 2 {
		key := values[i].Value
		err := s.readValue(key, strings.ToLower(key), values[i+1], known, good)
		if err != nil {
			s.wrong = append(s.wrong, wrong{key, err})
		}
	}
	return s.viper.MergeConfigMap(good)
}

// readValue reads one value of the settings file into good.
func (s *settings) readValue(written, key string, node *yaml.Node, known []string, good map[string]any) error {
	if !slices.Contains(known, key) {
		return unknownKey(s.path, written, known)
	}
	var value any
	err := node.Decode(&value)
	if _, nested := value.(map[string]any); err == nil && nested {
		err = errors.New("it has settings of its own below it, and is a value or a list")
	}
	if err == nil && value == nil {
		return nil
	}
	if _, twice := good[key]; err == nil && twice {
		err = errors.New("it is there more than once")
	}
	if err == nil {
		err = errors.Unwrap(goodValue(key, value))
	}
	if err == nil && key == "profile" {
		err = errors.Unwrap(config.ValidateProfile(strings.Join(words(value), ",")))
	}
	if err != nil {
		return fail.New(fail.ConfigInvalid, fmt.Sprintf("read settings %s: %s", s.path, key), "%w", err).
			WithHint("Without that line the default returns.")
	}
	good[key] = value
	return nil
}

// mapping returns keys and values of a settings file, one after the other; none of an empty one.
func mapping(content []byte) ([]*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, fmt.Errorf("it is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
		return nil, nil
	}
	if document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it has no lines such as \"memory: 4g\"")
	}
	return document.Content[0].Content, nil
}

// wrong is something in the settings file that was left out.
type wrong struct {
	key string // as it is written; empty: it is the whole file
	err error
}

// unreadable is the error of a settings file that was named and cannot be opened.
func unreadable(path string, err error) error {
	problem := fail.New(fail.ConfigInvalid, "read settings", "%w", err)
	quoted := machine.Quote(path)
	if errors.Is(err, fs.ErrNotExist) {
		next := "touch " + quoted
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			next = "mkdir -p " + machine.Quote(filepath.Dir(path)) + " && " + next
		}
		return problem.WithHint("Make the file, which may be empty, or leave --config and SKIFF_CONFIG off. `skiff config set` makes it as well.").WithNext("%s", next)
	}
	if errors.Is(err, fs.ErrPermission) {
		stands := standing(path)
		if info, err := os.Stat(stands); err == nil && host.Mine(info) && !info.IsDir() {
			return problem.WithHint("It is yours, and its mode forbids you that.").WithNext("chmod u+rw %s", quoted)
		}
		return problem.WithHint("Let its owner give you the right to read it, or name another file with --config or SKIFF_CONFIG.").WithNext("ls -ld %s %s", machine.Quote(filepath.Dir(path)), quoted)
	}
	return problem.WithHint("Name a file that can be read with --config or SKIFF_CONFIG, or leave both off.").WithNext("ls -ld %s", machine.Quote(standing(path)))
}

// settingsAreFolder is the error of a folder in the place of the settings file.
func settingsAreFolder(path string) error {
	problem := fail.New(fail.ConfigInvalid, "read settings "+path, "it is a folder, and must be a file").
		WithHint("Name a file with --config or SKIFF_CONFIG, or leave both off.")
	if inside := filepath.Join(path, "config.yaml"); fileThere(inside) {
		return problem.WithNext("skiff config view --config %s", machine.Quote(inside))
	}
	return problem.WithNext("ls -ld %s", machine.Quote(path))
}

func fileThere(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func unknownKey(where, key string, known []string) *fail.Error {
	return fail.New(fail.ConfigUnknownKey, "read settings "+where, "there is no setting %q", key).
		WithHint("%s", didYouMean(key, known, "The settings are: "+strings.Join(known, ", ")+"."))
}

// readEnv takes a value of the environment, unless a flag says otherwise.
func (s *settings) readEnv(key, value string) error {
	if flag := s.flags.Lookup(key); value == "" || flag != nil && flag.Changed {
		return nil
	}
	if err := goodValue(key, value); err != nil {
		return fail.New(fail.FlagInvalid, fmt.Sprintf("read %s=%s", envName(key), machine.Quote(value)), "%w", errors.Unwrap(err)).
			WithHint("Give it a value that --%s takes, or take it out of the environment.", key)
	}
	s.env[key] = true
	s.viper.Set(key, value)
	return nil
}

// from says where the value of key comes from.
func (s *settings) from(key string) source {
	flag := s.flags.Lookup(key)
	switch {
	case flag != nil && flag.Changed:
		return fromFlag
	case s.env[key]:
		return fromEnv
	case s.viper.InConfig(key):
		return fromFile
	}
	return fromDefault
}

func (s *settings) text(key string) string { return strings.Join(s.list(key), ",") }

func (s *settings) yes(key string) bool { return s.viper.GetBool(key) }

// list returns a value with several words; in the environment they are separated by commas, unless a word may have some.
func (s *settings) list(key string) []string {
	value := s.viper.Get(key)
	if text, ok := value.(string); ok && text != "" {
		return listOf(key, text)
	}
	return words(value)
}

// onlyReads reports whether a command changes nothing, so that it can do its work also where the settings file is not as it
// should be; and those that mend the file.
func onlyReads(cmd *cobra.Command) bool {
	path := strings.Fields(cmd.CommandPath())[1:]
	if len(path) == 0 || cmd.HasSubCommands() && path[0] != "profile" {
		return true
	}
	switch path[0] {
	case "config", "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd,
		"status", "ip", "version", "doctor", "drivers", "logs", "convert":
		return true
	}
	return len(path) == 2 && path[1] == "list"
}

// settle deals with what is wrong in the settings file: a command that only reads warns of it, others are refused.
func (a *app) settle(cmd *cobra.Command) error {
	problems := make([]error, 0, len(a.settings.wrong))
	for _, one := range a.settings.wrong {
		if failure, ok := errors.AsType[*fail.Error](one.err); ok && one.key != "" {
			failure.Next = a.configCommand("unset", one.key)
		}
		problems = append(problems, one.err)
	}
	switch {
	case !onlyReads(cmd) && !a.completing:
		return errors.Join(problems...)
	case a.completing || slices.Contains([]string{"help", "completion"}, strings.Fields(cmd.CommandPath() + " .")[1]):
		return nil // what they print is for a shell, or for somebody who asks for something else
	}
	for _, failure := range failuresIn(errors.Join(problems...)) {
		text := failure.Error() + "; it is left out."
		if strings.HasPrefix(failure.Hint, "Did you mean") {
			text += " " + failure.Hint
		}
		if failure.Next != "" {
			text += fmt.Sprintf(" To fix it: `%s`", failure.Next)
		}
		a.out.Warn("", "%s", text)
	}
	return nil
}
