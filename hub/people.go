package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/admin"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// Limits of the admin port.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = time.Minute
	idleTimeout    = 2 * time.Minute
	maxAdminStream = 32 // per connection
	maxHeaderBytes = 16 << 10
)

func roleAdmin(p identity.Peer) error {
	if p.ID.Role() != identity.RoleAdmin {
		return fmt.Errorf("%w: this is the admin port", admin.ErrDenied)
	}

	return nil
}

// newAdminServer serves the admin API to those who hold an admin's certificate.
func newAdminServer(src identity.Source, trustDomain string, api http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: api,
		TLSConfig: identity.ServerTLS(identity.Server{
			Source: src, TrustDomain: trustDomain, Check: roleAdmin, NextProtos: []string{"h2", "http/1.1"},
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxAdminStream},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo),
	}
}

// serveAdmins serves until ctx ends, then lets running calls finish for a moment.
func serveAdmins(ctx context.Context, srv *http.Server, lis net.Listener) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
		defer cancel()
		if srv.Shutdown(late) != nil {
			_ = srv.Close() // calls that will not end
		}
	})
	err := srv.ServeTLS(lis, "", "")
	if stop() { // it ended by itself
		return fmt.Errorf("serving admins: %w", err)
	}
	<-stopped
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving admins: %w", err)
	}

	return nil
}
