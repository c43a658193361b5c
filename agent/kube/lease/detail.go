package lease

import (
	"context"
	"log/slog"
)

// detail passes on whatever is said as a detail. What the elector calls an error is mostly a race that another replica
// won; what people are to know, lock and turn say.
type detail struct{ to slog.Handler }

func lowered(l slog.Level) slog.Level { return min(l, slog.LevelDebug) }

// Enabled implements slog.Handler.
func (d detail) Enabled(ctx context.Context, l slog.Level) bool { return d.to.Enabled(ctx, lowered(l)) }

// Handle implements slog.Handler.
func (d detail) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lowered(r.Level)

	return d.to.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (d detail) WithAttrs(attrs []slog.Attr) slog.Handler { return detail{d.to.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (d detail) WithGroup(name string) slog.Handler { return detail{d.to.WithGroup(name)} }
