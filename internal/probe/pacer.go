package probe

import (
	"context"
	"sync"
	"time"
)

// pacer spaces calls evenly, whoever makes them.
type pacer struct {
	interval time.Duration

	mu   sync.Mutex
	next time.Time
}

// wait returns when the next call may begin, or when ctx ends.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	at := p.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	p.next = at.Add(p.interval)
	p.mu.Unlock()
	return sleep(ctx, time.Until(at))
}

// charge puts off later calls by as many as were made unasked.
func (p *pacer) charge(calls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(calls) * p.interval)
}

// sleep waits unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
