package handler

import (
	"log/slog"

	"firstline/internal/old/guard"
)

// words is what an error says, without what looks like a secret.
func words(err error) string { return guard.Words(err) }

// problem is an error in a log line; nil is none.
func problem(err error) slog.Attr {
	if err == nil {
		return slog.Any("error", nil)
	}
	return slog.String("error", words(err))
}
