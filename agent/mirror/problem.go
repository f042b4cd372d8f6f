package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// problem is an answer that is none, in the form of the protocol (OCI Distribution Specification, "Error Codes").
type problem struct {
	status  int
	code    string
	message string
}

func (p *problem) Error() string { return p.message }

// missing is the answer for what is not on this machine while no registry may be asked. It is a 403 rather than a 404:
// of a 404 containerd tells its user "not found" and nothing more, of a 403 it reads the message and passes it on, so that
// it is seen in the pod's events (containerd 2.4, core/remotes/docker/resolver.go).
func missing(image string) error {
	return &problem{http.StatusForbidden, "DENIED", fmt.Sprintf(
		"%s is not on this machine, and the cluster was started with --offline: "+
			"start the cluster without --offline to have it pulled", image)}
}

func refuse(w http.ResponseWriter, err error) {
	var known *problem
	if !errors.As(err, &known) {
		known = &problem{http.StatusInternalServerError, "UNKNOWN", err.Error()}
	}
	w.Header().Del("Docker-Content-Digest")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(known.status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": known.code, "message": known.message}}})
}
