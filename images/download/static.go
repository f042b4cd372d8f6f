package download

import (
	"cmp"
	"context"
	"io"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// static is an OCI image layout behind HTTPS, or its blobs side by side, as the files of a release are. Plain HTTP serves as well,
// since nothing is believed that has another digest.
type static struct {
	client *client
	base   *url.URL // may have a login, and a query that is a signature
	form   int      // of names, once one is known to be there; -1 before
}

func (s *static) String() string { return display(s.base) }

func (s *static) network() bool { return true }

// at is the URL of a file below the source.
func (s *static) at(name string) *url.URL { return s.base.JoinPath(name) }

func (s *static) open(ctx context.Context, want v1.Descriptor, offset int64) (body io.ReadCloser, from int64, err error) {
	forms := names(want.Digest)
	if s.form >= 0 {
		forms = forms[s.form : s.form+1]
	}
	// Some hosts answer 403 for what is not there.
	err = firstOf(forms, func(name string) (err error) {
		if body, from, err = blob(ctx, s.client.over(s.client.transport), s.at(name), "", want, offset); err == nil {
			s.form = slices.Index(names(want.Digest), name)
		}
		return err
	})
	return body, from, err
}

func (s *static) index(ctx context.Context, want digest.Digest) (content []byte, err error) {
	err = firstOf(append([]string{indexName}, names(want)...), func(name string) error {
		content, err = index(ctx, s.client.over(s.client.transport), s.at(name), "")
		return cmp.Or(err, another(content, want))
	})
	return content, err
}

func (s *static) signed(ctx context.Context) (content, signature []byte, err error) {
	over := s.client.over(s.client.transport)
	if content, err = index(ctx, over, s.at(indexName), ""); err != nil {
		return nil, nil, err
	}
	signature, err = index(ctx, over, s.at(signatureName), "")
	return content, signature, err
}
