package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/waterwheel-io/waterwheel/agent/rbac"
	"github.com/waterwheel-io/waterwheel/e2e/kind/world"
	"github.com/waterwheel-io/waterwheel/e2e/stage"
)

// rights: what the agent may do, as the API server sees it, is what `waterwheel-agent rbac` tells in words, and no more.
func (t *teller) rights(ctx context.Context) error {
	var differ []string
	all := 0
	for namespace, place := range map[string]rbac.Place{world.AgentNamespace: rbac.Own, world.JobNamespace: rbac.Tenant, "kube-system": nowhere} {
		granted, err := t.granted(ctx, namespace)
		if err != nil {
			return err
		}
		told := map[string]bool{}
		if place != nowhere {
			for _, r := range rbac.Rules(rbac.Agent, place) {
				flatten(told, r)
			}
		}
		all += len(granted)
		for right := range maps.Keys(granted) {
			if !told[right] {
				differ = append(differ, namespace+": granted and not told: "+right)
			}
		}
		for right := range maps.Keys(told) {
			if !granted[right] {
				differ = append(differ, namespace+": told and not granted: "+right)
			}
		}
	}
	stage.Line(os.Stdout, "rights", "granted", all, "differ_from_rbac_in_words", len(differ))
	if len(differ) > 0 {
		slices.Sort(differ)
		return errors.New(strings.Join(differ, "; "))
	}
	return nil
}

// nowhere is a namespace that is none of the agent's business.
const nowhere rbac.Place = "nowhere"

// granted asks the API server what the agent may do in a namespace, beyond what everybody may.
func (t *teller) granted(ctx context.Context, namespace string) (map[string]bool, error) {
	review := fmt.Sprintf(`{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": %q}}`, namespace)
	out, err := t.c.KubectlWith(ctx, strings.NewReader(review), "create", "--validate=false", "-f", "-", "-o", "json", "--as="+agentUser, "--as-group=system:serviceaccounts", "--as-group=system:authenticated")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status struct {
			ResourceRules []rbac.Rule `json:"resourceRules"`
			Incomplete    bool        `json:"incomplete"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("read the review of rights: %w", err)
	}
	rights := map[string]bool{}
	for _, r := range answer.Status.ResourceRules {
		if len(r.APIGroups) == 1 && (r.APIGroups[0] == "authorization.k8s.io" || r.APIGroups[0] == "authentication.k8s.io") {
			continue // everybody may ask what he may
		}
		flatten(rights, r)
	}
	if answer.Status.Incomplete || len(rights) == 0 && namespace != "kube-system" {
		return nil, fmt.Errorf("the review of rights in %s is not whole: %s", namespace, out)
	}
	return rights, nil
}

// flatten writes a rule as single rights.
func flatten(into map[string]bool, r rbac.Rule) {
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{"*"}
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, name := range names {
				for _, verb := range r.Verbs {
					into[strings.Join([]string{verb, resource, group, name}, " ")] = true
				}
			}
		}
	}
}
