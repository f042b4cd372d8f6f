package download

import (
	"context"
	"errors"
	"io"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// static is an OCI image layout behind HTTPS, or its blobs side by side, as the files of a release are. Plain HTTP serves as well,
// since nothing is believed that has another digest.
type static struct {
	client *client
	base   *url.URL // may have a login, and a query that is a signature
	form   int      // of names, once one is known to be there; 0 before
}

func (s *static) String() string { return display(s.base) }

func (s *static) network() bool { return true }

// at is the URL of a file below the source.
func (s *static) at(name string) *url.URL { return s.base.JoinPath(name) }

func (s *static) open(ctx context.Context, want v1.Descriptor, offset int64) (io.ReadCloser, int64, error) {
	var first error
	for i, name := range names(want.Digest) {
		if s.form != 0 && s.form != i+1 {
			continue
		}
		body, from, err := blob(ctx, s.client.over(s.client.transport), s.at(name), "", want, offset)
		if err == nil {
			s.form = i + 1
			return body, from, nil
		}
		if first == nil {
			first = err
		}
		// Some hosts answer 403 for what is not there.
		if absent, ok := errors.AsType[*problem](err); !ok || !absent.missing {
			return nil, 0, err
		}
	}
	return nil, 0, first
}

func (s *static) signed(ctx context.Context) (content, signature []byte, err error) {
	over := s.client.over(s.client.transport)
	if content, err = index(ctx, over, s.at(indexName), ""); err != nil {
		return nil, nil, err
	}
	signature, err = index(ctx, over, s.at(signatureName), "")
	return content, signature, err
}
