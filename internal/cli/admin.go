package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/internal/identity"
	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
)

func (a *app) adminCmd() *cobra.Command {
	return group("admin", "Make further admins", a.adminCreateCmd())
}

func (a *app) adminCreateCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an admin, or give one a new certificate; the key is made here and stays here", Args: args(1, 1),
		RunE: a.run(func(cmd *cobra.Command, h *hub, args []string) error {
			if dir == "" {
				dir = args[0]
			}
			return createAdmin(cmd, h, args[0], dir)
		}),
	}
	cmd.Flags().StringVar(&dir, "out", "", "directory for the admin's files, made for it (default ./NAME)")
	return cmd
}

// createAdmin makes a key, has it certified, and writes all that the new admin needs to call the hub.
func createAdmin(cmd *cobra.Command, h *hub, name, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return usagef("the admin's files go into a directory of their own: %v", err)
	}
	key, err := identity.NewKey()
	if err != nil {
		return err
	}
	pem, err := identity.EncodeKey(key)
	if err != nil {
		return err
	}
	csr, err := identity.NewCSR(key)
	if err != nil {
		return err
	}
	got, err := h.admins.IssueAdmin(cmd.Context(), adminv1.IssueAdminRequest_builder{Name: name, Csr: csr}.Build())
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	cfg := Config{path: filepath.Join(dir, "config.yaml")}
	cfg.Set(Context{Name: "hub", Hub: got.GetHubAddress(), CAFile: "ca.pem", CertFile: "cert.pem", KeyFile: "key.pem"})
	for file, text := range map[string][]byte{"key.pem": pem, "cert.pem": []byte(got.GetCertificate()), "ca.pem": []byte(got.GetCaBundle())} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return fmt.Errorf("writing the admin's files: %w", err)
		}
	}
	if err := cfg.Save(); err != nil {
		return err
	}
	say(cmd, "admin/%s created: %s, until %s", name, got.GetSpiffeId(), got.GetNotAfter().AsTime().Format(time.DateOnly))
	say(cmd, "Its files are in %s; on its machine: export %s=%s", dir, configVariable, filepath.Join(dir, "config.yaml"))
	return nil
}
