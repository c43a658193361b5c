package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Right is one verb on one kind of object, or on one object by name. A subresource is part of Resource, as in pods/exec.
type Right struct {
	Verb, Group, Resource, Name string
}

// Missing are those of the rights in a namespace that the account does not have. The server lists the account's rules;
// only what they do not cover is asked for one by one, since an authorizer need not know rules.
func (s *Server) Missing(ctx context.Context, namespace string, want []Right) ([]Right, error) {
	review, err := s.client.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask for the rights in %s: %w", namespace, err)
	}
	var missing []Right
	for _, r := range want {
		if covered(review.Status.ResourceRules, r) {
			continue
		}
		allowed, err := s.allowed(ctx, namespace, r)
		if err != nil {
			return nil, fmt.Errorf("ask whether %s %s is allowed in %s: %w", r.Verb, r.Resource, namespace, err)
		}
		if !allowed {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

func (s *Server) allowed(ctx context.Context, namespace string, r Right) (bool, error) {
	resource, sub, _ := strings.Cut(r.Resource, "/")
	review, err := s.client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: sub, Name: r.Name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// covered tells that a rule gives a right.
func covered(rules []authorizationv1.ResourceRule, r Right) bool {
	has := func(list []string, want string) bool {
		return slices.Contains(list, want) || slices.Contains(list, "*")
	}
	return slices.ContainsFunc(rules, func(rule authorizationv1.ResourceRule) bool {
		return has(rule.Verbs, r.Verb) && has(rule.APIGroups, r.Group) && has(rule.Resources, r.Resource) &&
			(len(rule.ResourceNames) == 0 || r.Name != "" && slices.Contains(rule.ResourceNames, r.Name))
	})
}

func decode(body []byte, into any) error { return json.Unmarshal(body, into) }
