package cluster

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique/pratique/internal/gate"
)

// reportKind is a custom resource that reports of policies are kept in.
type reportKind struct {
	schema.GroupVersionResource
	kind string
}

// The kinds, the one that is taken first if the cluster knows both in front.
// https://github.com/openreports/reports-api
// https://github.com/kubernetes-sigs/wg-policy-prototypes
var reportKinds = map[string]reportKind{
	ReportsOpen:   {schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}, "Report"},
	ReportsPolicy: {schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}, "PolicyReport"},
}

const (
	reportSource = "pratique"
	// maxMessage bounds the text of one result, in bytes: with the most results
	// that are allowed, a report stays below half of what etcd takes.
	maxMessage = 1024
)

// results maps states to what reports call them.
var results = map[gate.State]string{
	gate.StatePass: "pass", gate.StateWarn: "warn", gate.StateFail: "fail",
	gate.StatePending: "skip", gate.StateUnmapped: "skip",
	gate.StateUnknown: "error", gate.StateError: "error",
}

func reportName(uid types.UID) string { return "pratique-" + string(uid) }

// document is the report on a workload. The images come with the worst first;
// those beyond the limit are counted and not listed.
func (k reportKind) document(w Workload, images []finding, limit int) *unstructured.Unstructured {
	summary := map[string]any{"pass": int64(0), "fail": int64(0), "warn": int64(0), "error": int64(0), "skip": int64(0)}
	listed := []any{}
	for _, f := range images {
		result := results[f.State]
		if result == "" {
			continue // not asked yet
		}
		summary[result] = summary[result].(int64) + 1
		if len(listed) < limit {
			listed = append(listed, f.result(result))
		}
	}
	labels := map[string]any{}
	for key, value := range managed() {
		labels[key] = value
	}
	doc := map[string]any{
		"apiVersion": k.GroupVersion().String(), "kind": k.kind,
		"metadata": map[string]any{
			"name": reportName(w.UID), "namespace": w.Namespace, "labels": labels,
			"ownerReferences": []any{map[string]any{"apiVersion": w.APIVersion, "kind": w.Kind, "name": w.Name, "uid": string(w.UID)}},
		},
		"scope": map[string]any{
			"apiVersion": w.APIVersion, "kind": w.Kind, "name": w.Name, "namespace": w.Namespace, "uid": string(w.UID)},
		"summary": summary,
		"results": listed,
	}
	if k.kind == "Report" {
		doc["source"] = reportSource
		doc["configuration"] = map[string]any{"limits": map[string]any{"maxResults": int64(limit)}}
	}
	return &unstructured.Unstructured{Object: doc}
}

func (f finding) result(result string) map[string]any {
	policy := f.Policy
	if policy == "" {
		policy = "default"
	}
	properties := map[string]any{"image": cut(f.reference, maxMessage), "digest": f.digest.String(), "state": string(f.State)}
	if f.admission != "" {
		properties["admission"] = f.admission
	}
	if f.Report != "" {
		properties["report"] = cut(f.Report, maxMessage)
	}
	doc := map[string]any{
		"source": reportSource, "policy": policy, "rule": "image", "category": "image", "scored": true,
		"result": result, "message": cut(f.Message, maxMessage), "properties": properties,
	}
	if at := f.Evaluated; !at.IsZero() {
		doc["timestamp"] = stamp(at)
	}
	return doc
}

func stamp(at time.Time) map[string]any {
	return map[string]any{"seconds": at.Unix(), "nanos": int64(at.Nanosecond())}
}
