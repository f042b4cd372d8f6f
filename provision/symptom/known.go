package symptom

import "regexp"

// known gives a symptom that is one of rows its words, what to do about it, and how often it must be seen to be final.
func (s symptom) known(rows []row, offline bool) symptom {
	for _, row := range rows {
		m := row.pattern.FindStringSubmatch(s.text)
		if m == nil || row.offline && !offline {
			continue
		}
		return symptom{text: row.text(s.text, m), hint: row.hint, need: row.need, rank: certain}
	}
	return s
}

// NoResolvConf is the reason on a machine without that file.
func NoResolvConf(path string) Reason {
	return Reason{
		Text:  "the machine has no " + path + ", and without it the kubelet starts no pod",
		Hint:  "Create that file on the machine, with a line such as `nameserver 192.0.2.53` that names a DNS server.",
		Final: true,
	}
}

// row is a cause that is well known by its words.
type row struct {
	pattern *regexp.Regexp
	offline bool // it is final only where no image can be pulled
	text    func(whole string, m []string) string
	hint    string
	need    int
}

func table() []row {
	as := func(before, after string) func(string, []string) string {
		return func(_ string, m []string) string { return before + m[1] + after }
	}
	return []row{
		{
			pattern: regexp.MustCompile(`open (\S*resolv\.conf): no such file or directory`),
			text:    func(_ string, m []string) string { return NoResolvConf(m[1]).Text },
			hint:    NoResolvConf("").Hint,
			need:    twice,
		},
		{
			pattern: regexp.MustCompile(`listen (?:tcp|udp)[46]? \S*:(\d+): bind: address already in use`),
			text:    func(whole string, m []string) string { return "port " + m[1] + " of the machine is in use: " + whole },
			hint:    "`ss -lntp` on the machine names the process that has the port; end it.",
			need:    often,
		},
		{
			pattern: regexp.MustCompile(`no space left on device`),
			text:    func(string, []string) string { return "the disk of the machine is full" },
			hint:    "Make room on the machine's disk.",
			need:    often,
		},
		{
			pattern: regexp.MustCompile(`expected cgroupsPath to be of format|cgroup driver: .* is different from`),
			text: func(whole string, _ []string) string {
				return "the kubelet and containerd have different cgroup drivers: " + whole
			},
			hint: "Both must be systemd: `cgroupDriver` of the kubelet, and `SystemdCgroup = true` in /etc/containerd/config.toml.",
			need: twice,
		},
		{
			pattern: regexp.MustCompile(`(?:pull(?:ing)?(?: and unpack)? image|Container image) "([^"]+)"`),
			offline: true,
			text:    as("container image ", " is not on the machine, and the cluster is offline"),
			hint:    "`skiff start --offline=false` lets the machine pull it.",
			need:    twice,
		},
	}
}
