package verdicts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/redis/go-redis/v9"

	"github.com/pratique/pratique/engine/policy"
)

// RedisConfig says which Redis (or Valkey) the verdicts are shared through.
type RedisConfig struct {
	// URL is redis://[user[:password]@]host:port/db, or rediss:// for TLS.
	// Empty: no Redis.
	URL string `yaml:"url"`
	// PasswordFile holds the password, so that it need not stand in URL.
	PasswordFile string `yaml:"password_file"`
	// HMACKeyFile holds the key that signs every value, so that nobody who can
	// write to Redis can forge a verdict. Required unless Redis is on loopback.
	HMACKeyFile string `yaml:"hmac_key_file"`
}

// Validate checks the configuration without touching the network.
func (c RedisConfig) Validate() error {
	if c.URL == "" {
		return nil
	}
	opts, err := redis.ParseURL(c.URL)
	if err != nil {
		return errors.New("redis.url: not a redis:// or rediss:// URL") // the URL may hold a password
	}
	if c.HMACKeyFile == "" && !loopback(opts.Addr) {
		return fmt.Errorf("redis.hmac_key_file: required, because %s is not a loopback address", opts.Addr)
	}
	return nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

const (
	redisDeadline = 300 * time.Millisecond // for one call
	largeDeadline = 5 * time.Second        // for one that may move megabytes; nobody waits for it
	verdictTTL    = 14 * 24 * time.Hour    // a verdict that nobody renewed for so long is looked up in the catalog
	keyPrefix     = "pratique:v1:"
	invalidations = keyPrefix + "invalidate" // channel; the payload is a verdict's key
)

// Redis is a Store shared by processes. Every value is signed; one whose
// signature is wrong counts as absent and is reported.
type Redis struct {
	client *redis.Client
	key    []byte
	log    *slog.Logger
}

// NewRedis makes the store. It does not connect: a Redis that is down at start
// is as good as one that goes down later.
func NewRedis(c RedisConfig, log *slog.Logger) (*Redis, error) {
	opts, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, errors.New("redis.url: not a redis:// or rediss:// URL")
	}
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("redis.password_file: %w", err)
		}
		opts.Password = strings.TrimSpace(string(b))
	}
	key := []byte("pratique on loopback")
	if c.HMACKeyFile != "" {
		if key, err = os.ReadFile(c.HMACKeyFile); err != nil {
			return nil, fmt.Errorf("redis.hmac_key_file: %w", err)
		}
	}
	redis.SetLogger(quiet{}) // the library's process-wide logger: what it says comes back as errors
	opts.MaxRetries = -1
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout = redisDeadline, redisDeadline, redisDeadline
	opts.PoolTimeout = redisDeadline
	opts.DialerRetries = 1
	opts.ContextTimeoutEnabled = true
	return &Redis{client: redis.NewClient(opts), key: key, log: log}, nil
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }

// Ping reports whether Redis answers.
func (r *Redis) Ping(ctx context.Context) error { return r.client.Ping(ctx).Err() }

func verdictKey(manifest digest.Digest, selection string) string {
	return keyPrefix + "verdict:" + manifest.Encoded() + ":" + selection
}

// Get returns the verdict, or nil.
func (r *Redis) Get(ctx context.Context, manifest digest.Digest, selection string) (*policy.Verdict, error) {
	k := verdictKey(manifest, selection)
	sealed, err := r.client.HGet(ctx, k, "v").Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read verdict from redis: %w", err)
	}
	v := new(policy.Verdict)
	if err := r.unseal(k, sealed, v); err != nil {
		r.log.Warn("redis value refused", "key", k, "error", err)
		return nil, nil
	}
	return v, nil
}

// put compares and sets in one step, and tells the other processes.
// KEYS[1] verdict; ARGV engine, data sequence, value, lifetime in ms, channel.
var put = redis.NewScript(`
local e, d = redis.call('HGET', KEYS[1], 'e'), redis.call('HGET', KEYS[1], 'd')
if e and d then
  e, d = tonumber(e), tonumber(d)
  if e > tonumber(ARGV[1]) or (e == tonumber(ARGV[1]) and d > tonumber(ARGV[2])) then return 0 end
end
redis.call('HSET', KEYS[1], 'e', ARGV[1], 'd', ARGV[2], 'v', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], KEYS[1])
return 1`)

// Put stores the verdict unless a newer one is there.
func (r *Redis) Put(ctx context.Context, v *policy.Verdict) (bool, error) {
	k := verdictKey(v.Manifest, v.Selection)
	sealed, err := r.seal(k, v)
	if err != nil {
		return false, err
	}
	n, err := put.Run(ctx, r.client, []string{k}, v.Engine, v.Data.Sequence, sealed, verdictTTL.Milliseconds(), invalidations).Int()
	if err != nil {
		return false, fmt.Errorf("write verdict to redis: %w", err)
	}
	return n == 1, nil
}

// Follow calls forget for every verdict that any process puts, and excepted when
// exceptions have changed, until ctx ends.
// It reconnects on its own; memory that missed messages while Redis was away
// holds verdicts that were in force then, as does the catalog.
func (r *Redis) Follow(ctx context.Context, forget func(manifest digest.Digest, selection string), excepted func()) {
	sub := r.client.Subscribe(ctx, invalidations, keyPrefix+Exceptions)
	defer sub.Close()
	messages := sub.Channel()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			if m.Channel == keyPrefix+Exceptions {
				excepted()
				continue
			}
			if hex, selection, ok := strings.Cut(strings.TrimPrefix(m.Payload, keyPrefix+"verdict:"), ":"); ok {
				forget(digest.NewDigestFromEncoded(digest.SHA256, hex), selection)
			}
		}
	}
}

// seal signs the key and the value, so that a value cannot be moved to another
// key either.
func (r *Redis) seal(key string, value any) ([]byte, error) {
	doc, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return append(r.sign(key, doc), doc...), nil
}

func (r *Redis) unseal(key string, sealed []byte, value any) error {
	if len(sealed) < sha256.Size {
		return errors.New("too short")
	}
	doc := sealed[sha256.Size:]
	if !hmac.Equal(sealed[:sha256.Size], r.sign(key, doc)) {
		return errors.New("signature is wrong")
	}
	return json.Unmarshal(doc, value)
}

func (r *Redis) sign(key string, doc []byte) []byte {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(key))
	mac.Write([]byte{0})
	mac.Write(doc)
	return mac.Sum(nil)
}
