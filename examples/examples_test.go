// Package examples_test reads the examples as the API server would.
package examples_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// TestExamplesAreServed reads every example strictly, so that a misspelt field is found. The tutorial's own file is of API
// versions that are gone, and is tested where manifests are raised.
func TestExamplesAreServed(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("got %d examples and error %v", len(files), err)
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, file := range files {
		if file == "http-echo.yaml" {
			continue
		}
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
			defer documents.Close()
			buffer := make([]byte, len(text))
			for {
				n, err := documents.Read(buffer)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := strict.Decode(buffer[:n], nil, nil); err != nil {
					t.Errorf("%v in:\n%s", err, buffer[:n])
				}
			}
		})
	}
}
