package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/agent"
	"github.com/waterwheel-io/waterwheel/agent/doctor"
)

func doctorCommand(file *string) *cobra.Command {
	var form string
	c := &cobra.Command{
		Use: "doctor", Short: "Look at all that the agent needs here: one line each, with the remedy; exit 1 if anything fails", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return examine(c.Context(), c.OutOrStdout(), *file, form) },
	}
	c.Flags().StringVarP(&form, "output", "o", "", "json")
	return c
}

func examine(ctx context.Context, w io.Writer, file, form string) error {
	write := doctor.Write
	switch form {
	case "":
	case "json":
		write = doctor.WriteJSON
	default:
		return fmt.Errorf("-o %s: want json", form)
	}
	cfg, err := agent.LoadConfig(file)
	if err != nil {
		return err
	}
	found, err := agent.Doctor(ctx, cfg)
	if err != nil {
		return err
	}
	if err := write(w, found); err != nil {
		return err
	}
	if doctor.Failed(found) {
		return errors.New("something has to be mended before an agent can work here")
	}
	return nil
}
