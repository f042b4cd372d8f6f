package config

import (
	"encoding"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skiff-k8s/skiff/fail"
)

// Duration is a time.Duration that files have as text, such as 30m.
type Duration time.Duration

var (
	_ encoding.TextMarshaler   = Duration(0)
	_ encoding.TextUnmarshaler = (*Duration)(nil)
)

// Duration returns the same time as what it is.
func (d Duration) Duration() time.Duration { return time.Duration(d) }

// String leaves units out that are zero: 30m, and not 30m0s.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// MinAutoPause is the shortest time after which a machine may be paused. In less, somebody who reads an answer has not yet
// thought of the next question.
const MinAutoPause = time.Minute

// AutoPause is how long nobody asks anything of a machine before it is paused: "30m", or "off", which is 0.
func AutoPause(text string) (time.Duration, error) {
	if text == "" || text == "off" || text == "0" || text == "false" {
		return 0, nil
	}
	limit, err := time.ParseDuration(text)
	if err != nil {
		err = errors.New("it is no time; use one such as 30m or 2h, or off")
	} else if limit < MinAutoPause {
		err = fmt.Errorf("it is less than %s", Duration(MinAutoPause))
	}
	if err != nil {
		return 0, fail.New(fail.FlagInvalid, fmt.Sprintf("read --auto-pause %q", text), "%w", err).About("auto-pause")
	}
	return limit, nil
}

// How long certificates are valid, unless the user asks for another time; three years, as with minikube. A start renews those
// that have less than 30 days left, so in less than MinCertExpiration it would do little else; beyond MaxCertExpiration the
// authorities that sign them have ended.
const (
	DefaultCertExpiration = 3 * 365 * 24 * time.Hour
	MinCertExpiration     = 60 * 24 * time.Hour
	MaxCertExpiration     = 10 * 365 * 24 * time.Hour
)

// CertExpiration is how long certificates are valid, such as "8760h", a year.
func CertExpiration(text string) (time.Duration, error) {
	life, err := time.ParseDuration(text)
	switch {
	case err != nil:
		err = errors.New("it is no time; use one in hours, such as 8760h for a year")
	case life < MinCertExpiration:
		err = fmt.Errorf("it is less than %s, 60 days", Duration(MinCertExpiration))
	case life > MaxCertExpiration:
		err = fmt.Errorf("it is more than %s, 10 years, for which the authorities are valid", Duration(MaxCertExpiration))
	}
	if err != nil {
		return 0, fail.New(fail.FlagInvalid, fmt.Sprintf("read --cert-expiration %q", text), "%w", err).About("cert-expiration")
	}
	return life, nil
}
