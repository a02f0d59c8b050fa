package image_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique/pratique/engine/image"
)

func TestRuntime(t *testing.T) {
	tests := []struct {
		name string
		raw  string
		want *image.Runtime
	}{
		{"ports and health check", `{"config": {"ExposedPorts": {"80/tcp": {}, "22": {}}, "Healthcheck": {"Test": ["CMD", "true"]}}}`,
			&image.Runtime{ExposedPorts: []string{"22", "80/tcp"}, Healthcheck: true}},
		{"health check taken away", `{"config": {"Healthcheck": {"Test": ["NONE"]}}}`, &image.Runtime{}},
		{"health check without a test", `{"config": {"Healthcheck": {"Interval": 1}}}`, &image.Runtime{}},
		{"null", `{"config": null}`, &image.Runtime{}},
		{"absent", `{}`, &image.Runtime{}},
		{"of another shape", `{"config": "x"}`, nil},
		{"ports of another shape", `{"config": {"ExposedPorts": ["22/tcp"]}}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := image.ParseConfig([]byte(tt.raw))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Runtime); diff != "" {
				t.Errorf("runtime (-want +got):\n%s", diff)
			}
		})
	}
}
