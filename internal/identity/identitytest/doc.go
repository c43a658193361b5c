// Package identitytest issues certificates to tests.
//
// Its Authority stands in for hub/ca where a test needs identities and not the issuing of them. It is made at the
// caller's time, so it works under the false time of a testing/synctest bubble. Only tests import it.
package identitytest
