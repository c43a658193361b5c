package ca

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
)

const (
	// TokenLife is how long a join token is good for.
	TokenLife = time.Hour

	tokenPrefix = "wwj1."
	tokenBytes  = 32
)

// newToken draws a join token: what is shown once, and the hash that is kept.
func newToken() (token, hash string) {
	var secret [tokenBytes]byte
	rand.Read(secret[:]) // never fails: the process ends instead

	return tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:]), hashSecret(secret[:])
}

// tokenHash is the hash that a token is kept under; false if it does not look like a token.
func tokenHash(token string) (string, bool) {
	body, ok := strings.CutPrefix(strings.TrimSpace(token), tokenPrefix)
	if !ok {
		return "", false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(secret) != tokenBytes {
		return "", false
	}

	return hashSecret(secret), true
}

// hashSecret needs no salt and no stretching: the secret is 256 random bits. Looking the hash up in an index tells a
// prober nothing about the secret, so that no comparison of secrets is left to be made in constant time.
func hashSecret(secret []byte) string {
	sum := sha256.Sum256(secret)

	return hex.EncodeToString(sum[:])
}
