package render

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Keys of the Secret of a run. The pods mount the stores and read the password;
// the rest is for people who call REST with tools of their own.
const (
	KeyStore    = "keystore.p12"   // the server's key and certificate
	TrustStore  = "truststore.p12" // the run's authority, which signed all clients
	ClientStore = "client.p12"
	KeyCA       = "ca.crt"
	KeyPassword = "password"
)

// Keys are what the REST of one run and its clients prove themselves by.
type Keys struct {
	KeyStore, TrustStore, Client, CA []byte
	Password                         string // of all three stores
}

// Secret holds the keys of a run, named RESTName(run) and owned by its anchor.
// It is created once and never changed, nor read, by those who make it.
func Secret(l flink.Launch, p Place, keys Keys, anchor types.UID) *corev1.Secret {
	r := rendering{launch: l, place: p, names: names(Name(l.Run))}
	s := &corev1.Secret{
		TypeMeta: typeMeta("v1", "Secret"), ObjectMeta: r.meta(r.names.rest(), JobManager),
		Type: corev1.SecretTypeOpaque, Immutable: new(true),
		Data: map[string][]byte{
			KeyStore: keys.KeyStore, TrustStore: keys.TrustStore, ClientStore: keys.Client, KeyCA: keys.CA, KeyPassword: []byte(keys.Password),
		},
	}
	own(s, string(r.names), anchor)
	return s
}
