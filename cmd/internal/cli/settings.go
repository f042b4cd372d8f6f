package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/skiff-k8s/skiff/fail"
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
	own   bool // the file is that in skiff's own folder: nobody named another one
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

// readSettings reads the settings file (the one at path when it is not empty), the environment and the parsed flags. With fresh
// a file that was named need not exist either.
func readSettings(home store.Home, path string, env func(string) string, flags *pflag.FlagSet, fresh bool) (*settings, error) {
	s := &settings{viper: viper.New(), flags: flags, env: map[string]bool{}, path: path}
	s.viper.SetConfigType("yaml")
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
	file, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	}
	if err != nil && s.own {
		return fmt.Errorf("read settings: %w", err) // of skiff's own folder
	}
	if err != nil {
		return unreadable(s.path, err)
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return settingsAreFolder(s.path)
	}
	if err := s.viper.ReadConfig(file); err != nil {
		return fail.New(fail.ConfigInvalid, "read settings "+s.path, "%w", err)
	}
	known := settingKeys()
	var problems []error
	for key, value := range s.viper.AllSettings() {
		if !slices.Contains(known, key) {
			problems = append(problems, unknownKey(s.path, key, known))
			continue
		}
		if err := checkSetting(key, value); err != nil {
			problems = append(problems, fail.New(fail.ConfigInvalid, fmt.Sprintf("read settings %s: %s", s.path, key), "%w", err))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
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
		if info, err := os.Stat(stands); err == nil && owned(info) && !info.IsDir() {
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

func unknownKey(where, key string, known []string) error {
	return fail.New(fail.ConfigUnknownKey, "read settings "+where, "there is no setting %q", key).
		WithHint("%s", didYouMean(key, known, "The settings are: "+strings.Join(known, ", ")+".")).WithNext("skiff config view")
}

// checkSetting tries a value on the flag of the same name.
func checkSetting(key string, value any) error {
	flag := startFlags().Lookup(key)
	if flag == nil {
		return nil // the profile, which is checked when it is used
	}
	return flag.Value.Set(strings.Join(words(value), ","))
}

// readEnv takes a value of the environment, unless a flag says otherwise.
func (s *settings) readEnv(key, value string) error {
	if flag := s.flags.Lookup(key); value == "" || flag != nil && flag.Changed {
		return nil
	}
	if err := checkSetting(key, value); err != nil {
		return fail.New(fail.FlagInvalid, "read "+envName(key), "%w", err)
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
	if text, ok := value.(string); ok && text != "" && takesCommas(key) {
		return []string{text}
	}
	return words(value)
}

// takesCommas reports whether a single word of a setting may have commas in it.
func takesCommas(key string) bool {
	flag := startFlags().Lookup(key)
	return flag != nil && flag.Value.Type() == "stringArray"
}

// words takes a value of a YAML file, a variable or a flag apart.
func words(value any) []string {
	var list []string
	switch value := value.(type) {
	case nil:
	case []string:
		list = value
	case []any:
		for _, one := range value {
			list = append(list, fmt.Sprint(one))
		}
	default:
		list = strings.Split(fmt.Sprint(value), ",")
	}
	return slices.DeleteFunc(slices.Clone(list), func(word string) bool { return strings.TrimSpace(word) == "" })
}
