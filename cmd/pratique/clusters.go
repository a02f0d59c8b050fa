package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newExceptionsCommand() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use: "exceptions", Short: "Show the exceptions that clusters keep",
		Long: `Show the exceptions that clusters keep as objects (ImageException), as the gate
holds them. They are made and deleted in the cluster (kubectl get imageexceptions);
gate.cluster_exceptions says what they may do. Exceptions of a policy stand in its
whitelists.`,
		Example: `  pratique exceptions list
  pratique exceptions list --format json`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
	}
	c.flags(cmd)
	cmd.AddCommand(&cobra.Command{
		Use: "list", Short: "Show them, those that run out first in front", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.exceptions(cmd.Context(), cmd.OutOrStdout())
		},
	})
	return cmd
}

// exceptionRecord is an exception as the API describes it.
type exceptionRecord struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason"`
	Expires time.Time `json:"expires"`
	State   string    `json:"state"`
	Scope   struct {
		Images     []string `json:"images"`
		Digests    []string `json:"digests"`
		Namespaces []string `json:"namespaces"`
		Pulls      bool     `json:"pulls"`
	} `json:"scope"`
	Findings []struct {
		TriggerID string `json:"trigger_id"`
	} `json:"findings"`
}

func (c *client) exceptions(ctx context.Context, w io.Writer) error {
	var answer struct {
		Exceptions []exceptionRecord `json:"exceptions"`
		Hold       string            `json:"hold"`
	}
	return c.list(ctx, w, "/v1/pratique/exceptions", nil, &answer, func() error { return printExceptions(w, answer.Exceptions, answer.Hold) })
}

func printExceptions(w io.Writer, all []exceptionRecord, hold string) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no cluster has exceptions")
		return err
	}
	slices.SortStableFunc(all, func(a, b exceptionRecord) int { return a.Expires.Compare(b.Expires) })
	var rows [][]string
	for _, e := range all {
		rows = append(rows, []string{e.ID, e.State, e.Expires.Local().Format(time.DateTime), e.where(), e.what(), e.Owner, short(e.Reason, 50)})
	}
	if err := table(w, []string{"ID", "STATE", "UNTIL", "WHERE", "WHAT", "OWNER", "REASON"}, rows); err != nil {
		return err
	}
	said := map[string]string{"none": "\nnone of them holds: gate.cluster_exceptions is none\n", "admission": "\nnone of them holds for pulls: gate.cluster_exceptions is admission\n"}[hold]
	_, err := io.WriteString(w, said)
	return err
}

// where is the scope in short.
func (e exceptionRecord) where() string {
	text := few(append(slices.Clone(e.Scope.Images), e.Scope.Digests...), 40)
	if len(e.Scope.Namespaces) > 0 {
		text += " in " + few(e.Scope.Namespaces, 30)
	}
	if e.Scope.Pulls {
		text += ", and pulls"
	}
	return text
}

func (e exceptionRecord) what() string {
	var ids []string
	for _, f := range e.Findings {
		ids = append(ids, f.TriggerID)
	}
	return few(ids, 40)
}

// few shows the first of several, and how many there are beside it.
func few(all []string, most int) string {
	if len(all) == 0 {
		return ""
	}
	text := short(all[0], most)
	if more := len(all) - 1; more > 0 {
		text += fmt.Sprintf(" (+%d)", more)
	}
	return text
}

func newRunningCommand() *cobra.Command {
	var c client
	var cluster, state string
	cmd := &cobra.Command{
		Use: "running", Short: "Show what runs in the clusters, and how it stands", Args: cobra.NoArgs,
		Long: `Show the images that run in the clusters that admission serves, the worst first: how
they stand by the policy of now, and how they came in.

  admitted  this very image was let in
  other     another image was let in under this name: the tag has moved since
  none      admission never saw it: it is older, exempt, or came past the webhook
  -         not known`,
		Example: `  pratique running
  pratique running --cluster prod --state fail
  pratique running --format json`,
		PersistentPreRunE: func(*cobra.Command, []string) error { return checkFormat(c.format) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.running(cmd.Context(), cmd.OutOrStdout(), cluster, state)
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&cluster, "cluster", "", "only this cluster")
	cmd.Flags().StringVar(&state, "state", "", "only images that stand like this: fail, warn, pass, pending, unknown, unmapped, error")
	return cmd
}

// runningRecord is what runs in a cluster, as the API has it.
type runningRecord struct {
	Cluster string    `json:"cluster"`
	At      time.Time `json:"at"`
	Pods    int       `json:"pods"`
	More    int       `json:"more"`
	Images  []struct {
		Namespace string `json:"namespace"`
		Reference string `json:"reference"`
		Digest    string `json:"digest"`
		Standing  struct {
			State   string `json:"state"`
			Message string `json:"message"`
		} `json:"standing"`
		Pods      int    `json:"pods"`
		Admission string `json:"admission"`
		Workloads []struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"workloads"`
	} `json:"images"`
}

func (c *client) running(ctx context.Context, w io.Writer, cluster, state string) error {
	var answer struct {
		Clusters map[string]runningRecord `json:"clusters"`
	}
	return c.list(ctx, w, "/v1/pratique/running", nil, &answer, func() error {
		if cluster != "" {
			maps.DeleteFunc(answer.Clusters, func(name string, _ runningRecord) bool { return name != cluster })
		}
		if len(answer.Clusters) == 0 {
			_, err := fmt.Fprintln(w, "no cluster has told what runs in it (yet): is admission running, with admission.kubernetes.inventory?")
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(answer.Clusters)) {
			if err := answer.Clusters[name].print(w, name, state); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r runningRecord) print(w io.Writer, name, state string) error {
	pods := "pods"
	if r.Pods == 1 {
		pods = "pod"
	}
	if _, err := fmt.Fprintf(w, "cluster %s, %d %s, as told %s\n\n", name, r.Pods, pods, ago(r.At)); err != nil {
		return err
	}
	var rows [][]string
	for _, im := range r.Images {
		stands := im.Standing.State
		if stands == "" {
			stands = "new"
		}
		if state != "" && stands != state {
			continue
		}
		admission := im.Admission
		if admission == "" {
			admission = "-"
		}
		var of []string
		for _, workload := range im.Workloads {
			of = append(of, workload.Kind+" "+workload.Name)
		}
		rows = append(rows, []string{
			strings.ToUpper(stands), admission, im.Namespace, im.Reference, short(strings.TrimPrefix(im.Digest, "sha256:"), 12), strconv.Itoa(im.Pods), few(of, 40), short(im.Standing.Message, 60),
		})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no image stands like that")
		return err
	}
	if err := table(w, []string{"STATE", "CAME IN", "NAMESPACE", "IMAGE", "DIGEST", "PODS", "OF", "WHY"}, rows); err != nil {
		return err
	}
	if r.More > 0 {
		_, err := fmt.Fprintf(w, "and %d more\n", r.More)
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
