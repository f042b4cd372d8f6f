package download

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// childVariable makes the test binary a process that downloads.
const childVariable = "SKIFF_TEST_DOWNLOAD"

func TestMain(m *testing.M) {
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var c child
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run(context.Background(), os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
