package flight_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pratique/pratique/internal/flight"
)

func TestOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, int]
		asked, answer := 0, make(chan struct{})
		ask := func(context.Context) (int, error) {
			asked++
			<-answer
			return 7, nil
		}
		for range 20 {
			go func() {
				if v, err := g.Do(t.Context(), "a", ask); v != 7 || err != nil {
					t.Errorf("%d, %v", v, err)
				}
			}()
		}
		synctest.Wait()
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Do(late, "a", ask); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who cannot wait: %v", err)
		}
		close(answer)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		if _, err := g.Do(t.Context(), "a", ask); err != nil || asked != 2 {
			t.Errorf("an answer was kept: %v", err)
		}
	})
}

// When the one who asks has no time left, another asks; a question that failed of
// itself, its own time-outs included, has failed for all.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flight.Group[string, string]
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			_, err := g.Do(short, "a", func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %v", err)
			}
		}()
		synctest.Wait()
		v, err := g.Do(t.Context(), "a", func(context.Context) (string, error) { return "second", nil })
		if v != "second" || err != nil {
			t.Errorf("the second: %q, %v", v, err)
		}

		asked := 0
		slow := func(context.Context) (string, error) {
			asked++
			time.Sleep(time.Second)
			return "", context.DeadlineExceeded
		}
		for range 5 {
			go func() {
				if _, err := g.Do(t.Context(), "b", slow); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("what had timed out was asked %d times", asked)
		}
	})
}
