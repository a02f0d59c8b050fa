package verdicts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// What processes with Redis alone need beside the verdicts: which rules are in
// force, what manifests are, and a queue for what they want to have analysed.

const (
	activeKey = keyPrefix + "active"
	queueKey  = keyPrefix + "wanted"
	// wantedFor is how long one wish is not queued again.
	wantedFor = time.Minute
	// maxQueue bounds the wishes that wait; the oldest make room.
	maxQueue = 10_000
)

// Active is what a process with Redis alone needs to choose the rules.
type Active struct {
	Epoch int64 `json:"epoch"`
	// Bundle is the id of the active bundle.
	Bundle string `json:"bundle"`
	// Bundles are the hashes of all bundles by id; the documents are under
	// bundle:<hash>.
	Bundles map[string]string `json:"bundles"`
	// Gate is the rest, in the words of package gate.
	Gate json.RawMessage `json:"gate"`
}

// Publish makes the bundles and the gate's settings known. documents are the
// bundles' texts by hash.
func (r *Redis) Publish(ctx context.Context, a Active, documents map[string][]byte) error {
	sealed, err := r.seal(activeKey, a)
	if err != nil {
		return err
	}
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for hash, raw := range documents {
			k := bundleKey(hash)
			doc, err := r.seal(k, json.RawMessage(raw))
			if err != nil {
				return err
			}
			p.Set(ctx, k, doc, 0)
		}
		p.Set(ctx, activeKey, sealed, 0)
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish the active policy: %w", err)
	}
	return nil
}

func bundleKey(hash string) string { return keyPrefix + "bundle:" + hash }

// Active returns what was published last, or nil.
func (r *Redis) Active(ctx context.Context) (*Active, error) {
	var a Active
	found, err := r.get(ctx, activeKey, &a)
	if err != nil || !found {
		return nil, err
	}
	return &a, nil
}

// Bundle returns the text of a published bundle, or nil.
func (r *Redis) Bundle(ctx context.Context, hash string) ([]byte, error) {
	var raw json.RawMessage
	_, err := r.get(ctx, bundleKey(hash), &raw)
	return raw, err
}

// PutFact keeps what is known of a thing, for as long as a verdict. The name
// must not come from strangers unchecked: it is part of a key.
func (r *Redis) PutFact(ctx context.Context, name string, fact any) error {
	k := keyPrefix + "fact:" + name
	sealed, err := r.seal(k, fact)
	if err != nil {
		return err
	}
	if err := r.client.Set(ctx, k, sealed, verdictTTL).Err(); err != nil {
		return fmt.Errorf("write to redis: %w", err)
	}
	return nil
}

// Fact reads what PutFact kept, and reports whether there is something.
func (r *Redis) Fact(ctx context.Context, name string, into any) (found bool, err error) {
	return r.get(ctx, keyPrefix+"fact:"+name, into)
}

// get reads a sealed value. One whose signature is wrong counts as absent.
func (r *Redis) get(ctx context.Context, key string, into any) (found bool, err error) {
	sealed, err := r.client.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read from redis: %w", err)
	}
	if err := r.unseal(key, sealed, into); err != nil {
		r.log.Warn("redis value refused", "key", key, "error", err)
		return false, nil
	}
	return true, nil
}

// want queues a wish unless the same one was queued a moment ago.
// KEYS[1] the wish, KEYS[2] the queue; ARGV lifetime in ms, value, length.
var want = redis.NewScript(`
if not redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[3]), -1)
return 1`)

// Want queues a wish for any process that fulfils them. The name says what is
// the same wish: within a minute it is queued once.
func (r *Redis) Want(ctx context.Context, name string, wish any) error {
	sealed, err := r.seal(queueKey, wish)
	if err != nil {
		return err
	}
	keys := []string{queueKey + ":" + name, queueKey}
	if err := want.Run(ctx, r.client, keys, wantedFor.Milliseconds(), sealed, maxQueue).Err(); err != nil {
		return fmt.Errorf("queue in redis: %w", err)
	}
	return nil
}

// Wanted takes the next wish out of the queue, waiting for one up to a second.
// found is false when there was none, or one with a wrong signature.
func (r *Redis) Wanted(ctx context.Context, into any) (found bool, err error) {
	got, err := r.client.BLPop(ctx, time.Second, queueKey).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the queue in redis: %w", err)
	}
	if err := r.unseal(queueKey, []byte(got[1]), into); err != nil {
		r.log.Warn("redis value refused", "key", queueKey, "error", err)
		return false, nil
	}
	return true, nil
}

// What clusters leave for the processes that judge.
const (
	Exceptions = "exceptions"
	Running    = "running"
)

// Leave keeps a document of a cluster, in place of the one before, and tells
// those who follow.
func (r *Redis) Leave(ctx context.Context, what, cluster string, doc any) error {
	k := keyPrefix + what
	sealed, err := r.seal(k+" "+cluster, doc)
	if err != nil {
		return err
	}
	_, err = r.client.WithTimeout(largeDeadline).Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, k, cluster, sealed)
		p.Publish(ctx, k, cluster)
		return nil
	})
	if err != nil {
		return fmt.Errorf("leave %s in redis: %w", what, err)
	}
	return nil
}

// Left returns what Leave kept, by cluster. What has a wrong signature counts as
// absent.
func (r *Redis) Left(ctx context.Context, what string) (map[string]json.RawMessage, error) {
	k := keyPrefix + what
	fields, err := r.client.WithTimeout(largeDeadline).HGetAll(ctx, k).Result()
	if err != nil {
		return nil, fmt.Errorf("read %s from redis: %w", what, err)
	}
	all := map[string]json.RawMessage{}
	for cluster, sealed := range fields {
		var doc json.RawMessage
		if err := r.unseal(k+" "+cluster, []byte(sealed), &doc); err != nil {
			r.log.Warn("redis value refused", "key", k, "cluster", cluster, "error", err)
			continue
		}
		all[cluster] = doc
	}
	return all, nil
}
