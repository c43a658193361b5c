package enrol

import (
	"errors"
	"io/fs"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/identity"
)

// Kept is what there is of a membership where an agent keeps it.
type Kept struct {
	Cluster  string      // name that the hub knows the cluster by; "" before joining
	ID       identity.ID // zero before joining
	NotAfter time.Time   // end of the certificate; zero before joining
	Returns  bool        // there is an enrolment key, by which it can come back
	Token    bool        // there is a join token
}

// Look reads what Config's Dir or Keeper, and TokenFile or Token, hold. It makes and changes nothing, and asks no hub.
func Look(cfg Config) (Kept, error) {
	if cfg.Keeper == nil {
		cfg.Keeper = directory(cfg.Dir)
	}
	if cfg.Token == nil {
		cfg.Token = tokenFile(cfg.TokenFile)
	}
	token, err := cfg.Token.Read()
	if err != nil {
		return Kept{}, err
	}
	k := Kept{Token: token != ""}
	if _, err := cfg.Keeper.Load(enrolmentFile); err == nil {
		k.Returns = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	s, err := loadSVID(cfg.Keeper, nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return k, err
	}
	k.Cluster, k.ID, k.NotAfter = s.cluster, s.id, s.notAfter()

	return k, nil
}
