package hub

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// defaultContext is how the context in an admin's directory is called.
const defaultContext = "hub"

// Context is which hub to call, and as whom, as the waterwheel command reads it: by files, or written out.
type Context struct {
	Name     string `yaml:"name"`
	Hub      string `yaml:"hub"` // host:port of the admin port
	CAFile   string `yaml:"caFile,omitempty"`
	CAData   string `yaml:"caData,omitempty"`
	CertFile string `yaml:"certFile,omitempty"`
	CertData string `yaml:"certData,omitempty"`
	KeyFile  string `yaml:"keyFile,omitempty"`
	KeyData  string `yaml:"keyData,omitempty"`
}

// AdminContext is a file of one context that needs no other file: an admin's own, out of the directory of a hub. It holds
// a private key. Empty name and server stand for the trust domain and for what admins are told to dial.
func AdminContext(cfg Config, admin, name, server string) ([]byte, error) {
	authority, err := openAuthority(cfg)
	if err != nil {
		return nil, err
	}
	if server == "" {
		server = cfg.AdminAddr()
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		return nil, fmt.Errorf("server %q is not host:port", server)
	}
	if name == "" {
		name = authority.TrustDomain()
	}
	c := Context{Name: name, Hub: server}
	for _, f := range []struct {
		name string
		to   *string
	}{{rootsFile, &c.CAData}, {certFile, &c.CertData}, {keyFile, &c.KeyData}} {
		text, err := os.ReadFile(filepath.Join(cfg.Dir, adminDir, filepath.Base(admin), f.name))
		if err != nil {
			return nil, fmt.Errorf("reading the files of admin %s: %w: "+
				"were they moved to that admin's machine? waterwheel-hub admin NAME --offline makes another", admin, err)
		}
		*f.to = string(text)
	}

	return contexts(c)
}

// contexts is the text of a file of contexts with one of them, the current one.
func contexts(c Context) ([]byte, error) {
	text, err := yaml.MarshalWithOptions(struct {
		CurrentContext string    `yaml:"currentContext"`
		Contexts       []Context `yaml:"contexts"`
	}{c.Name, []Context{c}}, yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, fmt.Errorf("encoding the context: %w", err)
	}

	return text, nil
}
