package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// reachTimeout is for one address.
const reachTimeout = 15 * time.Second

func reachCommand() *cobra.Command {
	var domain string
	c := &cobra.Command{
		Use: "reach HOST:PORT…", Short: "Tell whether the hub of a trust domain answers at these addresses", Args: cobra.MinimumNArgs(1),
		Long: "Tell whether the hub of a trust domain answers at these addresses. It shows nothing of its own and knows no roots:\n" +
			"it reads who the other end says it is, so it finds a wrong address or something in between, and no forger.",
		RunE: func(c *cobra.Command, addrs []string) error {
			want, err := identity.HubID(domain)
			if err != nil {
				return err
			}
			var errs []error
			for _, addr := range addrs {
				errs = append(errs, reach(c.Context(), c.OutOrStdout(), addr, want))
			}

			return errors.Join(errs...)
		},
	}
	c.Flags().StringVar(&domain, "trust-domain", "waterwheel", "SPIFFE trust domain of the fleet")

	return c
}

// reach shakes hands at one address.
func reach(ctx context.Context, w io.Writer, addr string, want identity.ID) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2"},
		InsecureSkipVerify: true, // nothing is sent; what it finds out is said in Long
		VerifyConnection: func(s tls.ConnectionState) error {
			id, err := identity.IDOf(s.PeerCertificates[0])
			if err == nil && id != want {
				err = fmt.Errorf("it is %s, not %s", id, want)
			}

			return err
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("%s: %w", addr, err)
	}
	fmt.Fprintf(w, "%s answers as %s\n", addr, want)

	return conn.Close()
}
