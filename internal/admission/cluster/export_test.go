package cluster

import "context"

// Pass looks once at everything, as Run does again and again.
func Pass(ctx context.Context, c *Certificates) error { return c.pass(ctx) }
