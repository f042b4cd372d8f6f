package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandlerEchoesTheRequest(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://meow.example/a/b?x=1&x=2", strings.NewReader("hello"))
	request.Header.Set("X-Test", "yes")
	recorder := httptest.NewRecorder()
	handler("meow-1").ServeHTTP(recorder, request)

	var got echo
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		t.Fatalf("the answer is not JSON: %v\n%s", err, recorder.Body)
	}
	if got.Method != "POST" || got.Path != "/a/b" || got.Host != "meow.example" || got.Body != "hello" || got.Pod != "meow-1" {
		t.Errorf("got %+v", got)
	}
	if want := "1,2"; strings.Join(got.Query["x"], ",") != want {
		t.Errorf("query x: got %v, want %s", got.Query["x"], want)
	}
	if want := "yes"; strings.Join(got.Headers["X-Test"], ",") != want {
		t.Errorf("header X-Test: got %v, want %s", got.Headers["X-Test"], want)
	}
}
