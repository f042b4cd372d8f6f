package dashboard

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// assets is what `make dashboard` builds from web/; a program that was built without it has none.
//
//go:embed all:assets
var assets embed.FS //nolint:gochecknoglobals // go:embed can set nothing else

// absent is the page of a program that was built without web/.
//
//go:embed absent.html
var absent []byte //nolint:gochecknoglobals // as above

func built() fs.FS {
	sub, err := fs.Sub(assets, "assets")
	if err != nil {
		return assets // the name is valid, so it does not come to this
	}
	return sub
}

// index is the page; every address of it that names no file is a place inside it.
const index = "index.html"

// pages serves the frontend. All of its files but the index have a digest of their content in their name, so a browser may
// keep them for good.
func pages(files fs.FS) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		content, err := fs.ReadFile(files, name+".gz")
		if err != nil && path.Ext(name) != "" && !strings.HasPrefix(name, "c/") {
			http.NotFound(w, r)
			return
		}
		if err != nil || name == "" {
			name = index
			content, err = fs.ReadFile(files, index+".gz")
		}
		if err != nil {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(absent)
			return
		}
		if strings.HasPrefix(name, "static/") {
			w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		}
		if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		compressed(w, r, content)
	})
}

// compressed sends what is compressed with gzip, as it is where the browser takes that.
func compressed(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Add("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content)
		return
	}
	if plain, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
		_, _ = io.Copy(w, plain) // the files are the program's own, and small
	}
}

// Licenses returns the notices of everything that the built page has in it, or an error when the program was built without
// the page.
func Licenses() ([]byte, error) { return licenses(built()) }

func licenses(files fs.FS) ([]byte, error) {
	content, err := fs.ReadFile(files, "licenses.txt.gz")
	if err != nil {
		return nil, ErrNotBuilt
	}
	plain, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

// ErrNotBuilt means that this program was built without the page.
var ErrNotBuilt = errors.New("this skiff was built without the page of the dashboard")
