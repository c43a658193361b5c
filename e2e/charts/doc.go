// Package charts checks the two Helm charts as they are rendered: that Kubernetes would take every object, that nothing
// is granted which the table in agent/rbac does not have, that wrong values are refused in words, and what stays when a
// chart goes.
//
// It holds tests alone. They need Helm, which they build from the module that .ci/tools/helm.mod pins, and no cluster.
package charts
