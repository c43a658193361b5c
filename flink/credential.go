package flink

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// credentialFormats are the written forms of secrets that can be told by their
// form alone. No guess is made from how random a text looks.
var credentialFormats = []struct {
	what string
	form *regexp.Regexp
}{
	{"an AWS access key", regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`)},
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)},
	{"a JSON Web Token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.`)},
	{"a GitHub token", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})`)},
	{"a GitLab token", regexp.MustCompile(`\bglpat-[A-Za-z0-9_-]{20,}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`)},
	{"a Google API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`)},
	{"a Google OAuth token", regexp.MustCompile(`\bya29\.[A-Za-z0-9_-]{20,}`)},
	{"a Stripe key", regexp.MustCompile(`\b[sr]k_live_[A-Za-z0-9]{16,}`)},
	{"an Azure storage key", regexp.MustCompile(`(?i)\b(AccountKey|SharedAccessKey)=[A-Za-z0-9+/=]{16,}`)},
	{"a signed URL", regexp.MustCompile(`(?i)[?&](sig|x-amz-signature|x-goog-signature)=[A-Za-z0-9%+/=]{16,}`)},
	{"an authorization header", regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{16,}`)},
	{"a URL with a password", regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)},
	{"a password", regexp.MustCompile(
		`(?i)\b(password|passwd|pwd|passphrase|secret|secret[_.-]?key|access[_.-]?key|api[_.-]?key|auth[_.-]?token)["']?\s*[=:]\s*["']?[^\s"'$&;,]`)},
}

// credentialWords end the name of a key or a flag whose value is a secret,
// written as words joined by hyphens.
var credentialWords = []string{
	"password", "passwd", "passphrase", "secret", "secret-key", "access-key", "access-key-id", "access-key-secret",
	"secret-access-key", "private-key", "account-key", "api-key", "apikey", "token", "credential", "credentials",
	"jaas-config", "sasl-jaas", "basic-auth", "encryption-key",
}

// credentialPrefixes begin such names where the end is somebody's own word.
var credentialPrefixes = []string{"fs-azure-account-key-"}

// reference is a value that stands for something kept elsewhere.
var reference = regexp.MustCompile(`^\$(\{[^{}]+\}|\([^()]+\))$`)

// credentialIn says which known kind of credential is written in a text; empty: none.
func credentialIn(text string) string {
	if reference.MatchString(text) {
		return ""
	}
	for _, c := range credentialFormats {
		if c.form.MatchString(text) {
			return c.what
		}
	}
	return ""
}

// credentialName reports whether a configuration key or a flag, without its
// dashes, is a usual name for a secret.
func credentialName(name string) bool {
	words := hyphenated(name)
	for _, p := range credentialPrefixes {
		if strings.HasPrefix(words, p) {
			return true
		}
	}
	for _, w := range credentialWords {
		if words == w || strings.HasSuffix(words, "-"+w) {
			return true
		}
	}
	return false
}

// assignsCredential reports whether one of the words of a text, such as
// -Djavax.net.ssl.keyStorePassword=…, assigns to a usual name for a secret.
func assignsCredential(text string) bool {
	for word := range strings.FieldsSeq(text) {
		name, value, assigned := strings.Cut(word, "=")
		if assigned && value != "" && !reference.MatchString(value) && credentialName(strings.TrimLeft(name, "-")) {
			return true
		}
	}
	return false
}

// hyphenated writes s3a.secretKey, S3A_SECRET_KEY and s3a.secret-key alike.
func hyphenated(name string) string {
	var b strings.Builder
	lower := false
	for _, r := range name {
		switch {
		case r == '.' || r == '_' || r == '-':
			b.WriteByte('-')
			lower = false
			continue
		case unicode.IsUpper(r) && lower:
			b.WriteByte('-')
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// masked stands for a value that must not be repeated to anybody.
func masked(value string) string { return fmt.Sprintf("(hidden, %d bytes)", len(value)) }
