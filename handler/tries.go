package handler

import (
	"context"
	"strings"
	"sync"
	"time"

	"firstline/internal/fault"
	"firstline/internal/redact"
)

// joined makes one error of those of several tries; nil ones are left out. One
// that may pass speaks for all: the step is to be tried again.
func joined(op string, errs []error) error {
	var kind fault.Kind
	var texts []string
	for _, err := range errs {
		if err == nil {
			continue
		}
		if k := fault.KindOf(err); kind == "" || k == fault.Unavailable {
			kind = k
		}
		texts = append(texts, redact.Error(err))
	}
	if texts == nil {
		return nil
	}
	return fault.New(kind, op, "%s", strings.Join(texts, "; "))
}

// keeping is a context that ends some time before the function's time does.
func keeping(ctx context.Context, kept time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-kept))
}

// share is a context with its part of the time that is left.
func share(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
}

// atOnce is how many calls one step makes at the same time.
const atOnce = 8

// sideBySide calls do for each item, some at once, and returns their errors, one
// for each item. A panic ends that call only.
func sideBySide[T any](ctx context.Context, h *Handler, items []T, do func(T) error) []error {
	errs := make([]error, len(items))
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for n, item := range items {
		places <- struct{}{}
		all.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[n] = h.panicked(ctx, "side by side", r)
				}
				<-places
			}()
			errs[n] = do(item)
		})
	}
	all.Wait()
	return errs
}
