// Merges objects as `helm upgrade` does, with the libraries that do it.
//
// Helm 3 makes a three-way strategic merge patch out of what it installed, what it is to install and what is there (pkg/kube/client.go).
// Reads a JSON list of {kind, original, modified, current} and writes a list of {merged} or {error}. Knows no chart, and never talks to a
// cluster.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

type upgrade struct {
	Kind                        string
	Original, Modified, Current json.RawMessage
}

type outcome struct {
	Merged json.RawMessage `json:"merged,omitempty"`
	Error  string          `json:"error,omitempty"`
}

func merge(u upgrade) (json.RawMessage, error) {
	var typed any
	switch u.Kind {
	case "Service":
		typed = corev1.Service{}
	case "Deployment":
		typed = appsv1.Deployment{}
	default:
		return nil, fmt.Errorf("the kind %q is not known here", u.Kind)
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(u.Original, u.Modified, u.Current, schema, true)
	if err != nil {
		return nil, err
	}
	return strategicpatch.StrategicMergePatch(u.Current, patch, typed)
}

func main() {
	var upgrades []upgrade
	if err := json.NewDecoder(os.Stdin).Decode(&upgrades); err != nil {
		fmt.Fprintln(os.Stderr, "standard input is no list of upgrades:", err)
		os.Exit(1)
	}
	outcomes := make([]outcome, len(upgrades))
	for n, u := range upgrades {
		merged, err := merge(u)
		if err != nil {
			outcomes[n].Error = err.Error()
		} else {
			outcomes[n].Merged = merged
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcomes); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
