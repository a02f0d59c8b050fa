package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// Leader has one of the replicas do what is to be done once.
type Leader struct {
	config LeaderConfig
	client kubernetes.Interface
	log    *slog.Logger
	duties []func(context.Context)
}

// NewLeader returns one without duties.
func NewLeader(cfg LeaderConfig, client kubernetes.Interface, log *slog.Logger) (*Leader, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("leader: %w", err)
	}
	return &Leader{config: cfg, client: client, log: log}, nil
}

// Do adds a duty, before Run. It is called when this replica comes to lead, and
// its context ends when the lead is lost. The next leader may begin before it has
// returned: what it writes must bear that.
func (l *Leader) Do(duty func(context.Context)) { l.duties = append(l.duties, duty) }

// Run stands for election, again and again until ctx ends.
func (l *Leader) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.term(ctx); err != nil {
			return err
		}
	}
	return nil
}

// lead does all duties at the same time.
func (l *Leader) lead(ctx context.Context) {
	var wg sync.WaitGroup
	for _, duty := range l.duties {
		wg.Go(func() { duty(ctx) })
	}
	<-ctx.Done()
	wg.Wait()
}

// term is one election and what comes of it.
func (l *Leader) term(ctx context.Context) error {
	cfg := l.config
	ctx, cancel := context.WithCancel(logged(ctx, l.log))
	defer cancel()
	elected := make(chan context.Context, 1)
	duration := cmp.Or(cfg.Duration, 15*time.Second)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: cfg.Lease,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: cfg.Namespace, Name: cfg.Lease},
			Client:     l.client.CoordinationV1(),
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
		l.log.Info("replica leads", "lease", cfg.Lease, "identity", cfg.Identity)
		l.lead(leading)
		l.log.Info("replica leads no more", "lease", cfg.Lease, "identity", cfg.Identity)
		cancel()
	case <-over:
	}
	<-over
	return nil
}
