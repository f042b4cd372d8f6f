package symptom

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Levels of lines.
const (
	errorLevel = 1
	fatalLevel = 2
)

// line is what one line of a log says.
type line struct {
	level int    // 0: it is about no failure
	text  string // without time, process and place
	pod   string // "namespace/name" of the pod that it is about; empty: none is named
	ended bool   // systemd says that the service's process ended with an error
}

// Compiled once, never changed.
var (
	// klogHeader is the beginning of a line by klog: level, day, time, process, place (klog, internal/buffer, FormatHeader).
	klogHeader = regexp.MustCompile(`^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^ \]]+\] (.*)$`)
	// exited is what systemd says of a service's process (systemd, src/core/unit.c, unit_log_process_exit).
	exited = regexp.MustCompile(`\.service: Main process exited, code=(exited, status=[1-9]|dumped)`)
	// unstarted is the same of one that could not be started.
	unstarted = regexp.MustCompile(`\.service: (Failed (?:to|at) .*)$`)
	// nested is how the kubelet says that it could not do a thing for a pod (kubernetes, pkg/kubelet/container/sync_result.go).
	nested = regexp.MustCompile(`^failed to "\w+" for "[^"]*" with .*?: "(.*)"$`)
	// backOff is how it says that a container ended (pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff).
	backOff = regexp.MustCompile(`^back-off \S+ restarting failed container=(\S+)`)
	// podID is what follows the name of a pod (pkg/kubelet/util/format).
	podID = regexp.MustCompile(`_[a-z0-9-]+\([0-9a-f-]{32,36}\)`)
	// rpc is the beginning of errors that came through gRPC.
	rpc = regexp.MustCompile(`rpc error: code = \w+ desc = `)
	// changing is what is different each time that the same is said.
	changing = regexp.MustCompile(`[0-9a-f]{8,}|\b\d+(\.\d+)?(ms|s|m)\b|\.tmp-?\d+|\d{5,}`)
)

// parseLine reads a line of klog, of containerd (logfmt), of etcd (JSON), of CoreDNS, of systemd, or of a program that ends.
func parseLine(raw string) line {
	if m := klogHeader.FindStringSubmatch(raw); m != nil {
		return klog(m[1], m[2])
	}
	if exited.MatchString(raw) {
		return line{ended: true}
	}
	if m := unstarted.FindStringSubmatch(raw); m != nil {
		return line{level: fatalLevel, text: tidy(m[1])}
	}
	for _, prefix := range []string{"Error: ", "panic: ", "containerd: ", "[FATAL] "} {
		if rest, ok := strings.CutPrefix(raw, prefix); ok {
			return line{level: fatalLevel, text: tidy(rest)}
		}
	}
	if strings.HasPrefix(raw, "{") {
		return structured(raw)
	}
	if strings.HasPrefix(raw, "time=") {
		fields := pairs(raw)
		return leveled(fields["level"], fields["msg"], fields["error"])
	}
	return line{}
}

func structured(raw string) line {
	var fields struct{ Level, Msg, Error string }
	if json.Unmarshal([]byte(raw), &fields) != nil {
		return line{}
	}
	return leveled(fields.Level, fields.Msg, fields.Error)
}

func leveled(level, message, err string) line {
	switch level {
	case "fatal", "panic":
		return line{level: fatalLevel, text: joined(message, err)}
	case "error":
		return line{level: errorLevel, text: joined(message, err)}
	}
	return line{}
}

// klog reads what stands behind the header: a message in quotes and pairs, or words.
func klog(level, body string) line {
	said := line{text: tidy(body)}
	switch level {
	case "E":
		said.level = errorLevel
	case "F":
		said.level = fatalLevel
	}
	quoted, err := strconv.QuotedPrefix(body)
	if err != nil {
		return said
	}
	message, _ := strconv.Unquote(quoted)
	fields := pairs(body[len(quoted):])
	said.pod = fields["pod"]
	switch message {
	case "command failed": // component-base, cli/run.go: what programs of Kubernetes say last
		said.level, said.text = fatalLevel, tidy(fields["err"])
	case "Error syncing pod, skipping":
		said.text = joined("", unnested(fields["err"]))
	default:
		said.text = joined(message, fields["err"])
	}
	return said
}

// unnested takes the kubelet's own words off an error of a container or a sandbox.
func unnested(text string) string {
	if m := nested.FindStringSubmatch(text); m != nil {
		if inner, err := strconv.Unquote(`"` + m[1] + `"`); err == nil {
			text = inner
		}
	}
	if m := backOff.FindStringSubmatch(text); m != nil {
		return "container " + m[1] + " ends again and again"
	}
	return text
}

// pairs reads key=value, the value in quotes or a word.
func pairs(text string) map[string]string {
	fields := map[string]string{}
	for {
		text = strings.TrimLeft(text, " ")
		key, rest, ok := strings.Cut(text, "=")
		if !ok || strings.ContainsAny(key, " \"") {
			return fields
		}
		value, after, _ := strings.Cut(rest, " ")
		if quoted, err := strconv.QuotedPrefix(rest); err == nil {
			value, _ = strconv.Unquote(quoted)
			after = rest[len(quoted):]
		}
		if value != "<" { // the value follows on lines of its own
			fields[key] = value
		}
		text = after
	}
}

func joined(message, err string) string {
	message = strings.TrimSuffix(message, ".")
	if message != "" && err != "" {
		message += ": "
	}
	return tidy(message + err)
}

// tidy leaves out what nobody needs to know.
func tidy(text string) string {
	return rpc.ReplaceAllString(podID.ReplaceAllString(strings.Join(strings.Fields(text), " "), ""), "")
}

// longest keeps a text to what people read; the whole is in the log.
const longest = 400

func short(text string) string {
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest-1]) + "…"
	}
	return text
}
