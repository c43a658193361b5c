package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/waterwheel-io/waterwheel/agent/rbac"
)

func rbacCommand(file *string) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "rbac", Short: "Say what an agent in Kubernetes may do, where, and why", Args: cobra.NoArgs,
		Long: "Say what an agent in Kubernetes may do, where, and why. With --config, of the namespaces in that file;\n" +
			"else of an example. It asks no cluster: kubectl auth can-i --list --as=… tells what is granted there.",
		RunE: func(c *cobra.Command, _ []string) error {
			at := rbac.Example()
			if c.Flags().Changed("config") {
				var err error
				if at, err = installation(*file); err != nil {
					return err
				}
			}

			return printRBAC(c.OutOrStdout(), at, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "words", "words, yaml or json")

	return c
}

func printRBAC(w io.Writer, at rbac.Installation, output string) error {
	var text string
	switch output {
	case "words":
		text = rbac.Words(at)
	case "yaml":
		text = rbac.RolesYAML(rbac.Roles(at))
	case "json":
		list := map[string]any{"apiVersion": "v1", "kind": "List", "items": rbac.Roles(at)}
		b, err := json.MarshalIndent(list, "", "  ")
		if err != nil {
			return fmt.Errorf("encode the roles: %w", err)
		}
		text = string(b) + "\n"
	default:
		return fmt.Errorf("-o %q is not known, use words, yaml or json", output)
	}
	_, err := io.WriteString(w, text)

	return err
}

// installation reads of an agent's file where it works. The rest of the file is for the agent to check.
func installation(file string) (rbac.Installation, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return rbac.Installation{}, fmt.Errorf("read config: %w", err)
	}
	var c struct {
		Runtime struct {
			Kind       string
			Kubernetes struct {
				Namespace string
				Tenants   []struct{ Name, Namespace string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return rbac.Installation{}, fmt.Errorf("%s: %s", file, yaml.FormatError(err, false, false))
	}
	if c.Runtime.Kind != "kubernetes" {
		return rbac.Installation{}, fmt.Errorf("%s: runtime.kind is %q: an agent needs rights of a cluster in kubernetes alone", file, c.Runtime.Kind)
	}
	at := rbac.Installation{Namespace: c.Runtime.Kubernetes.Namespace}
	for _, t := range c.Runtime.Kubernetes.Tenants {
		at.Tenants = append(at.Tenants, rbac.TenantPlace{Name: t.Name, Namespace: t.Namespace})
	}

	return at, nil
}
