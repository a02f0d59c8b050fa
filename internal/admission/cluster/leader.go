package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaderConfig says how replicas agree which of them writes.
type LeaderConfig struct {
	// Namespace is where the Lease is: Pratique's own.
	Namespace string `yaml:"namespace"`
	// Lease is its name. It is made if it is not there.
	Lease string `yaml:"lease"`
	// Identity is the replica: the pod's name.
	Identity string `yaml:"identity"`
	// Duration is how long a leader that is not heard of keeps the others
	// waiting. Default 15s; at least 1s.
	Duration time.Duration `yaml:"duration"`
}

// Validate says what is wrong with the configuration.
func (c LeaderConfig) Validate() error {
	if c.Namespace == "" || c.Lease == "" || c.Identity == "" {
		return errors.New("namespace, lease or identity is missing")
	}
	if c.Duration != 0 && c.Duration < time.Second {
		return errors.New("duration: less than a second")
	}
	return nil
}

// lead calls do while this replica is the leader, again and again until ctx
// ends. The context of do ends when the lead is lost. The next leader may begin
// before do has returned: what do writes must bear that.
func lead(ctx context.Context, cfg LeaderConfig, client kubernetes.Interface, log *slog.Logger, do func(context.Context)) error {
	for ctx.Err() == nil {
		if err := term(ctx, cfg, client, log, do); err != nil {
			return err
		}
	}
	return nil
}

// term is one election and what comes of it.
func term(ctx context.Context, cfg LeaderConfig, client kubernetes.Interface, log *slog.Logger, do func(context.Context)) error {
	ctx, cancel := context.WithCancel(logged(ctx, log))
	defer cancel()
	elected := make(chan context.Context, 1)
	duration := cmp.Or(cfg.Duration, 15*time.Second)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: cfg.Lease,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: cfg.Namespace, Name: cfg.Lease},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: cfg.Identity},
		},
		LeaseDuration: duration, RenewDeadline: duration * 2 / 3, RetryPeriod: duration * 2 / 15,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			// The library runs this in a goroutine that nobody waits for.
			OnStartedLeading: func(leading context.Context) { elected <- leading },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("elect a leader: %w", err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		elector.Run(ctx)
	}()
	select {
	case leading := <-elected:
		log.Info("inventory leads", "lease", cfg.Lease, "identity", cfg.Identity)
		do(leading)
		log.Info("inventory leads no more", "lease", cfg.Lease, "identity", cfg.Identity)
		cancel()
	case <-over:
	}
	<-over
	return nil
}
